"""Forget users: one step that counts at once, and a sweep behind it that any later call can finish.

The step is a single transaction of `People`: keys go, marks come, tombstones stand. The sweep goes by the marks alone,
so that it needs to know nobody's id: it enters the ledger, deletes from log and histories, and marks models. Killed
anywhere, it is finished by the next `recsys forget`, of whomever. Files of the event log follow at the next compaction.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import time_ns

from feature_store.event_log.door import CLOCK_SKEW
from feature_store.event_log.opening import has_log, open_log
from feature_store.forgetting.models import mark_models
from feature_store.forgetting.opening import open_people
from feature_store.forgetting.people import People, Tombstone
from feature_store.forgetting.places import Standing, look_up, names_by_id
from feature_store.online.lmdb import LmdbStore
from feature_store.online.opening import shared_histories, value_store
from feature_store.online_features.store import OnlineFeatures
from feature_store.served_log.log import ServedLog
from recsys.errors import ShopError, UsageError
from recsys.promotion import Promotions
from recsys.registry.client import Registry
from recsys.settings import NAMELESS, Settings
from recsys.storage import locked

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SKEW = CLOCK_SKEW // timedelta(microseconds=1)
"""Shoppers' clocks may go ahead by so much: what they did before may carry a later time."""


@dataclass(frozen=True)
class Swept:
    """What a sweep did.

    Attributes:
        events: deleted from the log.
        histories: records deleted from the online stores.
        features: records of online features that were deleted.
        served: rows of the served log that were deleted.
        models: by "NAME/VERSION" the tags of those that learned from a forgotten user.
        tombstones: how many it saw to.
    """

    events: int = 0
    histories: int = 0
    features: int = 0
    served: int = 0
    models: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    tombstones: int = 0


@dataclass(frozen=True)
class Outcome:
    """What came of forgetting some users.

    Attributes:
        shop: its name.
        users: how many were asked for.
        forgotten: how many tombstones were written; with `dry_run`, would be.
        before: how many had been forgotten before, and left nothing since.
        unknown: how many stood nowhere.
        standing: where they stood before.
        swept: what was deleted; None of a dry run.
        finished: tombstones that an earlier call, cut off, had left to be seen to.
        tombstones: how many there are now.
    """

    shop: str
    users: int
    forgotten: int
    before: int
    unknown: int
    standing: Standing
    swept: Swept | None
    finished: int
    tombstones: int


def forget(
    user_ids: Sequence[str],
    *,
    shop: str,
    settings: Settings,
    by: str,
    anyway: bool = False,
    dry_run: bool = False,
    now: Callable[[], int] = lambda: time_ns() // 1000,
) -> Outcome:
    """Forget users of a shop wherever this home folder knows them.

    Args:
        user_ids: plain ids, as the shop writes them.
        shop: its name.
        settings: where state lives.
        by: who asks for it; the ledger keeps that.
        anyway: forget users whom nobody knows, too, so that rows which are read later stay out.
        dry_run: look, and change nothing.
        now: the clock, microseconds since 1970-01-01 UTC.

    Raises:
        ShopError: nobody knows one of the users; nobody was forgotten.
        StorageError: a disk or a server fails. Where the tombstones stand already, the next call finishes the work.
        TrackingError: the registry can't be reached; likewise.
    """
    wanted = list(dict.fromkeys(user_ids))
    if not all(wanted):
        raise UsageError("an empty user id", expected="ids as the shop writes them", action="correct it")
    with locked(settings.locks / f"forget-{shop or NAMELESS}.lock"):
        people = open_people(settings, shop=shop)
        with closing(people):
            earlier = Swept() if dry_run else sweep(people, settings=settings, shop=shop)
            standing = look_up(wanted, people, settings=settings, shop=shop)
            called = names_by_id(wanted, people, settings=settings, shop=shop)
            known = {user for user in wanted if user in standing.keys or standing.stands(called[user])}
            marked = people.forgotten().until(wanted)
            unknown = [user for user in wanted if user not in known and user not in marked]
            if unknown and not (anyway or dry_run):
                raise nobody(unknown, shop=shop)
            before = {user for user in marked if not is_back(user, called[user], standing, until=marked[user])}
            new = {user: called[user][1:] for user in wanted if user not in before}
            if not dry_run:
                moment = now()
                if new:
                    people.forget(new, by=by, at=moment, until=moment + SKEW)
            swept = None if dry_run else sweep(people, settings=settings, shop=shop)
            return Outcome(
                shop=shop,
                users=len(wanted),
                forgotten=len(new),
                before=len(before),
                unknown=len(unknown),
                standing=standing,
                swept=swept,
                finished=earlier.tombstones,
                tombstones=len(people.tombstones()),
            )


def is_back(user: str, names: Sequence[str], standing: Standing, *, until: int) -> bool:
    """True where a user who was forgotten has left something new: a key, events, a history, a later snapshot."""
    border = EPOCH + timedelta(microseconds=until)
    later = [place for place in standing.snapshots if place.built is not None and place.built > border]
    return (
        user in standing.keys
        or any(name in standing.log or name in standing.histories or name in standing.served for name in names)
        or any(name in place.rows for place in later for name in names)
    )


def sweep(people: People, *, settings: Settings, shop: str) -> Swept:
    """See to all tombstones that are not done yet; doing it twice changes nothing.

    Args:
        people: the shop's.
        settings: where state lives.
        shop: its name.
    """
    stones = people.tombstones()
    open_ones = [stone for stone in stones if not stone.done]
    if not open_ones:
        return Swept()
    forgotten = people.forgotten()
    enter(open_ones, settings=settings, shop=shop)
    events = 0
    if has_log(settings, shop=shop):
        with closing(open_log(settings, shop=shop)) as log:
            events = log.erase(forgotten.until(log.users()))
    histories = LmdbStore(settings.online(shop)).erase(forgotten).records
    if (shared := shared_histories(settings, shop=shop)) is not None:
        histories += shared.erase(forgotten).records
    features = OnlineFeatures(value_store(settings, shop=shop)).forget_past(forgotten)
    with closing(ServedLog(settings.served(shop))) as log_of_served:
        served = log_of_served.erase(forgotten.until(log_of_served.users()))
    models = mark_models(forgotten, stones, settings=settings, shop=shop)
    people.note(open_ones, what="done")
    return Swept(events, histories, features, served, models, len(open_ones))


def enter(stones: Sequence[Tombstone], *, settings: Settings, shop: str) -> None:
    """Enter tombstones in the ledger, each once."""
    promotions = Promotions(registry=Registry(settings), settings=settings)
    for stone in stones:
        promotions.forget(shop, step=stone.step, by=stone.by, at=(EPOCH + timedelta(microseconds=stone.at)).isoformat())


def nobody(unknown: Sequence[str], *, shop: str) -> ShopError:
    """The refusal to forget whom nobody knows: most often the id is misspelt, and somebody else is meant."""
    told = f"{len(unknown)} users" if len(unknown) > 1 else f"a user `{unknown[0]}`"
    return ShopError(
        f"no keys, events, histories, snapshots or nights of {told} in shop `{shop or NAMELESS}`; nobody was forgotten",
        expected="ids as the shop writes them",
        action="correct them, or add --anyway to keep out whatever of them is read later",
    )
