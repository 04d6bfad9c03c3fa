"""Recommendations of one index: the ladder for users, and the neighbours of a product."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import polars as pl

from recsys.catalogue import SEPARATOR, Catalogue
from recsys.engine.ladder import NOTHING, Filled, Ladder, first, join, owned
from recsys.engine.policy import ListShape, RecommendPolicy
from recsys.engine.returns import still_owned, waiting_days
from recsys.engine.shaping import Shaper
from recsys.errors import UsageError
from recsys.retrieval.dense import DenseIndex
from recsys.retrieval.each_user import moments
from recsys.retrieval.repeat import RepeatRecommender
from recsys.types import EVENT_CODES, Candidates, Mask, PositionHistories, Positions, Recommender, Rung, Vectors


class Neighbours(Protocol):
    """Products near a product."""

    def near(self, positions: Positions, *, k: int, allowed: Mask | None) -> list[Candidates]:
        """For each product the k nearest others; one of which nothing is known gets none."""
        ...


@dataclass(frozen=True)
class Recommendations:
    """The recommenders of one index.

    Attributes:
        catalogue: the products.
        ladder: who is asked for a user, in order, where what the user has bought may not come back.
        repeating: who is asked where it may; None asks the same.
        repeat: what is known of repeat purchases; None where nothing is.
        vectors: gives products' vectors, float32 [n, width], by which variety is told; None tells it by category.
        neighbours: who is asked for a product's neighbours, best first.
        policy: repeats, and the order that the others were put in.
        learned_from: by component, the snapshot's parts that it was learned from.
        missing: why there is no recommender at all, "" where there is one.
    """

    catalogue: Catalogue
    ladder: Ladder
    neighbours: tuple[Neighbours, ...]
    policy: RecommendPolicy
    learned_from: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: str = ""
    repeating: Ladder | None = None
    repeat: RepeatRecommender | None = None
    vectors: Callable[[Positions], Vectors] | None = None

    def asked(self, *, repeats: bool) -> Ladder:
        """Who is asked for a user, by whether products that were bought may come back."""
        return self.repeating if repeats and self.repeating is not None else self.ladder

    def lists(
        self,
        histories: PositionHistories,
        segments: Sequence[str],
        *,
        k: int,
        allowed: Mask | None,
        repeats: bool | None,
        wishes: ListShape | None,
        rung: Rung,
    ) -> Iterator[Filled]:
        """Each user's list of up to k products, in the shape that policy and caller ask for.

        Args:
            histories: what the users did.
            segments: their segments, "" where unknown.
            k: at most so many each.
            allowed: bool [catalogue], which products may come.
            repeats: whether bought products may come back; None follows the policy.
            wishes: the caller's; what they leave unset follows the policy.
            rung: the name of the rung that reads the history.

        Raises:
            UsageError: bought products are to come back after a time, and no calendar or interval is known.
        """
        shape = self.policy.shape.with_wishes(wishes)
        again = self.policy.repeats if repeats is None else repeats
        shape = shape.model_copy(update={"return_half_life": None}) if again else shape
        ladder = self.asked(repeats=again)
        hidden = None if again else self._hidden(histories, shape=shape)
        if shape.available:
            sold_out = self.catalogue.column("in_stock").cast(pl.Boolean).not_().fill_null(value=False).to_numpy()
            allowed = ~sold_out if allowed is None else allowed & ~sold_out
        if shape.plain:
            return ladder.fill(
                histories,
                segments,
                k=k,
                products=len(self.catalogue),
                allowed=allowed,
                exclude=hidden,
                rung=rung,
            )
        shaper = Shaper.of(self.catalogue, shape, vectors=self.vectors, until=self._until)
        return shaper.fill(ladder, histories, segments, k=k, allowed=allowed, exclude=hidden, rung=rung)

    def _hidden(self, histories: PositionHistories, *, shape: ListShape) -> list[Positions]:
        """For each user what was bought and may not come back, or not yet."""
        if not shape.returns:
            return owned(histories)
        known = self.repeat
        name = "return_days" if shape.return_half_life is None else "return_half_life"
        missing = [
            "return_interval without a recommender of repeat purchases"
            if shape.return_interval is not None and known is None
            else "",
            f"{name} without a calendar" if histories.now is None and known is None else "",
        ]
        if any(missing):
            raise UsageError(
                next(filter(None, missing)),
                expected="a shop with a calendar, and `recsys train repeat`",
                action="leave it out",
            )
        waits = waiting_days(shape, products=len(self.catalogue), intervals=None if known is None else known.intervals)
        return still_owned(histories, now=moments(histories, until=self._until), waits=waits)

    @property
    def _until(self) -> int:
        """The last moment that is known of, microseconds; 0 where nothing is known of any."""
        return 0 if self.repeat is None else self.repeat.settings.until

    def similar(self, positions: Positions, *, k: int, allowed: Mask | None) -> Iterator[Filled]:
        """For each product up to k others; popular ones of its category, then of the shop, fill what is missing.

        Args:
            positions: int64 [products], -1 for an unknown product.
            k: at most so many each.
            allowed: bool [catalogue], which products may come.
        """
        known = positions[positions >= 0]
        lists: list[list[tuple[Candidates, Rung]]] = [[] for _ in known]
        for source in self.neighbours:
            due = [row for row in range(len(known)) if count(lists[row]) < k]
            if due:
                found = source.near(known[due], k=2 * k + 1, allowed=allowed)
                for row, brought in zip(due, found, strict=True):
                    kept = without(brought, [known[row : row + 1], *(other.positions for other, _ in lists[row])])
                    lists[row].append((first(kept, k - count(lists[row])), Rung.SIMILAR))
        answers = iter(zip(known.tolist(), lists, strict=True))
        for position in positions:
            own, parts = next(answers) if position >= 0 else (None, [])
            yield join([*parts, *self._popular(own, parts, k=k, allowed=allowed)])

    def _popular(
        self, position: int | None, parts: Sequence[tuple[Candidates, Rung]], *, k: int, allowed: Mask | None
    ) -> list[tuple[Candidates, Rung]]:
        if self.ladder.popularity is None or count(parts) >= k:
            return []
        brought = list(parts)
        masks = [allowed] if position is None else [self._category(position, allowed), allowed]
        for mask in masks:
            missing = k - count(brought)
            if missing and (mask is None or mask.any()):
                own = NOTHING if position is None else np.array([position])
                hidden = np.concatenate([own, *(found.positions for found, _ in brought)])
                found = self.ladder.popularity.popular([""], k=missing, allowed=mask, exclude=[hidden])[0]
                brought.append((first(found, missing), Rung.POPULARITY))
        return brought[len(parts) :]

    def _category(self, position: int, allowed: Mask | None) -> Mask:
        """bool [catalogue]: the products of the same category or below it."""
        path = self.catalogue.column("category")[position]
        if path is None:
            return np.zeros(len(self.catalogue), dtype=np.bool_)
        inside = (pl.col("category") == path) | pl.col("category").str.starts_with(path + SEPARATOR)
        mask = self.catalogue.frame.select(inside.fill_null(value=False)).to_series().to_numpy()
        return mask if allowed is None else mask & allowed


@dataclass(frozen=True, slots=True)
class ByHistory:
    """Neighbours by a recommender: what it would offer to someone who looked at this product alone."""

    recommender: Recommender

    def near(self, positions: Positions, *, k: int, allowed: Mask | None) -> list[Candidates]:
        """See Neighbours."""
        histories = PositionHistories(
            offsets=np.arange(len(positions) + 1, dtype=np.int64),
            positions=positions,
            timestamps=np.zeros(len(positions), dtype=np.int64),
            event_types=np.full(len(positions), EVENT_CODES["view"], dtype=np.int8),
        )
        own = [positions[row : row + 1] for row in range(len(positions))]
        return self.recommender.recommend(histories, k=k, allowed=allowed, exclude=own)


@dataclass(frozen=True, slots=True)
class ByVectors:
    """Neighbours by the product vectors of an index: the highest cosine."""

    name: str
    index: DenseIndex

    def near(self, positions: Positions, *, k: int, allowed: Mask | None) -> list[Candidates]:
        """See Neighbours."""
        own = [positions[row : row + 1] for row in range(len(positions))]
        vectors = self.index.at(positions)
        return self.index.search(vectors, k=k, allowed=allowed, exclude=own, source=self.name)


def count(parts: Sequence[tuple[Candidates, Rung]]) -> int:
    """How many products the lists hold."""
    return sum(len(found.positions) for found, _ in parts)


def without(candidates: Candidates, hidden: Sequence[Positions]) -> Candidates:
    """The list without the hidden positions."""
    kept = ~np.isin(candidates.positions, np.concatenate(hidden))
    names = tuple(name for name, stays in zip(candidates.brought_by, kept, strict=False) if stays)
    return Candidates(candidates.positions[kept], candidates.scores[kept], candidates.source, names)
