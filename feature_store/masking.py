"""Keyed hashes in place of user ids, so that nobody reads who it was without the key, and joins still work."""

import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from feature_store.forgetting.marks import Forgotten
from recsys.errors import UsageError
from recsys.settings import NAMELESS, Settings

VARIABLE = "RECSYS_MASK_KEY"
SHORTEST = 32
DIGITS = 32
"""Hex digits of a masked id: 128 bits, beyond any chance of two users with the same."""


class Names(Protocol):
    """What users are called in place of their plain ids; the same id has the same name as long as its key stands."""

    @property
    def fingerprint(self) -> str:
        """Tells two sets of keys apart without giving any away."""
        ...

    def all(self, user_ids: Sequence[str]) -> list[str]:
        """The names, in the order given; "" for whoever has none and is to get none."""
        ...

    def knowing(self, forgotten: Forgotten) -> "Names":
        """These names for rows from which those of the users forgotten so far were left out."""
        ...


@dataclass(frozen=True)
class Mask:
    """HMAC-SHA256 of user ids, cut to 128 bits.

    Attributes:
        key: secret; whoever has it can tell whether a masked id is a given user's.
    """

    key: bytes = field(repr=False)

    def __call__(self, user_id: str) -> str:
        """The masked id, 32 hex digits."""
        return hmac.digest(self.key, user_id.encode("utf-8", "surrogatepass"), "sha256").hex()[:DIGITS]

    def all(self, user_ids: Sequence[str]) -> list[str]:
        """The masked ids, in the order given."""
        return [self(user_id) for user_id in user_ids]

    def knowing(self, forgotten: Forgotten) -> "Mask":
        """See `Names`: the same mask."""
        return self

    @property
    def fingerprint(self) -> str:
        """Tells two keys apart without giving either away, 16 hex digits."""
        return hashlib.sha256(b"fingerprint of " + self.key).hexdigest()[:16]


def key_file(settings: Settings, *, shop: str) -> Path:
    """Where a shop's key stands unless the environment has it."""
    return settings.home / "keys" / f"{shop or NAMELESS}.key"


def key_given(settings: Settings, *, shop: str) -> bool:
    """True where the shop has a key already."""
    return VARIABLE in os.environ or key_file(settings, shop=shop).exists()


def load_mask(settings: Settings, *, shop: str, create: bool = True) -> Mask:
    """The shop's mask, with the key of RECSYS_MASK_KEY, else of its file, which is made where it is missing.

    Args:
        settings: where the file stands.
        shop: the shop's name.
        create: make a key where there is none.

    Raises:
        UsageError: the key is too short, or there is none and none may be made.
    """
    file = key_file(settings, shop=shop)
    given = os.environ.get(VARIABLE)
    if given is None:
        if create:
            make_key(file)
        try:
            given = file.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            raise UsageError(
                f"user ids are masked, and there is no key in {file}",
                expected="the key that they were masked with",
                action=f"copy that file from the host that ran `recsys index`, or set {VARIABLE}",
            ) from None
    if len(given) < SHORTEST:
        raise UsageError(
            f"a key of {len(given)} characters for masking",
            expected=f"{SHORTEST} or more",
            action=f"set {VARIABLE} to 32 random bytes in hex, as `openssl rand -hex 32` prints them",
        )
    return Mask(given.encode())


def make_key(file: Path) -> None:
    """Write a random key that its owner alone may read, in one step; one that stands already stays."""
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = file.with_name(f".{file.name}-{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(secrets.token_hex(32) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(draft, file)  # unlike a rename it never replaces a key that another process has made meanwhile
        except FileExistsError:
            return
    finally:
        draft.unlink()
