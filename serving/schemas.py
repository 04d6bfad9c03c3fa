"""The shapes of the online service's requests and answers; every limit that a request is held to stands here."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from recsys.engine.policy import ListShape
from recsys.engine.searcher import ATTRIBUTED, MOST_ATTRIBUTED
from recsys.types import Answer, Attribution, Filters, Hit, Relaxation, Rung, WordWeight
from serving.moments import START, read_moment

MAX_K = 1000
MAX_ITEMS = 1000
MAX_QUERY = 2000
MAX_ID = 512

Describe = Callable[[Sequence[Hit]], list[dict[str, Any]] | None]
Id = Annotated[str, Field(min_length=1, max_length=MAX_ID)]
Query = Annotated[str, Field(max_length=MAX_QUERY, description="The words as the shopper typed them.")]
Count = Annotated[int, Field(ge=1, le=MAX_K, description="At most so many products.")]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Ids = Annotated[list[Id], Field(max_length=MAX_ITEMS)]
Names = Annotated[list[Annotated[str, Field(max_length=MAX_QUERY)]], Field(max_length=MAX_ITEMS)]
Columns = Annotated[
    list[Annotated[str, Field(max_length=MAX_ID)]],
    Field(max_length=64, description="Columns of the catalogue to send with each hit, as title or price."),
]


def as_moment(value: object) -> object:
    """PydanticCustomError for what is no text with a zone: a bare number may be seconds or their thousandths."""
    moment = read_moment(value) if isinstance(value, str) else value
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise PydanticCustomError("moment", "a moment with its zone, as 2026-03-01T12:00:00Z")
    return moment


Moment = Annotated[AwareDatetime, BeforeValidator(as_moment)]


def closed(*examples: dict[str, Any]) -> ConfigDict:
    """A request's configuration: unknown fields are refused, numbers pass as ids."""
    return ConfigDict(extra="forbid", coerce_numbers_to_str=True, json_schema_extra={"examples": list(examples)})


class FiltersRequest(BaseModel):
    """Which products may be shown; what is left out lets all pass."""

    model_config = closed({"category": ["Home > Sofas"], "price_max": 900, "in_stock": True})

    brand: Names = []
    category: Annotated[Names, Field(description='Category paths or their beginnings, as "Home > Sofas".')] = []
    price_min: Price | None = None
    price_max: Price | None = None
    in_stock: bool | None = None
    exclude: Annotated[Ids, Field(description="Products never shown.")] = []
    only: Annotated[Ids | None, Field(description="Products of which alone may be shown; an empty list: none.")] = None

    @model_validator(mode="after")
    def ordered(self) -> "FiltersRequest":
        """Refuse a price range that is upside down."""
        if self.price_min is not None and self.price_max is not None and self.price_min > self.price_max:
            raise ValueError(f"price_min {self.price_min:g} is above price_max {self.price_max:g}")
        return self

    def filters(self) -> Filters:
        """The engine's filters."""
        return Filters(
            brand=tuple(self.brand),
            category=tuple(self.category),
            price_min=self.price_min,
            price_max=self.price_max,
            in_stock=self.in_stock,
            exclude=tuple(self.exclude),
            only=None if self.only is None else tuple(self.only),
        )


class SearchRequest(BaseModel):
    """Find products by words."""

    model_config = closed(
        {"query": "blue velvet sofa", "k": 10},
        {"query": "sofa", "k": 5, "filters": {"price_max": 900, "in_stock": True}, "fields": ["title", "price"]},
        {"query": "blue velvet sofa", "good_only": True, "filters": {"brand": ["Acme"]}},
        {"query": "blue velvet sofa", "k": 3, "explain": "tokens"},
    )

    query: Query
    k: Count = 10
    filters: FiltersRequest = FiltersRequest()
    stages: Literal["bm25", "dense", "hybrid", "full", "blended"] | None = None
    correct: Annotated[bool, Field(description="Search for what mistyped words most likely mean.")] = True
    explain: Annotated[
        Literal["tokens"] | bool,
        Field(description="Each stage's share of the score; `tokens`: also the words behind the first few scores."),
    ] = False
    explain_hits: Annotated[
        int, Field(ge=1, le=MOST_ATTRIBUTED, description="With `tokens`: the words of so many first hits.")
    ] = ATTRIBUTED
    min_probability: Annotated[
        float | None,
        Field(ge=0, le=1, description="Show nothing that is a good match with a lower probability than this."),
    ] = None
    good_only: Annotated[
        bool | None, Field(description="The same with the model's own cut-off; the shop decides if null.")
    ] = None
    fields: Columns = []

    @model_validator(mode="after")
    def explained(self) -> "SearchRequest":
        """Refuse a number of hits to explain where nothing is to be explained by words."""
        if "explain_hits" in self.model_fields_set and self.explain != "tokens":
            raise ValueError('explain_hits is given without "explain": "tokens"; give both or none')
        return self

    @model_validator(mode="after")
    def one_cutoff(self) -> "SearchRequest":
        """Refuse two cut-offs in one request."""
        if self.min_probability is not None and self.good_only:
            raise ValueError("both min_probability and good_only are given; give one of them")
        return self


