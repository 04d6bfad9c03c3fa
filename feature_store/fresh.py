"""Histories as of this moment: the online store that the night filled, and behind it what the event log took since."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from feature_store.config import DEFAULT_WEIGHTS
from feature_store.event_log.log import EventLog, Stored
from feature_store.forgetting.marks import NOBODY, Forgotten
from feature_store.masking import Names
from feature_store.online.codec import decode_many
from feature_store.online.store import PLAIN, Holds, OnlineStore
from feature_store.online.watch import Watch
from recsys.errors import StorageError
from recsys.types import EVENT_CODES, Histories, Mask

log = logging.getLogger(__name__)

NEWEST = 500
"""Events of one user that are read behind the store at most."""
CODES = {EVENT_CODES[kind] for kind in DEFAULT_WEIGHTS}
PURCHASE, CANCEL = EVENT_CODES["purchase"], EVENT_CODES["cancel"]


class Happened(NamedTuple):
    """One event of a history: product, microseconds since 1970-01-01 UTC, code of the event type."""

    product_id: str
    timestamp: int
    event_type: int


@dataclass(frozen=True)
class FreshHistories:
    """A HistorySource whose next answer knows every event that was acknowledged.

    The store says how far into the log it reaches; events behind that are joined in by their time. A log that does
    not answer leaves what the store has; a store that fails leaves the newest events of the log.

    Attributes:
        store: what `recsys index` wrote.
        events: the shop's event log; None where there is none.
        names: what users are called in the store; None where their ids are plain.
        watch: is told where the store fails, and when it answers again.
        forgotten: gives those who were forgotten by now; an event of their past that came late stays hidden.
    """

    store: OnlineStore
    events: EventLog | None = None
    names: Names | None = None
    watch: Watch = field(default_factory=Watch)
    forgotten: Callable[[], Forgotten] = lambda: NOBODY

    def read(self, user_ids: Sequence[str]) -> Histories:
        """Histories of the users in the order asked; unknown users have none."""
        names = self._names(user_ids)
        nothing = (decode_many([None] * len(names)), PLAIN)
        stored, holds = self.watch.ask(lambda: self._stored(names), otherwise=nothing)
        return joined(stored, self._tail(names, holds=holds))

    def known(self, user_ids: Sequence[str]) -> Mask:
        """bool [users], True where the store or the log has the user."""
        names = self._names(user_ids)
        seen, holds = self.watch.ask(lambda: self._seen(names), otherwise=(np.zeros(len(names), dtype=np.bool_), PLAIN))
        tails = self._tail(names, holds=holds, limit=1)
        return seen | np.array([bool(tail) for tail in tails], dtype=np.bool_)

    def _names(self, user_ids: Sequence[str]) -> Sequence[str]:
        return user_ids if self.names is None else self.names.all(user_ids)

    def _stored(self, names: Sequence[str]) -> tuple[Histories, Holds]:
        pinned = self.store.now()
        return (decode_many([None] * len(names)), PLAIN) if pinned is None else (pinned.read(names), pinned.holds)

    def _seen(self, names: Sequence[str]) -> tuple[Mask, Holds]:
        pinned = self.store.now()
        return (np.zeros(len(names), dtype=np.bool_), PLAIN) if pinned is None else (pinned.known(names), pinned.holds)

    def _tail(self, names: Sequence[str], *, holds: Holds, limit: int = NEWEST) -> list[list[Stored]]:
        if self.events is None:
            return [[] for _ in names]
        try:
            after = holds.position.within(self.events.identity)
            return without_past(self.events.tail(names, after=after, limit=limit), names, forgotten=self.forgotten())
        except StorageError as error:
            log.warning("histories without the newest events: %s", error)
            return [[] for _ in names]


def without_past(tails: list[list[Stored]], names: Sequence[str], *, forgotten: Forgotten) -> list[list[Stored]]:
    """The users' events without what a forgotten user did before."""
    if not (until := forgotten.until(names)):
        return tails
    return [
        [one for one in tail if json.loads(one.body)["timestamp"] > until[name]] if name in until else tail
        for name, tail in zip(names, tails, strict=True)
    ]


def joined(stored: Histories, tails: Sequence[Sequence[Stored]]) -> Histories:
    """The histories with the users' later events, each oldest first.

    Args:
        stored: what is known so far.
        tails: for each user the events that came since; those that say nothing of interest are passed over, and a
            cancel takes back the newest purchase of its product before it.
    """
    if not any(tails):
        return stored
    times, kinds = stored.timestamps.tolist(), stored.event_types.tolist()
    bounds = stored.offsets.tolist()
    users: list[list[Happened]] = []
    for row, tail in enumerate(tails):
        first, last = bounds[row], bounds[row + 1]
        own = [Happened(stored.product_ids[one], times[one], kinds[one]) for one in range(first, last)]
        users.append(netted(sorted([*own, *map(happened, tail)], key=itemgetter(1))) if tail else own)
    flat = [event for user in users for event in user]
    return Histories(
        offsets=np.cumsum([0, *map(len, users)], dtype=np.int64),
        product_ids=tuple(event.product_id for event in flat),
        timestamps=np.array([event.timestamp for event in flat], dtype=np.int64),
        event_types=np.array([event.event_type for event in flat], dtype=np.int8),
        segments=stored.segments,
        attributes=stored.attributes,
    )


def happened(stored: Stored) -> Happened:
    """An event of the log as histories have it."""
    body = json.loads(stored.body)
    return Happened(body.get("product_id", ""), body["timestamp"], EVENT_CODES[body["event_type"]])


def netted(events: Sequence[Happened]) -> list[Happened]:
    """What counts in a history, oldest first: each cancel and the purchase that it takes back are left out."""
    kept: list[Happened] = []
    for event in events:
        if event.event_type in CODES:
            kept.append(event)
        elif event.event_type == CANCEL:
            bought = [
                place
                for place, one in enumerate(kept)
                if (one.product_id, one.event_type) == (event.product_id, PURCHASE)
            ]
            if bought:
                del kept[bought[-1]]
    return kept
