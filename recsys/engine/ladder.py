"""The cold-start ladder: a personal model, else the segment, else what is popular; lower rungs fill what is missing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from recsys.types import EVENT_CODES, Candidates, Mask, PositionHistories, Positions, Recommender, Rung, Scores

CELLS = 1 << 26
"""Scores held at once, users x products: 256 MiB as float32."""


class Popular(Protocol):
    """What is popular, as a whole and by segment."""

    name: str

    def popular(
        self,
        segments: Sequence[str],
        *,
        k: int,
        allowed: Mask | None = None,
        exclude: Sequence[Positions] | None = None,
    ) -> list[Candidates]:
        """The k most popular products of each segment; "" asks for those of all users, an unknown one gets none."""
        ...


@dataclass(frozen=True, slots=True)
class Filled:
    """A user's list, and who brought each product.

    Attributes:
        positions: int64 [n], distinct; by rung, within it by (score descending, position ascending).
        scores: float32 [n], comparable within one source.
        sources: [n], the recommender that brought the product.
        rungs: [n], warmest first.
    """

    positions: Positions
    scores: Scores
    sources: tuple[str, ...]
    rungs: tuple[Rung, ...]


@dataclass(frozen=True, slots=True)
class Ladder:
    """Recommenders in the order in which they are asked.

    Attributes:
        personal: those that read the user's history, best first.
        popularity: what stands below them; None where the bundle has none.
    """

    personal: tuple[Recommender, ...] = ()
    popularity: Popular | None = None

    def fill(
        self,
        histories: PositionHistories,
        segments: Sequence[str],
        *,
        k: int,
        products: int,
        allowed: Mask | None = None,
        exclude: Sequence[Positions] | None = None,
        rung: Rung = Rung.PERSONAL,
    ) -> Iterator[Filled]:
        """Lists of up to k products, one for each user in order, in memory bounded by CELLS.

        Args:
            histories: what the users did.
            segments: their segments, "" where unknown.
            k: at most so many products each.
            products: size of the catalogue.
            allowed: bool [catalogue], which products may come.
            exclude: for each user positions that must not come.
            rung: the name of the rung of the personal recommenders.
        """
        size = int(np.clip(CELLS // max(1, products), 1, 1024))
        for start in range(0, len(histories), size):
            rows = range(start, min(start + size, len(histories)))
            yield from self._fill(
                take(histories, np.arange(rows.start, rows.stop)),
                [segments[row] for row in rows],
                k=k,
                allowed=allowed,
                exclude=[exclude[row] for row in rows] if exclude is not None else [NOTHING] * len(rows),
                rung=rung,
            )

    def _fill(
        self,
        histories: PositionHistories,
        segments: Sequence[str],
        *,
        k: int,
        allowed: Mask | None,
        exclude: Sequence[Positions],
        rung: Rung,
    ) -> list[Filled]:
        lists: list[list[tuple[Candidates, Rung]]] = [[] for _ in segments]
        missing = np.full(len(segments), k)

        def hide(due: Positions) -> list[Positions]:
            return [
                np.concatenate([exclude[row], *(found.positions for found, _ in lists[row])]) for row in due.tolist()
            ]

        def put(due: Positions, found: Sequence[Candidates], name: Rung) -> None:
            for row, brought in zip(due, found, strict=True):
                kept = first(brought, int(missing[row]))
                if len(kept.positions):
                    lists[row].append((kept, name))
                    missing[row] -= len(kept.positions)

        counts = np.diff(histories.offsets)
        for recommender in self.personal:
            due = np.flatnonzero((missing > 0) & (counts > 0))
            if len(due):
                asked = take(histories, due)
                most = int(missing[due].max())
                put(due, recommender.recommend(asked, k=most, allowed=allowed, exclude=hide(due)), rung)
        if self.popularity is not None:
            for name in (Rung.SEGMENT, Rung.POPULARITY):
                grouped = np.array([bool(segment) or name is Rung.POPULARITY for segment in segments], dtype=np.bool_)
                due = np.flatnonzero((missing > 0) & grouped)
                if len(due):
                    asked_of = [segments[row] if name is Rung.SEGMENT else "" for row in due.tolist()]
                    most = int(missing[due].max())
                    put(due, self.popularity.popular(asked_of, k=most, allowed=allowed, exclude=hide(due)), name)
        return [join(parts) for parts in lists]


NOTHING = np.zeros(0, dtype=np.int64)


def take(histories: PositionHistories, rows: Positions) -> PositionHistories:
    """The histories of some users, in the order of `rows`."""
    starts, lengths = histories.offsets[rows], np.diff(histories.offsets)[rows]
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)])
    events = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
    return PositionHistories(
        offsets=offsets,
        positions=histories.positions[events],
        timestamps=histories.timestamps[events],
        event_types=histories.event_types[events],
        segments=tuple(histories.segments[row] for row in rows.tolist()) if histories.segments else (),
        now=histories.now,
    )


def going_on(histories: PositionHistories, *, now: int) -> PositionHistories:
    """Sessions that go on at this moment: each user's newest event is now, the others as long before it as they were.

    A session's timestamps may be no more than the order of its events.
    """
    lengths = np.diff(histories.offsets)
    some = lengths > 0
    newest = np.maximum.reduceat(histories.timestamps, histories.offsets[:-1][some]) if some.any() else lengths[:0]
    moved = histories.timestamps + np.repeat(now - newest, lengths[some])
    return replace(histories, timestamps=moved, now=now)


def owned(histories: PositionHistories) -> list[Positions]:
    """For each user the distinct products bought, ascending."""
    bought = histories.event_types == EVENT_CODES["purchase"]
    return [
        np.unique(histories.positions[start:end][bought[start:end]])
        for start, end in zip(histories.offsets[:-1], histories.offsets[1:], strict=True)
    ]


def first(candidates: Candidates, k: int) -> Candidates:
    """The k best of a list."""
    return Candidates(candidates.positions[:k], candidates.scores[:k], candidates.source, candidates.brought_by[:k])


def join(parts: Sequence[tuple[Candidates, Rung]]) -> Filled:
    """The lists of several rungs one below the other."""
    if not parts:
        return Filled(NOTHING, np.zeros(0, dtype=np.float32), (), ())
    return Filled(
        positions=np.concatenate([found.positions for found, _ in parts]),
        scores=np.concatenate([found.scores for found, _ in parts]),
        sources=tuple(name for found, _ in parts for name in found.brought_by or [found.source] * len(found.positions)),
        rungs=tuple(rung for found, rung in parts for _ in found.positions),
    )