class RankRequest(BaseModel):
    """Order the caller's products by their relevance to the query."""

    model_config = closed({"query": "blue velvet sofa", "product_ids": ["p0001", "p0002", "p0003"]})

    query: Query
    product_ids: Ids
    k: Count | None = None
    fields: Columns = []


class SessionEvent(BaseModel):
    """One thing an anonymous shopper did; give them oldest first."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    product_id: Id
    event_type: Literal["view", "click", "add_to_cart", "purchase"] = "view"


class ShapeRequest(BaseModel):
    """What the list holds to; the shop decides what is left out."""

    model_config = closed({"diversity": 0.3, "per_category": 3, "price_band": [0.5, 2.0]})

    diversity: Annotated[float, Field(ge=0, le=1, description="Variety against relevance; 0 keeps the order.")] = 0.0
    per_category: Annotated[int | None, Field(ge=1, description="At most so many of one category.")] = None
    per_brand: Annotated[int | None, Field(ge=1, description="At most so many of one brand.")] = None
    category_depth: Annotated[int, Field(ge=0, description="Parts of a category's path that count; 0: all.")] = 0
    price_band: Annotated[
        tuple[Price, Price] | None, Field(description="From a to b times what the shopper usually buys.")
    ] = None
    available: Annotated[bool, Field(description="Leave out what is known to be sold out.")] = False
    return_days: Annotated[
        float | None, Field(ge=0, allow_inf_nan=False, description="Bought products come back after so many days.")
    ] = None
    return_interval: Annotated[
        float | None,
        Field(ge=0, allow_inf_nan=False, description="They come back after so many of their usual intervals."),
    ] = None
    return_half_life: Annotated[
        float | None,
        Field(gt=0, allow_inf_nan=False, description="They come back little by little: half after so many days."),
    ] = None

    @model_validator(mode="after")
    def ordered(self) -> "ShapeRequest":
        """Refuse a price band that is upside down."""
        if self.price_band is not None and self.price_band[0] > self.price_band[1]:
            raise ValueError(f"price_band begins at {self.price_band[0]:g}, above its end {self.price_band[1]:g}")
        return self

    def shape(self) -> ListShape:
        """The engine's shape, of what the request has set."""
        return ListShape(**self.model_dump(exclude_unset=True))


class RecommendRequest(BaseModel):
    """Recommend to a known user, to an anonymous shopper by the events of the session, or to a user by both."""

    model_config = closed(
        {"user_id": "u0001", "k": 20},
        {"user_id": "u0001", "events": [{"product_id": "p0001", "event_type": "view"}]},
        {"events": [{"product_id": "p0001", "event_type": "view"}], "k": 10, "filters": {"in_stock": True}},
        {"user_id": "u0001", "at": "2026-03-01T18:30:00+01:00"},
    )

    user_id: Id | None = None
    events: (
        Annotated[
            list[SessionEvent],
            Field(
                max_length=MAX_ITEMS, description="Oldest first. Beside a user_id: what the history does not know yet."
            ),
        ]
        | None
    ) = None
    at: Annotated[
        Moment | None,
        Field(description="The moment to recommend for, not before the newest event; now if left out."),
    ] = None
    k: Count = 20
    filters: FiltersRequest = FiltersRequest()
    repeats: Annotated[bool | None, Field(description="May owned products come back; the shop decides if null.")] = None
    shape: ShapeRequest = ShapeRequest()
    fields: Columns = []


class SimilarRequest(BaseModel):
    """Find the products nearest to one product."""

    model_config = closed({"product_id": "p0001", "k": 10})

    product_id: Id
    k: Count = 10
    filters: FiltersRequest = FiltersRequest()
    fields: Columns = []


class Word(BaseModel):
    """A word and what it says for (above 0) or against a match, in units of the logit."""

    word: str
    start: Annotated[int, Field(description="Its first character in the text.")]
    end: Annotated[int, Field(description="The character after its last.")]
    weight: float


class WordsOfHit(BaseModel):
    """Why the network scored a product so: logit = baseline + the weights of all words + remainder."""

    query: Annotated[str, Field(description="The query as the network read it.")]
    text: Annotated[str, Field(description="The product's text as the network read it.")]
    query_words: list[Word]
    text_words: list[Word]
    logit: float
    baseline: Annotated[float, Field(description="The logit with every word hidden.")]
    remainder: Annotated[float, Field(description="What the approximation leaves unexplained.")]

    @classmethod
    def of(cls, found: Attribution) -> "WordsOfHit":
        """The words of one hit."""
        names = WordWeight._fields
        sides = {
            side: [dict(zip(names, word, strict=True)) for word in getattr(found, side)]
            for side in ("query_words", "text_words")
        }
        plain = {name: getattr(found, name) for name in ("query", "text", "logit", "baseline", "remainder")}
        return cls.model_validate(plain | sides)


