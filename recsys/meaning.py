"""What the engine reads in a query: values that retrieval, ranking and people share.

Offsets are characters of a text: `text[start:end]` is what was read.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class SpanKind(StrEnum):
    """What a stretch of words names."""

    BRAND = "brand"
    COLOUR = "colour"
    ATTRIBUTE = "attribute"
    CATEGORY = "category"


@dataclass(frozen=True, slots=True)
class Correction:
    """Words of a query that the catalogue does not know, and what was meant.

    Attributes:
        start: where it begins in the query as it was typed.
        end: where it ends.
        typed: the words.
        corrected: what they should be, words joined by one space.
        confidence: 0 to 1.
        replaced: True where the corrected text has it; else it is an alternative beside what was typed.
    """

    start: int
    end: int
    typed: str
    corrected: str
    confidence: float
    replaced: bool


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its unit, e.g. 0.5 l = 500 ml.

    Attributes:
        start: where it begins in the text.
        end: where it ends, the unit included.
        value: the number in the base unit, above 0.
        unit: the base unit of its dimension: mm, g, ml, count, W, V, ...; see recsys.understanding.units.
    """

    start: int
    end: int
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Span:
    """Words that name something the catalogue knows.

    Attributes:
        start: where it begins in the text.
        end: where it ends.
        kind: brand, colour, attribute or category.
        name: the attribute's name, "" for a brand or category.
        values: the catalogue's own spellings of what is meant; several where the words fit them all.
        confidence: 0 to 1, the chance that the words mean this.
        facts: the numbers of these values in the index, for the signals.
    """

    start: int
    end: int
    kind: SpanKind
    name: str
    values: tuple[str, ...]
    confidence: float
    facts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CategoryShare:
    """A node of the category tree and the chance that the wanted product stands at it or below it.

    Attributes:
        path: "Home > Sofas".
        probability: 0 to 1; a node's is the sum of its children's and of the products that stand at itself.
        node: the node's number in the index.
    """

    path: str
    probability: float
    node: int


@dataclass(frozen=True, slots=True)
class Understanding:
    """What was read in one query.

    Attributes:
        query: as it was typed.
        text: with the corrections that are sure enough; equals `query` where there are none.
        corrections: in the order of the query.
        quantities: in the order of the text.
        spans: in the order of the text; they do not overlap.
        categories: the likelier first; nodes below one in a hundred are left out. Empty where nothing in the query
            tells of a category, or the catalogue has none.
        absent: by part of the understanding, why the index does not have it.
    """

    query: str
    text: str
    corrections: tuple[Correction, ...] = ()
    quantities: tuple[Quantity, ...] = ()
    spans: tuple[Span, ...] = ()
    categories: tuple[CategoryShare, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)

    @property
    def confidence(self) -> float:
        """The chance, 0 to 1, that `text` is what was meant; 1 where nothing was replaced."""
        chance = 1.0
        for correction in self.corrections:
            chance *= correction.confidence if correction.replaced else 1.0
        return chance

    @property
    def corrected(self) -> str | None:
        """The text, where it is not what was typed."""
        return None if self.text == self.query else self.text

    @property
    def suggestion(self) -> str | None:
        """The query with every correction, the doubtful ones too; None where that is the text ("did you mean")."""
        meant = with_corrections(self.query, self.corrections)
        return None if meant == self.text else meant

    @property
    def alternatives(self) -> tuple[tuple[str, float], ...]:
        """What words that stayed may mean, and how much that counts beside them, 0 to 1."""
        return tuple((one.corrected, one.confidence) for one in self.corrections if not one.replaced)

    def of(self, kind: SpanKind) -> tuple[Span, ...]:
        """The spans of one kind."""
        return tuple(span for span in self.spans if span.kind is kind)

    def as_json(self) -> dict[str, Any]:
        """The report for machines, without what means something inside the index only."""
        report = asdict(self)
        for one in report["spans"]:
            del one["facts"]
        for one in report["categories"]:
            del one["node"]
        report |= {"absent": dict(self.absent), "confidence": self.confidence, "suggestion": self.suggestion}
        return {name: rounded(value) for name, value in report.items()}


def with_corrections(query: str, corrections: tuple[Correction, ...]) -> str:
    """The query with these corrections, which stand in its order and do not overlap."""
    pieces, place = [], 0
    for one in corrections:
        pieces += [query[place : one.start], one.corrected]
        place = one.end
    return "".join([*pieces, query[place:]])


def rounded(value: Any) -> Any:
    """Floats with four digits."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, list | tuple) else value
