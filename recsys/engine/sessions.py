"""Sessions of known users: what they did just now stands at the end of their history."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recsys.errors import UsageError
from recsys.types import Answer, Histories, Positions, Rung


class AskHistories(Protocol):
    """Answers histories."""

    def __call__(self, histories: Histories, /, *, at: Sequence[int] | None, rung: Rung) -> list[Answer]:
        """One answer for each history, for the moment of each; `rung` is what the histories are."""
        ...


def answer_sessions(
    histories: Histories, sessions: Histories | None, *, now: NDArray[np.int64] | None, ask: AskHistories
) -> list[Answer]:
    """Answers of users with their sessions, rung session, and of those without one, rung personal.

    Args:
        histories: of the users.
        sessions: as of `followed`; None where nobody has one.
        now: the same.
        ask: answers histories.

    Raises:
        UsageError: there are not as many sessions as users.
    """
    if sessions is None:
        return ask(histories, at=None if now is None else now.tolist(), rung=Rung.PERSONAL)
    if len(sessions) != len(histories):
        raise UsageError(
            f"{len(histories)} users and {len(sessions)} sessions",
            expected="one session for each user, empty where there is none",
            action="correct the request",
        )
    joined, running = followed(histories, sessions, now=now), np.diff(sessions.offsets) > 0
    answers: dict[int, Answer] = {}
    for rung, rows in ((Rung.SESSION, np.flatnonzero(running)), (Rung.PERSONAL, np.flatnonzero(~running))):
        if len(rows):
            at = None if now is None else now[rows].tolist()
            answers |= dict(zip(rows.tolist(), ask(rows_of(joined, rows), at=at, rung=rung), strict=True))
    return [answers[row] for row in range(len(histories))]


def followed(histories: Histories, sessions: Histories, *, now: NDArray[np.int64] | int | None) -> Histories:
    """Each history with its session behind it.

    Args:
        histories: of the users, which know nothing of the sessions yet.
        sessions: of the same users, oldest first; their timestamps are not read: the last event is now, or as soon
            after the history as it can be, and each other a microsecond before the next.
        now: int64 [users], the moment of each request, microseconds since 1970-01-01 UTC, or one for all; None where
            the shop has no calendar.
    """
    asked = np.broadcast_to(0 if now is None else now, len(histories))
    parts: list[tuple[Histories, slice]] = []
    times = []
    for moment, (start, end), (first, last) in zip(asked.tolist(), spans(histories), spans(sessions), strict=True):
        own = histories.timestamps[start:end]
        newest = max(moment, int(own.max(initial=0)) + last - first)
        times += [own, newest - np.arange(last - first)[::-1]]
        parts += [(histories, slice(start, end)), (sessions, slice(first, last))]
    return Histories(
        offsets=histories.offsets + sessions.offsets,
        product_ids=tuple(name for one, part in parts for name in one.product_ids[part]),
        timestamps=np.concatenate([np.zeros(0, dtype=np.int64), *times]).astype(np.int64),
        event_types=np.concatenate([np.zeros(0, dtype=np.int8), *(one.event_types[part] for one, part in parts)]),
        segments=histories.segments,
        attributes=histories.attributes,
    )


def rows_of(histories: Histories, rows: Positions) -> Histories:
    """The histories of some users, in the order of `rows`."""
    parts = [slice(histories.offsets[row], histories.offsets[row + 1]) for row in rows]
    return Histories(
        offsets=np.cumsum([0, *(part.stop - part.start for part in parts)], dtype=np.int64),
        product_ids=tuple(name for part in parts for name in histories.product_ids[part]),
        timestamps=np.concatenate([histories.timestamps[:0], *(histories.timestamps[part] for part in parts)]),
        event_types=np.concatenate([histories.event_types[:0], *(histories.event_types[part] for part in parts)]),
        segments=tuple(histories.segments[row] for row in rows.tolist()),
        attributes=tuple(histories.attributes[row] for row in rows.tolist()) if histories.attributes else (),
    )


def spans(histories: Histories) -> list[tuple[int, int]]:
    """First event, and that after the last, of each user."""
    return list(pairwise(histories.offsets.tolist()))
