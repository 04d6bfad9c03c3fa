"""What a feature is: an entity, what is measured of it, over which window. One definition serves three readers.

The training table (`table`), the online record (`records`) and the page for people (`page`) are all made of the same
definition, and its version is a hash of its content: whoever changes a definition gets another version.

**What counts.** A row asks at its own instant t. An event counts when it happened before t (strictly: an event never
explains itself) and was known by t (`known_at <= t`; events without `known_at` are known as they happen). Late and
backfilled events therefore never leak into rows from before they were known.

**Windows** begin at a whole hop: [floor(t - length, hop), t). Training and serving cut them in the same place, so that
an online record needs one number for each hop and no list of events.
Source: "Chronon: A Declarative Feature Engineering Framework" (Airbnb, 2023), sawtooth windows.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

from feature_store.point_in_time.values import HASHED, VALUES
from recsys.types import EVENT_CODES

Stream = Literal["events", "prices", "judgments", "follows"]
Entity = Literal["user", "product", "user_product", "query", "query_product", "follow"]

ENTITIES: dict[Entity, tuple[str, ...]] = {
    "user": ("user_id",),
    "product": ("product_id",),
    "user_product": ("user_id", "product_id"),
    "query": ("query",),
    "query_product": ("query", "product_id"),
    "follow": ("previous_id", "product_id"),
}
"""By entity the columns that name one; `previous_id` is the product that the row's user viewed last."""

WHOSE: dict[Stream, tuple[Entity, ...]] = {
    "events": ("user", "product", "user_product", "query", "query_product"),
    "prices": ("product",),
    "judgments": ("product", "query", "query_product"),
    "follows": ("follow",),
}
"""By stream the entities whose columns its records have."""

NUMBER = "number"
"""What a view is worth where the product viewed last is looked for; it says nothing to anyone else."""

WORTHS: dict[Stream, tuple[str, ...]] = {
    "events": ("one", "price", "quantity", "spent", "priced units", "looked", "click / looked", *HASHED),
    "prices": ("one", "price", "stock"),
    "judgments": ("one", "grade", "product"),
    "follows": ("one", "product"),
}
"""By stream what its records can be worth."""

RULES: dict[Stream, int] = {"events": 1, "prices": 1, "judgments": 1, "follows": 2}
"""By stream a part of its features' versions: raised where the rule of what counts, or how it is summed, changes."""

WEAKEST, STRONGEST = 1e-6, 1e12
"""Of the strength of a rate that is drawn; below a millionth, the least `bottom`, values would outgrow float32."""

MINUTE, HOUR, DAY = 60_000_000, 3_600_000_000, 86_400_000_000
"""Microseconds."""


@dataclass(frozen=True)
class Window:
    """A stretch of time that ends at the row's instant.

    Attributes:
        hours: its least length; it is up to one hop longer.
    """

    hours: int

    @property
    def length(self) -> int:
        """Microseconds."""
        return self.hours * HOUR

    @property
    def hop(self) -> int:
        """Where it may begin, microseconds: whole days from a week on, whole hours from 12 hours on, else 5 minutes."""
        return DAY if self.hours >= 7 * 24 else HOUR if self.hours >= 12 else 5 * MINUTE

    def __str__(self) -> str:
        if self.hours in (1, 24):
            return "an hour" if self.hours == 1 else "a day"
        return f"{self.hours // 24} days" if self.hours % 24 == 0 else f"{self.hours} hours"


def days(number: int) -> Window:
    """A window of whole days."""
    return Window(hours=24 * number)


@dataclass(frozen=True)
class Measure:
    """Which records of a stream are counted, and what each is worth.

    Attributes:
        stream: where the records come from.
        kinds: event types; () takes every record.
        value: what one is worth, a name of `values.VALUES`; records that lack it are not counted.
    """

    stream: Stream
    kinds: tuple[str, ...] = ()
    value: str = "one"


@dataclass(frozen=True)
class Total:
    """The sum of a measure; 0 where there is nothing."""

    measure: Measure
    window: Window | None = None


