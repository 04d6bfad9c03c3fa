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
from recsys.engine.ladder import NOTHING, Filled, Ladder, take
from recsys.engine.likeness import Likeness, Row, by_category, by_vectors
from recsys.engine.policy import ListShape
from recsys.engine.returns import come_back
from recsys.types import EVENT_CODES, Mask, PositionHistories, Positions, Rung, Scores, Vectors

DEEPER = 4
LEAST = 50
"""Products that are looked at, at least, before a list is shaped."""
PLACES = 1 << 22
"""Places of unshaped lists held at once, about 100 MiB."""
Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]


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

        Where too much falls away, the ladder is asked for more, until a list is full or no product that it has not
        brought yet could stand in it.
        """
        lists: dict[int, Filled] = {}
        due, depth = np.arange(len(histories)), max(DEEPER * k, LEAST)
        while len(due):
            short = []
            for start in range(0, len(due), max(1, PLACES // depth)):
                rows = due[start : start + max(1, PLACES // depth)]
                hidden = [NOTHING if exclude is None else exclude[row] for row in rows.tolist()]
                pools = ladder.fill(
                    take(histories, rows),
                    [segments[row] for row in rows.tolist()],
                    k=depth,
                    products=len(self.prices),
                    allowed=allowed,
                    exclude=hidden,
                    rung=rung,
                )
                for row, pool, own in zip(rows.tolist(), pools, hidden, strict=True):
                    history = take(histories, np.array([row]))
                    lists[row] = found = self.shaped(pool, history=history, k=k)
                    ended = len(found.positions) == k or len(pool.positions) < depth
                    if not ended and self.beside(
                        found, history=history, allowed=allowed, without=(pool.positions, own)
                    ):
                        short.append(row)
            due, depth = np.array(short, dtype=np.int64), depth * DEEPER
        yield from (lists[row] for row in range(len(histories)))

    @property
    def caps(self) -> list[tuple[Numbers, int]]:
        """The groups whose share is bounded, int64 [catalogue], -1 for none, and how many of one may be shown."""
        both = ((self.categories, self.shape.per_category), (self.brands, self.shape.per_brand))
        return [(groups, most) for groups, most in both if most is not None]

    def beside(
        self, found: Filled, *, history: PositionHistories, allowed: Mask | None, without: Sequence[Positions]
    ) -> bool:
        """True where a product may stand in this list beside those that do, for a user with this history.

        Args:
            found: the list.
            history: the user's.
            allowed: bool [catalogue], which products may come.
            without: positions that are out of question.
        """
        free = np.ones(len(self.prices), dtype=np.bool_) if allowed is None else allowed.copy()
        for positions in without:
            free[positions] = False
        if self.shape.price_band is not None:
            free &= in_band(self.prices, usual_price(self.prices, history), self.shape.price_band)
        for groups, most in self.caps:
            shown, counts = np.unique(groups[found.positions], return_counts=True)
            free &= ~np.isin(groups, shown[(shown >= 0) & (counts >= most)])
        return bool(free.any())

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
            caps=[(groups[positions], most) for groups, most in self.caps],
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
    alike: Row | None = None,
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
        alike: likeness of one place to all; None where variety does not count.
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
        if alike is not None and len(chosen) < k:
            own = alike(place)
            nearest = np.maximum(nearest, own) if len(chosen) > 1 else own.astype(np.float64)
        for (groups, _), remaining in zip(caps, left, strict=True):
            group = int(groups[place])
            remaining[group] -= 1
            if group >= 0 and remaining[group] <= 0:
                open_places &= groups != group
    return np.array(chosen, dtype=np.int64)


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
