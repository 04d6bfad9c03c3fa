"""The moment that recommendations are for: what a caller asks for, and what stands where nobody says."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from recsys.engine.moments import Now
from recsys.errors import UsageError

START = datetime(1970, 1, 1, tzinfo=UTC)
AHEAD = timedelta(days=366)
"""How far ahead of the clock a caller may ask."""
STANDS = timedelta(days=30)
"""A shop whose last event lies so far back stands still: to the clock all of it would be old alike."""
Clock = Callable[[], int]
log = logging.getLogger(__name__)


def wall_clock() -> int:
    """The time of day and year, microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000


def microseconds(moment: datetime) -> int:
    """A moment as histories tell it: microseconds since 1970-01-01 UTC."""
    return (moment - START) // timedelta(microseconds=1)


def asked_moment(at: datetime | None, *, clock: Clock) -> int | None:
    """The moment that a caller asks for as histories tell it; None where none is asked for.

    Args:
        at: with a time zone.
        clock: tells this moment.

    Raises:
        UsageError: it lies before 1970 or more than AHEAD from now.
    """
    if at is None:
        return None
    latest = START + timedelta(microseconds=clock()) + AHEAD
    if not START <= at <= latest:
        raise UsageError(
            f"at {at.isoformat()}",
            expected=f"a moment from {START:%Y-%m-%d} to {latest:%Y-%m-%d}, {AHEAD.days} days from now",
            action="correct it, or leave it out for now",
        )
    return microseconds(at)


def read_moment(text: str) -> datetime | None:
    """What ISO 8601 text tells, with a time zone or without; None where it tells no moment."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def parse_moment(text: str | None) -> datetime | None:
    """A moment out of ISO 8601 text with a time zone.

    Raises:
        UsageError: it is none, or has no zone.
    """
    if text is None:
        return None
    moment = read_moment(text)
    if moment is None or moment.tzinfo is None:
        raise UsageError(
            f"--at {text}" + ("" if moment is None else ", a time without its zone"),
            expected="a moment with its zone, as 2026-03-01T12:00:00Z or 2026-03-01T12:00:00+01:00",
            action="correct it, or leave it out for now",
        )
    return moment


def usual_moment(until: datetime | None, *, clock: Clock) -> Now | None:
    """The moment where nobody says: the clock's; of a shop that stands still its last; None without a calendar.

    Args:
        until: the last moment that the shop knew of; None where it has no calendar.
        clock: tells this moment.
    """
    if until is None:
        return None
    last = microseconds(until)
    if clock() - last <= STANDS // timedelta(microseconds=1):
        return clock
    log.info("the shop's last event is of %s: recommendations are for then, not for now", until.isoformat())
    return last
