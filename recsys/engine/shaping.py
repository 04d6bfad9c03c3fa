"""What a list of recommendations holds to beside its order: variety, shares, prices.

Every rule looks at one user alone, so a batch answers as each user does. Rules take products out or put others first
inside a rung; they never bring a product that no rung has brought.

Source: Carbonell and Goldstein, "The use of MMR, diversity-based reranking for reordering documents and producing
summaries", SIGIR 1998.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue import Catalogue
from recsys.engine.ladder import Filled, Ladder, take
from recsys.engine.policy import ListShape
from recsys.engine.returns import come_back
from recsys.types import EVENT_CODES, Mask, PositionHistories, Positions, Rung, Scores, Vectors

DEEPER = 4
LEAST = 50
"""Products that are looked at, at least, before a list is shaped."""
Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]
Likeness = Callable[[Positions], Vectors]
"""Gives float32 [n, n], how alike n products are, 1 for the same."""


@dataclass(frozen=True, slots=True)
class Shaper:
    """A shape, with what it needs to know of the products.

    Attributes:
        shape: what lists hold to.
        categories: int64 [catalogue], -1 where unknown.
        brands: int64 [catalogue], -1 where unknown.
        prices: float64 [catalogue], NaN where unknown.
        likeness: of products.
        until: the last moment that is known of, for histories that do not say for when they are answered.
    """

    shape: ListShape
    categories: Numbers
    brands: Numbers
    prices: Floats
    likeness: Likeness
    until: int = 0

    @classmethod
    def of(
        cls,
        catalogue: Catalogue,
        shape: ListShape,
        *,
        vectors: Callable[[Positions], Vectors] | None,
        until: int = 0,
    ) -> "Shaper":
        """The shaper of a catalogue.

        Args:
            catalogue: the products.
            shape: what lists hold to.
            vectors: gives products' vectors, float32 [n, width]; without them products of one category are alike.
            until: the last moment that is known of, microseconds since 1970-01-01 UTC.
        """
        categories = catalogue.numbers("category", depth=shape.category_depth)
        prices = catalogue.column("price").cast(float).fill_null(float("nan")).to_numpy()
        alike = by_category(categories) if vectors is None else by_vectors(vectors)
        return cls(shape, categories, catalogue.numbers("brand"), prices, alike, until)

    def fill(
        self,
        ladder: Ladder,
        histories: PositionHistories,
        segments: Sequence[str],
        *,
        k: int,
        allowed: Mask | None,
        exclude: Sequence[Positions] | None,
        rung: Rung,
    ) -> Iterator[Filled]:
        """Shaped lists of up to k products; arguments as of `Ladder.fill`.

        Where too much falls away, the ladder is asked for more, until a list is full or nothing is left.
        """
        lists: dict[int, Filled] = {}
        due, depth = np.arange(len(histories)), max(DEEPER * k, LEAST)
        while len(due):
            pools = ladder.fill(
                take(histories, due),
                [segments[row] for row in due.tolist()],
                k=depth,
                products=len(self.prices),
                allowed=allowed,
                exclude=None if exclude is None else [exclude[row] for row in due.tolist()],
                rung=rung,
            )
            short = []
            for row, pool in zip(due.tolist(), pools, strict=True):
                lists[row] = self.shaped(pool, history=take(histories, np.array([row])), k=k)
                if len(lists[row].positions) < k and len(pool.positions) == depth:
                    short.append(row)
            due, depth = np.array(short, dtype=np.int64), depth * DEEPER
        yield from (lists[row] for row in range(len(histories)))

    def shaped(self, pool: Filled, *, history: PositionHistories, k: int) -> Filled:
        """The k products of a list that hold to the shape, for a user with this history."""
        shape, inside = self.shape, np.arange(len(pool.positions))
        if shape.price_band is not None:
            inside = inside[in_band(self.prices[pool.positions], usual_price(self.prices, history), shape.price_band)]
        positions = pool.positions[inside]
        rungs = [pool.rungs[place] for place in inside]
        chosen = choose(
            k=k,
            rungs=np.cumsum([one != other for one, other in zip(rungs, rungs[:1] + rungs, strict=False)]),
            caps=[
                (numbers[positions], most)
                for numbers, most in ((self.categories, shape.per_category), (self.brands, shape.per_brand))
                if most is not None
            ],
            alike=self.likeness(positions) if shape.diversity > 0 else None,
            diversity=shape.diversity,
            back=None
            if shape.return_half_life is None
            else come_back(positions, history, until=self.until, half_life=shape.return_half_life),
        )
        return part(pool, inside[chosen])


def choose(
    *,
    k: int,
    rungs: Numbers,
    caps: Sequence[tuple[Numbers, int]] = (),
    alike: Vectors | None = None,
    diversity: float = 0.0,
    back: Floats | None = None,
) -> Positions:
    """Places of a list, int64, in the order in which they are shown.

    Rung after rung, the next is the place with the highest (1 - diversity) x relevance - diversity x (the greatest
    likeness to one that was chosen), where relevance falls evenly from 1 to 0 along the list, as scores of different
    sources do not compare; of equals the earlier. Whatever would break a cap is passed over.

    Args:
        k: at most so many.
        rungs: int64 [n], numbers of the rungs, rising.
        caps: numbers of groups, int64 [n], -1 for none, and how many of a group may be shown.
        alike: float32 [n, n]; None where variety does not count.
        diversity: 0 keeps the order, 1 asks for variety alone.
        back: float64 [n], 0 to 1, by which relevance is multiplied; None leaves it whole.
    """
    count = len(rungs)
    worth = (1.0 - diversity) * (1.0 - np.arange(count) / max(count, 1))
    if back is not None:
        worth = worth * back
    nearest = np.zeros(count)
    open_places = np.ones(count, dtype=np.bool_)
    left = [dict.fromkeys(np.unique(groups).tolist(), most) for groups, most in caps]
    chosen: list[int] = []
    while len(chosen) < k and open_places.any():
        block = open_places & (rungs == rungs[open_places.argmax()])
        value = worth if alike is None or not chosen else worth - diversity * nearest
        place = int(np.where(block, value, -np.inf).argmax())
        open_places[place] = False
        chosen.append(place)
        if alike is not None:
            nearest = np.maximum(nearest, alike[place]) if len(chosen) > 1 else alike[place].astype(np.float64)
        for (groups, _), remaining in zip(caps, left, strict=True):
            group = int(groups[place])
            remaining[group] -= 1
            if group >= 0 and remaining[group] <= 0:
                open_places &= groups != group
    return np.array(chosen, dtype=np.int64)


def by_vectors(vectors: Callable[[Positions], Vectors]) -> Likeness:
    """Likeness by the cosine of vectors, 0 beside a vector of zeros."""

    def alike(positions: Positions) -> Vectors:
        own = vectors(positions).astype(np.float64)
        own /= np.maximum(np.linalg.norm(own, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        return np.asarray(own @ own.T, dtype=np.float32)

    return alike


def by_category(categories: Numbers) -> Likeness:
    """Likeness 1 for products of one category, 0 for others and for products without."""

    def alike(positions: Positions) -> Vectors:
        own = categories[positions]
        return np.asarray((own[:, None] == own[None, :]) & (own[:, None] >= 0), dtype=np.float32)

    return alike


def usual_price(prices: Floats, history: PositionHistories) -> float:
    """The median price of what a user bought, else of all that the user met; NaN where no price is known."""
    bought = history.positions[history.event_types == EVENT_CODES["purchase"]]
    for positions in (bought, history.positions):
        known = prices[positions][np.isfinite(prices[positions])]
        if len(known):
            return float(np.median(known))
    return float("nan")


def in_band(prices: Floats, usual: float, band: tuple[float, float]) -> NDArray[np.bool_]:
    """bool [prices], True from band[0] to band[1] times the usual price, and wherever either is unknown."""
    low, high = band
    outside = (prices < low * usual) | (prices > high * usual)  # comparisons with NaN are False
    return ~outside


def part(filled: Filled, places: Positions) -> Filled:
    """Some places of a list, in their order."""
    scores: Scores = filled.scores[places]
    return Filled(
        positions=filled.positions[places],
        scores=scores,
        sources=tuple(filled.sources[place] for place in places),
        rungs=tuple(filled.rungs[place] for place in places),
    )
