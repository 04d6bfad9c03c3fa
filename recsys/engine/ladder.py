"""The cold-start ladder: who is asked for a list, in which order; a lower rung fills what those above it leave open."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from recsys.types import EVENT_CODES, Candidates, Mask, PositionHistories, Positions, Recommender, Rung, Scores

LADDER = (Rung.SESSION, Rung.PERSONAL, Rung.TEXT, Rung.SEGMENT, Rung.POPULARITY)
"""The rungs, warmest first, each asked only for what is missing after those above it.

session: the personal recommenders, by the events of a session. personal: the same, by a known user's history; the
caller says which of the two the events are. text: products whose text is near that of what was looked at last, whether
or not any recommender knows it. segment: what sells in the user's segment. popularity: what sells in the shop.
"""
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


class Shoppers(NamedTuple):
    """What is known of those who are answered at once.

    Attributes:
        histories: what they did.
        segments: theirs, "" where unknown.
        rung: what the histories are, session or personal.
    """

    histories: PositionHistories
    segments: Sequence[str]
    rung: Rung


class Step(NamedTuple):
    """One recommender of a rung.

    Attributes:
        knows: bool [shoppers], of whom it may know something.
        ask: gives the lists of some shoppers by row, at most so many products each, from the allowed ones, without
            those hidden from each.
    """

    knows: Mask
    ask: Callable[[Positions, int, Mask | None, list[Positions]], list[Candidates]]


@dataclass(frozen=True, slots=True)
class Ladder:
    """The recommenders behind the rungs of LADDER.

    Attributes:
        personal: those that read histories, best first: the rungs session and personal.
        text: reads what was looked at last; None where the index has no text vectors.
        popularity: the rungs segment and popularity; None where the bundle has none.
    """

    personal: tuple[Recommender, ...] = ()
    text: Recommender | None = None
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
            rung: what the histories are, session or personal.
        """
        size = int(np.clip(CELLS // max(1, products), 1, 1024))
        for start in range(0, len(histories), size):
            rows = range(start, min(start + size, len(histories)))
            yield from self._fill(
                Shoppers(take(histories, np.arange(rows.start, rows.stop)), [segments[row] for row in rows], rung),
                k=k,
                allowed=allowed,
                exclude=[exclude[row] for row in rows] if exclude is not None else [NOTHING] * len(rows),
            )

    def _fill(self, shoppers: Shoppers, *, k: int, allowed: Mask | None, exclude: Sequence[Positions]) -> list[Filled]:
        lists: list[list[tuple[Candidates, Rung]]] = [[] for _ in shoppers.segments]
        missing = np.full(len(lists), k)
        for name in LADDER:
            for step in self._steps(name, shoppers, k=k):
                due = np.flatnonzero((missing > 0) & step.knows)
                if not len(due):
                    continue
                hidden = [
                    np.concatenate([exclude[row], *(found.positions for found, _ in lists[row])])
                    for row in due.tolist()
                ]
                brought = step.ask(due, int(missing[due].max()), allowed, hidden)
                for row, found in zip(due.tolist(), brought, strict=True):
                    kept = first(found, int(missing[row]))
                    if len(kept.positions):
                        lists[row].append((kept, name))
                        missing[row] -= len(kept.positions)
        return [join(parts) for parts in lists]

    def _steps(self, rung: Rung, shoppers: Shoppers, *, k: int) -> Iterator[Step]:
        """Who is asked on a rung, in order."""
        looked = np.diff(shoppers.histories.offsets) > 0
        if rung is shoppers.rung:
            for recommender in self.personal:
                yield reading(recommender, shoppers.histories, knows=looked, k=k)
        elif rung is Rung.TEXT and self.text is not None:
            yield reading(self.text, shoppers.histories, knows=looked, k=k)
        elif rung in (Rung.SEGMENT, Rung.POPULARITY) and self.popularity is not None:
            whose = shoppers.segments if rung is Rung.SEGMENT else [""] * len(shoppers.segments)
            known = np.array([bool(one) or rung is Rung.POPULARITY for one in whose], dtype=np.bool_)
            yield selling(self.popularity, whose, knows=known)


def reading(recommender: Recommender, histories: PositionHistories, *, knows: Mask, k: int) -> Step:
    """The step of a recommender that reads histories.

    It is asked for k products, whatever is missing: an approximate index then answers alike in every company.
    """

    def ask(due: Positions, most: int, allowed: Mask | None, hidden: list[Positions]) -> list[Candidates]:
        return recommender.recommend(take(histories, due), k=k, allowed=allowed, exclude=hidden)

    return Step(knows, ask)


def selling(popularity: Popular, segments: Sequence[str], *, knows: Mask) -> Step:
    """The step of what sells in these segments."""

    def ask(due: Positions, most: int, allowed: Mask | None, hidden: list[Positions]) -> list[Candidates]:
        return popularity.popular([segments[row] for row in due.tolist()], k=most, allowed=allowed, exclude=hidden)

    return Step(knows, ask)


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
        attributes=tuple(histories.attributes[row] for row in rows.tolist()) if histories.attributes else (),
        now=histories.now[rows] if isinstance(histories.now, np.ndarray) else histories.now,
    )


def going_on(histories: PositionHistories, *, now: NDArray[np.int64] | int) -> PositionHistories:
    """Sessions that go on at a moment: each user's newest event is now, the others as long before it as they were.

    A session's timestamps may be no more than the order of its events.

    Args:
        histories: the sessions.
        now: int64 [users], the moment of each, or one for all.
    """
    lengths = np.diff(histories.offsets)
    some = lengths > 0
    newest = np.maximum.reduceat(histories.timestamps, histories.offsets[:-1][some]) if some.any() else lengths[:0]
    moved = histories.timestamps + np.repeat(np.broadcast_to(now, len(histories))[some] - newest, lengths[some])
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
