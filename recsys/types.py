"""The few values that cross the borders between packages, and the protocols behind which stages hide.

Positions are row numbers of one catalogue; people and APIs see product ids only.
Every ranked list is ordered by (score descending, position ascending).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from recsys.meaning import Understanding

Positions = NDArray[np.int64]
Scores = NDArray[np.float32]
Vectors = NDArray[np.float32]
Mask = NDArray[np.bool_]


class EventType(StrEnum):
    """What a shopper did; the order is the code used in arrays."""

    IMPRESSION = "impression"
    VIEW = "view"
    CLICK = "click"
    SEARCH = "search"
    ADD_TO_CART = "add_to_cart"
    REMOVE_FROM_CART = "remove_from_cart"
    PURCHASE = "purchase"
    CANCEL = "cancel"


EVENT_CODES: dict[str, int] = {event.value: code for code, event in enumerate(EventType)}


class Rung(StrEnum):
    """Which step answered: those of the cold-start ladder as `recsys.engine.ladder.LADDER` orders them, then others."""

    SESSION = "session"
    PERSONAL = "personal"
    TEXT = "text"
    SEGMENT = "segment"
    POPULARITY = "popularity"
    QUERY = "query"
    SIMILAR = "similar"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Candidates:
    """A ranked list inside the engine.

    Attributes:
        positions: int64 [n], distinct catalogue positions.
        scores: float32 [n], in the order of (score descending, position ascending).
        source: the stage that brought them, e.g. "bm25", "dense", "two-tower".
        brought_by: who brought each product, where a blend of several stages made the list; else empty.
    """

    positions: Positions
    scores: Scores
    source: str
    brought_by: tuple[str, ...] = ()


class WordWeight(NamedTuple):
    """A word of a text and what it says for (above 0) or against a match.

    Attributes:
        word: as it stands there.
        start: its first character.
        end: the character after its last.
        weight: in units of the logit.
    """

    word: str
    start: int
    end: int
    weight: float


@dataclass(frozen=True, slots=True)
class Attribution:
    """How a cross-encoder came to its score, word by word.

    Attributes:
        query: as the network read it.
        text: the product's text as the network read it; words beyond the network's length have no weight.
        query_words: in their order.
        text_words: in their order.
        logit: of the pair; sigmoid(logit) is the score.
        baseline: the logit of the same pair with every word hidden.
        remainder: logit - baseline - the sum of all weights: what the finite number of steps leaves unexplained.
    """

    query: str
    text: str
    query_words: tuple[WordWeight, ...]
    text_words: tuple[WordWeight, ...]
    logit: float
    baseline: float
    remainder: float


@dataclass(frozen=True, slots=True)
class Hit:
    """One product of an answer; rank starts at 1.

    Attributes:
        rung: the rung that brought this product; None where it is the answer's.
        probability: that the product is a good match; None where no calibrated network has scored it.
        attribution: the words behind the cross-encoder's score, where they were asked for.
    """

    product_id: str
    score: float
    rank: int
    source: str
    parts: dict[str, float] = field(default_factory=dict)
    rung: Rung | None = None
    probability: float | None = None
    attribution: Attribution | None = None


@dataclass(frozen=True, slots=True)
class Relaxation:
    """Something less that could be asked for, tried because nothing matched well.

    Attributes:
        kind: "spelling", "filter", "operators", "words" or "closest" (the same query without the cut-off).
        what: what is given up, or what is written instead, as people read it.
        query: what is asked instead.
        filters: which products may be shown.
        good: how many good matches that brings, of those that the cross-encoder looks at.
        hits: the first of them; of "closest" the first of what is no good match.
    """

    kind: str
    what: str
    query: str
    filters: "Filters"
    good: int
    hits: tuple[Hit, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the engine says to one query, user or product.

    Attributes:
        hits: best first.
        rung: who answered.
        model_version: the versions that answered.
        message: why it is short or empty, or what was passed over.
        corrected_query: what was searched for, where it is not what was typed.
        did_you_mean: what may have been meant, where that is not sure enough to search for it.
        understanding: what was read in the query, where it was asked for.
        no_good_match: a cut-off was asked for and nothing reaches it.
        relaxations: then, what else was tried, in that order.
        at: the moment that recommendations are for, microseconds since 1970-01-01 UTC; None without a calendar.
    """

    hits: tuple[Hit, ...]
    rung: Rung
    model_version: str
    message: str = ""
    corrected_query: str | None = None
    did_you_mean: str | None = None
    understanding: Understanding | None = None
    no_good_match: bool = False
    relaxations: tuple[Relaxation, ...] = ()
    at: int | None = None