class RankedHit(BaseModel):
    """One product of an answer."""

    product_id: str
    rank: int
    score: float
    probability: Annotated[
        float | None, Field(description="That it is a good match, where a calibrated network looked at it.")
    ] = None
    source: Annotated[str, Field(description="The stage that brought it.")]
    rung: Annotated[Rung | None, Field(description="The step that brought it, where that is not the answer's.")] = None
    parts: Annotated[dict[str, float] | None, Field(description="Each stage's share, where it was asked for.")] = None
    words: Annotated[WordsOfHit | None, Field(description="The words behind its score, where asked for.")] = None
    fields: Annotated[dict[str, Any] | None, Field(description="The catalogue's columns that were asked for.")] = None

    @classmethod
    def of(cls, hits: Sequence[Hit], *, describe: Describe | None) -> "list[RankedHit]":
        """The hits with what `describe` says of each."""
        details = describe(hits) if describe is not None else None
        return [
            cls(
                product_id=hit.product_id,
                rank=hit.rank,
                score=hit.score,
                probability=hit.probability,
                source=hit.source,
                rung=hit.rung,
                parts=hit.parts or None,
                words=None if hit.attribution is None else WordsOfHit.of(hit.attribution),
                fields=details[number] if details else None,
            )
            for number, hit in enumerate(hits)
        ]


class RelaxationTried(BaseModel):
    """Something less that could be asked for."""

    kind: Annotated[str, Field(description="spelling, filter, operators, words or closest.")]
    what: Annotated[str, Field(description="What is given up, or what is written instead.")]
    query: Annotated[str, Field(description="What to ask then.")]
    filters: Annotated[dict[str, Any], Field(description="The filters to ask with then.")]
    good: Annotated[int, Field(description="How many good matches that brings.")]
    hits: Annotated[list[RankedHit], Field(description="The first of them; of `closest` what is no good match.")]

    @classmethod
    def of(cls, tried: Relaxation, *, describe: Describe | None) -> "RelaxationTried":
        """One of the engine's."""
        empty = asdict(Filters())
        return cls(
            kind=tried.kind,
            what=tried.what,
            query=tried.query,
            filters={name: value for name, value in asdict(tried.filters).items() if value != empty[name]},
            good=tried.good,
            hits=RankedHit.of(tried.hits, describe=describe),
        )


class AnswerResponse(BaseModel):
    """What the engine says."""

    hits: list[RankedHit]
    rung: Annotated[
        Rung,
        Field(
            description="The step that brought the first hit. Recommendations go down session, personal (the user's "
            "history), text (near in its text to what was looked at), segment, popularity; searches answer query, "
            "neighbours of a product similar, an empty answer none."
        ),
    ]
    model_version: str
    at: Annotated[
        datetime | None, Field(description="The moment that recommendations are for, where the shop has a calendar.")
    ] = None
    message: str = ""
    corrected_query: Annotated[str | None, Field(description="What was searched for, if not what was typed.")] = None
    did_you_mean: Annotated[str | None, Field(description="What may have been meant, but was not searched for.")] = None
    understanding: Annotated[
        dict[str, Any] | None, Field(description="What was read in the query, where it was asked for.")
    ] = None

    no_good_match: Annotated[bool, Field(description="Nothing reaches the cut-off that was asked for.")] = False
    relaxations: Annotated[
        list[RelaxationTried] | None, Field(description="Then: what else was tried, in this order.")
    ] = None

    @classmethod
    def of(cls, answer: Answer, *, describe: Describe | None = None) -> "AnswerResponse":
        """The response to an answer; `describe` gives the catalogue's columns of hits."""
        return cls(
            hits=RankedHit.of(answer.hits, describe=describe),
            rung=answer.rung,
            model_version=answer.model_version,
            at=None if answer.at is None else START + timedelta(microseconds=answer.at),
            message=answer.message,
            corrected_query=answer.corrected_query,
            did_you_mean=answer.did_you_mean,
            understanding=None if answer.understanding is None else answer.understanding.as_json(),
            no_good_match=answer.no_good_match,
            relaxations=[RelaxationTried.of(one, describe=describe) for one in answer.relaxations] or None,
        )


class Failure(BaseModel):
    """What was wrong with a request."""

    found: Annotated[str, Field(examples=["body.k is 100000"])]
    expected: Annotated[str, Field(examples=["less than or equal to 1000"])]
    action: Annotated[str, Field(examples=["correct the request; /docs shows its shape"])]


class FailureResponse(BaseModel):
    """The one shape of every error."""

    error: Failure
