"""The door of the event log: foreign shapes become ours, every row is checked, ids are masked, events get their id."""

import hashlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from pydantic import ValidationError

from feature_store.event_log.contract import body_of, read_row, reason_of
from feature_store.event_log.log import Event
from feature_store.event_log.shapes.names import translator
from feature_store.masking import Mask

CLOCK_SKEW = timedelta(days=1)
"""How far a shopper's clock may go ahead; as `feature_store.validate.CLOCK_SKEW`, which a test holds it to."""


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


@dataclass(frozen=True)
class Door:
    """What every row passes on its way into the log.

    Attributes:
        mask: hides user ids; None leaves them as they are.
        told_known_at: whether a row may say when it became known, as tables of the past do; else the log does.
    """

    mask: Mask | None = None
    told_known_at: bool = False

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
        """
        latest = (now or datetime.now(UTC)) + CLOCK_SKEW
        translate = translator(shape)
        checked = Checked()
        for place, row in enumerate(rows):
            try:
                events = [
                    self.event(one, name=f"{start + place}.{number}", key=key, latest=latest)
                    for number, one in enumerate(translate(row))
                ]
            except ValidationError as error:
                checked.refused.append(
                    Refusal(place, reason_of(error.errors(include_url=False, include_input=False)[0]))
                )
            except ValueError as error:
                checked.refused.append(Refusal(place, str(error)))
            else:
                checked.events += events
        return checked

    def event(self, row: Any, *, name: str, key: str | None, latest: datetime) -> Event:
        """One row as an event; ValueError says why it is none."""
        found = read_row(row)
        if found["timestamp"] > latest:
            raise ValueError("timestamp in the future")
        if "known_at" in found and not self.told_known_at:
            raise ValueError("known_at is told by the log")
        if self.mask is not None and "user_id" in found:
            found["user_id"] = self.mask(found["user_id"])
        if "event_id" not in found:
            found["event_id"] = uuid.uuid4().hex if key is None else made_id(key, name, body_of(found))
        return Event(found["event_id"], found.get("user_id"), body_of(found))


def made_id(key: str, name: str, content: str) -> str:
    """The id of an event without one: 32 hex digits, the same for the same key, place and content."""
    return hashlib.sha256("\n".join((key, name, content)).encode("utf-8", "surrogatepass")).hexdigest()[:32]
