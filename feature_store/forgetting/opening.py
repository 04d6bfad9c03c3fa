"""A shop's people, and what its users are called: plain ids, masked ids, or pseudonyms."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from feature_store.config import PrivacyConfig
from feature_store.forgetting.marks import NOBODY, Forgotten
from feature_store.forgetting.people import PREFIX, People
from feature_store.masking import VARIABLE, Names, key_file, load_mask
from recsys.errors import StorageError, UsageError
from recsys.ledger import FORGET, steps
from recsys.settings import Settings


def open_people(settings: Settings, *, shop: str, create: bool = True) -> People:
    """The keys and tombstones of a shop; a copy that is older than the ledger is refused.

    Args:
        settings: where they stand.
        shop: its name.
        create: make a shop-wide key where there is none and one is needed.

    Raises:
        StorageError: the ledger tells of users forgotten of whom the file knows nothing.
    """
    file = settings.people(shop)
    people = People(file, load_mask=lambda: load_mask(settings, shop=shop, create=create and not file.exists()))
    told = steps(settings.ledger, action=FORGET, model=shop)
    missing = told - {one.step for one in people.tombstones()} if told else set()
    if missing:
        raise StorageError(
            f"{file} is missing or an old copy: {len(missing)} of {len(told)} users forgotten by {settings.ledger} "
            "are not in it, and would come back",
            expected="the newest copy",
            action="bring it back from where it was moved, or from the newest backup",
        )
    return people


def names_of(settings: Settings, *, shop: str, privacy: PrivacyConfig) -> "Names | None":
    """What the shop's users are called wherever they come in; None where their ids stay plain.

    Args:
        settings: where keys stand; they are made where there are none yet.
        shop: its name.
        privacy: as shop.toml says.
    """
    if privacy.mask_users:
        return load_mask(settings, shop=shop)
    return Pseudonyms(open_people(settings, shop=shop), make=True) if privacy.pseudonyms else None


def names_behind(fingerprint: str, *, settings: Settings, shop: str, make: bool = False) -> "Names | None":
    """The names that something was written with; None where it has plain ids.

    Args:
        fingerprint: of the names, "" for plain ids.
        settings: where the keys stand.
        shop: its name.
        make: give users a pseudonym who have none.

    Raises:
        UsageError: the keys are missing, or others.
    """
    if not fingerprint:
        return None
    names: Names | None = None
    file = key_file(settings, shop=shop)
    if not fingerprint.startswith(PREFIX):
        names = load_mask(settings, shop=shop, create=False)
    elif (file := settings.people(shop)).exists():
        names = Pseudonyms(open_people(settings, shop=shop), make=make)
    if names is None or names.fingerprint != fingerprint:
        found = f"not those that `recsys index` had ({names.fingerprint})" if names else "missing"
        raise UsageError(
            f"the keys that name users are {found}",
            expected=f"those with fingerprint {fingerprint}",
            action=f"copy {file} from the host that ran it"
            + ("" if fingerprint.startswith(PREFIX) else f", or set {VARIABLE} to the same key"),
        )
    return names


@dataclass(frozen=True)
class Pseudonyms:
    """Names under each user's own key.

    Attributes:
        people: the keys.
        make: give those a key who have none; else they are called "", as nobody is.
        known: those whose rows were left out; nobody gets a key once others were forgotten since.
    """

    people: People
    make: bool
    known: Forgotten = NOBODY

    @property
    def fingerprint(self) -> str:
        """Tells the keys apart."""
        return self.people.fingerprint

    def all(self, user_ids: Sequence[str]) -> list[str]:
        """The pseudonyms, in the order given."""
        found = self.people.pseudonyms(list(dict.fromkeys(user_ids)), make=self.make, known=self.known)
        return [found.get(user, "") for user in user_ids]

    def knowing(self, forgotten: Forgotten) -> "Pseudonyms":
        """See `Names`."""
        return replace(self, known=forgotten)
