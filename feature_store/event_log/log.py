"""The event log: what every store of it promises, and what goes in and out.

An event has a number, its place in the log, ascending in the order of the commits. Compaction copies the log into the
shop folder range by range; a range is planned, written and marked, and the watermark is the last number of the
marked ones.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple, Protocol

from feature_store.event_log.contract import EPOCH
from recsys.errors import UsageError

DAY = 86_400_000_000
"""Microseconds of a day."""


class Event(NamedTuple):
    """An event that passed the door.

    Attributes:
        event_id: the log takes it once.
        user_id: None where the shopper is not known; masked where the shop masks.
        body: all its columns as a JSON object, moments in microseconds since 1970-01-01 UTC.
    """

    event_id: str
    user_id: str | None
    body: str


class Stored(NamedTuple):
    """An event in the log.

    Attributes:
        number: its place, from 1.
        accepted_at: when the log took it, microseconds since 1970-01-01 UTC; never before its predecessor's.
        body: as of `Event`.
    """

    number: int
    accepted_at: int
    body: str


class Part(NamedTuple):
    """A range of the log that becomes one file; all its events were accepted on one day.

    Attributes:
        first: its first number.
        last: its last number.
        rows: how many events it has; numbers may be left out, and are where a user was forgotten.
        day: days since 1970-01-01 UTC.
        written: whether the file is known to stand.
    """

    first: int
    last: int
    rows: int
    day: int
    written: bool

    @property
    def date(self) -> date:
        """The day."""
        return (EPOCH + timedelta(days=self.day)).date()


class EventLog(Protocol):
    """A durable log of events.

    Every call may raise StorageError, and then has done nothing; or UsageError, where the log's user ids are masked in
    another way than its opener says.
    """

    @property
    def identity(self) -> str:
        """8 hex digits that no other log has: numbers of two logs say nothing about one another."""
        ...

    def append(self, events: Sequence[Event]) -> list[bool]:
        """Take the events; when this returns they are on the disk.

        Returns:
            For each event True where it is new, False where its id was there before.
        """
        ...

    def read(self, *, after: int, until: int) -> list[Stored]:
        """The events numbered from `after` + 1 to `until`, in order."""
        ...

    def tail(self, user_ids: Sequence[str], *, after: int, limit: int) -> list[list[Stored]]:
        """For each user the newest `limit` events numbered above `after`, in order."""
        ...

    def parts(self) -> list[Part]:
        """All ranges so far, in order."""
        ...

    def plan(self, *, rows: int) -> Part | None:
        """Fix the next range, of at most so many events of one day; None where all events stand in one."""
        ...

    def mark(self, part: Part) -> None:
        """Note that the file of a range stands, which moves the watermark."""
        ...

    def prune(self, *, before: int) -> int:
        """Forget events of marked ranges that were accepted before that moment; how many."""
        ...

    def users(self) -> list[str]:
        """Everyone who has an event here, once, as the log names them."""
        ...

    def erase(self, until: Mapping[str, int]) -> int:
        """Delete events of users for good, and take them off the rows of their ranges; how many went.

        Args:
            until: by user as the log names them, the last moment (microseconds since 1970-01-01 UTC) that goes.
        """
        ...

    def head(self) -> int:
        """The newest number; 0 where it holds no event."""
        ...

    def close(self) -> None:
        """Let go of the files."""
        ...


def watermark(parts: Sequence[Part]) -> int:
    """The last number up to which all ranges are written; 0 where none is."""
    reached = 0
    for part in parts:
        if not part.written:
            break
        reached = part.last
    return reached


def new_ids(events: Sequence[Event], stored: set[str]) -> list[bool]:
    """For each event True where its id is among those just stored and stands here for the first time."""
    left = set(stored)
    found = []
    for event in events:
        found.append(event.event_id in left)
        left.discard(event.event_id)
    return found


def check_mask(found: str, *, wanted: str | None, place: str) -> None:
    """Hold a log's mask against its opener's.

    Args:
        found: fingerprint of the key that the log began with, "" where its ids are plain.
        wanted: the opener's; None where it does not care.
        place: of the log.

    Raises:
        UsageError: they differ.
    """
    if wanted is None or wanted == found:
        return
    is_masked = "masked with another key" if found and wanted else "masked" if found else "not masked"
    raise UsageError(
        f"the user ids in the event log {place} are {is_masked}",
        expected="one way of masking from its first event on",
        action="use the key it began with, or compact it and begin a new log",
    )


def moment(microseconds: int) -> datetime:
    """The moment in UTC."""
    return EPOCH + timedelta(microseconds=microseconds)