@dataclass(frozen=True)
class Rate:
    """(top + strength * prior) / (bottom + strength); null where that is 0 / 0.

    The prior is the whole shop's top / bottom over all that was known at the last midnight (UTC) before the row.

    Attributes:
        top: the numerator.
        bottom: the denominator.
        window: of both.
        strength: how many units of `bottom` the prior is worth: 0, or from WEAKEST to STRONGEST.
    """

    top: Measure
    bottom: Measure
    window: Window | None = None
    strength: float = 0.0


@dataclass(frozen=True)
class Age:
    """Days from the first or the last record of a measure to the row; null where there is none."""

    measure: Measure
    end: Literal["first", "last"] = "last"


@dataclass(frozen=True)
class Latest:
    """The value of the last record; of several at one instant the largest; null where there is none."""

    measure: Measure


@dataclass(frozen=True)
class Change:
    """The latest value against the latest one `window.length` earlier, as was known then: now / then - 1; else null."""

    measure: Measure
    window: Window


@dataclass(frozen=True)
class Distinct:
    """How many different ones of `measure.value` (a hashed id) there are."""

    measure: Measure
    window: Window | None = None


Aggregate = Total | Rate | Age | Latest | Change | Distinct


@dataclass(frozen=True)
class Feature:
    """A named feature.

    Attributes:
        name: of its column.
        entity: whose feature it is.
        about: one sentence for people.
        of: how it is computed.
    """

    name: str
    entity: Entity
    about: str
    of: Aggregate

    def __post_init__(self) -> None:
        """Refuse what can't be computed.

        Raises:
            ValueError: a rate of two streams or of a strength that leads nowhere, distinct values that are no ids, ids
                that are summed, or what a stream's records don't have.
        """
        if len({measure.stream for measure in self.measures}) > 1:
            raise ValueError(f"{self.name}: a rate's measures come from one stream")
        if isinstance(self.of, Rate) and self.of.strength and not WEAKEST <= self.of.strength <= STRONGEST:
            raise ValueError(f"{self.name}: strength {self.of.strength:g} is not 0 or {WEAKEST:g} to {STRONGEST:g}")
        if isinstance(self.of, Distinct) and self.of.measure.value not in HASHED:
            raise ValueError(f"{self.name}: distinct values are one of {', '.join(HASHED)}")
        for measure in self.measures:
            if measure.value in HASHED and not isinstance(self.of, Distinct):
                raise ValueError(f"{self.name}: {measure.value} is an id, which only distinct counts")
            self.refuse_foreign(measure)

    def refuse_foreign(self, measure: Measure) -> None:
        """Raise ValueError where a measure's stream lacks what the feature asks of it."""
        stream = measure.stream
        if self.entity not in WHOSE[stream]:
            raise ValueError(f"{self.name}: {stream} have features of {', '.join(WHOSE[stream])}, not {self.entity}")
        if measure.value not in (*WORTHS[stream], NUMBER):
            raise ValueError(f"{self.name}: {stream} are worth {', '.join(WORTHS[stream])}, not {measure.value}")
        kinds = EVENT_CODES if stream == "events" else ()
        if odd := [kind for kind in measure.kinds if kind not in kinds]:
            raise ValueError(f"{self.name}: {stream} have types {', '.join(kinds) or 'none'}, not {', '.join(odd)}")

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that a row needs."""
        return ("user_id", "product_id") if self.entity == "follow" else ENTITIES[self.entity]

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What is measured."""
        return (self.of.top, self.of.bottom) if isinstance(self.of, Rate) else (self.of.measure,)

    @property
    def window(self) -> Window | None:
        """The window, None where all the past counts."""
        return None if isinstance(self.of, Age | Latest) else self.of.window

    @property
    def calendar(self) -> bool:
        """True where it needs real dates: only a user's own order is real without them."""
        own = self.entity in ("user", "user_product") and isinstance(self.of, Total | Latest | Distinct)
        return not own or self.window is not None

    @property
    def version(self) -> str:
        """12 hex digits of the sha256 over what decides its values; its words for people do not."""
        content = {
            "rule": RULES[self.measures[0].stream],
            "name": self.name,
            "entity": self.entity,
            "kind": type(self.of).__name__,
            "of": asdict(self.of),
            "hop": self.window.hop if self.window else None,
            "values": [VALUES[measure.value].formula for measure in self.measures],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