@dataclass(frozen=True, slots=True)
class Filters:
    """Which products may be shown; an empty filter lets all pass.

    Attributes:
        brand: allowed brands; empty lets all pass.
        category: allowed category path prefixes ("Home > Sofas").
        price_min: lowest price, inclusive.
        price_max: highest price, inclusive.
        in_stock: True lets only products in stock pass.
        exclude: product ids never shown.
        only: product ids of which alone may be shown, none where it is empty; None lets all pass.
    """

    brand: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    price_min: float | None = None
    price_max: float | None = None
    in_stock: bool | None = None
    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None

    @property
    def empty(self) -> bool:
        """True where every product passes."""
        return self == Filters()


@dataclass(frozen=True, slots=True)
class Histories:
    """Event histories of a batch of users as one ragged array, each oldest first.

    Attributes:
        offsets: int64 [users + 1]; user i owns events offsets[i] to offsets[i + 1].
        product_ids: the products of the events, by id.
        timestamps: int64 [events], microseconds since 1970-01-01 UTC (or the order where the shop has no calendar).
        event_types: int8 [events], codes of EVENT_CODES.
        segments: the segment of each user, "" where unknown.
        attributes: what else is known of each user (locale, country ...), a JSON object of texts by name, "" where
            nothing is; none where it is known of nobody.
    """

    offsets: NDArray[np.int64]
    product_ids: tuple[str, ...]
    timestamps: NDArray[np.int64]
    event_types: NDArray[np.int8]
    segments: tuple[str, ...]
    attributes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.offsets) - 1


@dataclass(frozen=True, slots=True)
class PositionHistories:
    """Histories in the numbering of one catalogue; events on unknown products are left out.

    Attributes:
        offsets: int64 [users + 1].
        positions: int64 [events], catalogue positions, oldest first.
        timestamps: int64 [events].
        event_types: int8 [events].
        segments: the segment of each user, "" where unknown; none where it is known of nobody.
        attributes: the same of what else is known of each user, as of `Histories`.
        now: the moment that each user's recommendations are for, int64 [users] in the timestamps' unit, or one number
            for all; None where the caller does not say.
    """

    offsets: NDArray[np.int64]
    positions: Positions
    timestamps: NDArray[np.int64]
    event_types: NDArray[np.int8]
    segments: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    now: NDArray[np.int64] | int | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def of(self, user: int) -> Positions:
        """Positions of the user at row `user`, oldest first."""
        return self.positions[self.offsets[user] : self.offsets[user + 1]]


class HistorySource(Protocol):
    """Where the engine reads histories; offline and online sources answer alike."""

    def read(self, user_ids: Sequence[str]) -> Histories:
        """Histories of the users in the order asked; unknown users have none."""
        ...

    def known(self, user_ids: Sequence[str]) -> Mask:
        """bool [users], True where the source has seen the user."""
        ...


class Retriever(Protocol):
    """Brings candidates for query texts out of a whole catalogue."""

    @property
    def name(self) -> str:
        """What it is called in answers and reports."""
        ...

    @property
    def exact(self) -> bool:
        """True where nothing better can have been overlooked."""
        ...

    def retrieve(self, queries: Sequence[str], *, k: int, allowed: Mask | None = None) -> list[Candidates]:
        """The k best for each query.

        Args:
            queries: texts as the shopper typed them.
            k: at most so many candidates each.
            allowed: bool [catalogue]; where given, only True positions may come back.
        """
        ...


class Ranker(Protocol):
    """Scores a query against given product texts."""

    @property
    def name(self) -> str:
        """What it is called in answers and reports."""
        ...

    @property
    def fields(self) -> Sequence[str]:
        """The product's fields that its texts are made of; see `recsys.text.fields.product_text`."""
        ...

    def score(self, queries: Sequence[str], texts: Sequence[str]) -> Scores:
        """float32 [pairs], higher is more relevant; pair i is (queries[i], texts[i])."""
        ...


class Signals(Protocol):
    """Tells something about given products beside a query, as numbers that a blender joins with others."""

    @property
    def names(self) -> tuple[str, ...]:
        """The signals it brings, each one of `recsys.ranking.signals.SIGNALS`."""
        ...

    @property
    def absent(self) -> frozenset[str]:
        """Those of them of which this shop's data says nothing: NaN for every product."""
        ...

    def compute(self, query: Understanding, positions: Positions) -> Vectors:
        """float32 [positions, names], NaN where it is unknown; a product's row does not hang on its company.

        Args:
            query: as the search reads it; its `text` is what was asked.
            positions: int64 [n], distinct, in any order.
        """
        ...


class Recommender(Protocol):
    """Brings products for histories out of a whole catalogue."""

    @property
    def name(self) -> str:
        """What it is called in answers and reports."""
        ...

    def recommend(
        self,
        histories: PositionHistories,
        *,
        k: int,
        allowed: Mask | None = None,
        exclude: Sequence[Positions] | None = None,
    ) -> list[Candidates]:
        """The k best for each user.

        Args:
            histories: what the users did, in catalogue positions.
            k: at most so many candidates each.
            allowed: bool [catalogue]; where given, only True positions may come back.
            exclude: for each user the positions that must not come back (owned products).

        A user of whom the model knows nothing gets an empty list, never a guess.
        """
        ...
