"""The door of the event log: shapes become ours, rows are checked, users get their names, events their ids."""

import hashlib
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from pydantic import ValidationError

from feature_store.event_log.contract import EventRow, body_of, microseconds, read_row, reason_of
from feature_store.event_log.log import Event
from feature_store.event_log.shapes.names import translator
from feature_store.forgetting.marks import FOREVER, NOBODY, Forgotten
from feature_store.forgetting.people import ForgottenMeanwhileError
from feature_store.masking import Names

CLOCK_SKEW = timedelta(days=1)
"""How far a shopper's clock may go ahead; as `feature_store.validate.CLOCK_SKEW`, which a test holds it to."""

FORGOTTEN = "happened before its user was forgotten"


class Refusal(NamedTuple):
    """A row that did not pass.

    Attributes:
        row: its place among those given, from 0.
        reason: why, without any of its values.
    """

    row: int
    reason: str


@dataclass(slots=True)
class Checked:
    """What came of some rows.

    Attributes:
        events: of the rows that passed, in their order; a row of a foreign shape may bring several.
        refused: the rows that did not; such a row brings nothing at all.
    """

    events: list[Event] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


class Row(NamedTuple):
    """One of the rows given, checked on its own.

    Attributes:
        place: its place among those given, from 0.
        events: what it holds, user ids still plain.
    """

    place: int
    events: list[EventRow]


@dataclass(frozen=True)
class Door:
    """What every row passes on its way into the log.

    Attributes:
        names: what users are called in the log; None leaves their ids as they are.
        told_known_at: whether a row may say when it became known, as tables of the past do; else the log does.
        forgotten: gives those who were forgotten by now; what they did before then is refused.
    """

    names: Names | None = None
    told_known_at: bool = False
    forgotten: Callable[[], Forgotten] = lambda: NOBODY

    def check(
        self,
        rows: Iterable[Any],
        *,
        key: str | None = None,
        start: int = 0,
        shape: str = "shop",
        now: datetime | None = None,
    ) -> Checked:
        """Check rows.

        Args:
            rows: objects in the shape named.
            key: of the sender for exactly these rows (or for a stream of them): an event without an id gets one made
                of key, place and content, so that sending the rows again adds nothing. Without a key it gets a random
                one, and is new each time it is sent.
            start: place of the first row in the sender's stream.
            shape: "shop", "ubi", "personalize" or "retail".
            now: the clock.

        Raises:
            StorageError: the keys that name users can't be read or written.
        """
        latest = (now or datetime.now(UTC)) + CLOCK_SKEW
        translate = translator(shape)
        checked, read = Checked(), list[Row]()
        for place, row in enumerate(rows):
            try:
                read.append(Row(place, [self.event(one, latest=latest) for one in translate(row)]))
            except ValidationError as error:
                checked.refused.append(
                    Refusal(place, reason_of(error.errors(include_url=False, include_input=False)[0]))
                )
            except ValueError as error:
                checked.refused.append(Refusal(place, str(error)))
        for place, events in self.admitted(read, checked):
            for number, found in enumerate(events):
                if "event_id" not in found:
                    content = "" if key is None else body_of(found)
                    name = f"{start + place}.{number}"
                    found["event_id"] = uuid.uuid4().hex if key is None else made_id(key, name, content)
                checked.events.append(Event(found["event_id"], found.get("user_id"), body_of(found)))
        return checked

    def event(self, row: Any, *, latest: datetime) -> EventRow:
        """One row of ours; ValueError says why it is no event."""
        found = read_row(row)
        if found["timestamp"] > latest:
            raise ValueError("timestamp in the future")
        if "known_at" in found and not self.told_known_at:
            raise ValueError("known_at is told by the log")
        return found

    def admitted(self, read: list[Row], checked: Checked) -> list[Row]:
        """The rows without those that tell of a forgotten user's past, which are refused; users by their names.

        All are named at once, for a new name costs a write to the disk. Where somebody is forgotten in between, the
        rows are looked at again.
        """
        while True:
            forgotten = self.forgotten()
            until = forgotten.until(users_of(read))
            gone = {row.place for row in read if any(is_past(one, until) for one in row.events)} if until else set()
            kept = [row for row in read if row.place not in gone] if gone else read
            try:
                rename(kept, self.names and self.names.knowing(forgotten))
            except ForgottenMeanwhileError:
                if self.forgotten().changes == forgotten.changes:
                    raise
                continue
            if gone:
                checked.refused += [Refusal(place, FORGOTTEN) for place in gone]
                checked.refused.sort()
            return kept


def is_past(found: EventRow, until: Mapping[str, int]) -> bool:
    """True where an event happened before its user was forgotten."""
    return microseconds(found["timestamp"]) <= until.get(found.get("user_id", ""), -FOREVER)


def rename(read: list[Row], names: Names | None) -> None:
    """Give users their names."""
    if names is None or not (users := users_of(read)):
        return
    called = dict(zip(users, names.all(users), strict=True))
    for row in read:
        for one in row.events:
            if "user_id" in one:
                one["user_id"] = called[one["user_id"]]


def users_of(read: list[Row]) -> list[str]:
    """Everyone in the rows, once."""
    return list(dict.fromkeys(one["user_id"] for row in read for one in row.events if "user_id" in one))


def made_id(key: str, name: str, content: str) -> str:
    """The id of an event without one: 32 hex digits, the same for the same key, place and content."""
    return hashlib.sha256("\n".join((key, name, content)).encode("utf-8", "surrogatepass")).hexdigest()[:32]
