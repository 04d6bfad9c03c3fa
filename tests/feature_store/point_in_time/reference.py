"""Every aggregate by a plain loop over a list of records: slow, and obviously what the definitions say."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from feature_store.point_in_time.definitions import (
    DAY,
    Age,
    Change,
    Distinct,
    Feature,
    Latest,
    Measure,
    Rate,
    Total,
    Window,
)


@dataclass(frozen=True)
class Happened:
    """One event; times in microseconds."""

    user: str | None
    product: str
    query: str | None
    kind: str
    time: int
    known: int | None
    price: float | None = None
    quantity: float | None = None
    position: int | None = None
    propensity: float | None = None
    session: str | None = None


@dataclass(frozen=True)
class Stated:
    """What a product costs and whether there is any, or the grade of a judgment, and since when; times likewise."""

    product: str
    time: int
    known: int | None
    query: str | None = None
    price: float | None = None
    stock: bool | None = None
    grade: float | None = None
    kind: str = ""


Record = TypeVar("Record", Happened, Stated)


def known_at(event: Happened | Stated, at: int) -> bool:
    return event.time < at and (event.known is None or event.known <= at)


def within(event: Happened | Stated, at: int, window: Window | None) -> bool:
    if window is None:
        return True
    begin = at - window.length
    return event.time >= begin - begin % window.hop


def worth(event: Happened | Stated, value: str) -> float | str | None:
    if isinstance(event, Stated):
        told = {"one": 1.0, "price": event.price, "stock": event.stock, "grade": event.grade, "product": event.product}
        return told[value]
    looked = event.propensity or (1 / math.log2(max(event.position, 1) + 1) if event.position is not None else 1.0)
    quantity = 1.0 if event.quantity is None else event.quantity
    return {
        "one": 1.0,
        "quantity": quantity,
        "spent": None if event.price is None else event.price * quantity,
        "priced units": None if event.price is None else quantity,
        "price": event.price,
        "looked": looked,
        "click / looked": 1 / max(looked, 0.05),
        "user": event.user,
        "product": event.product,
    }[value]


def chosen(events: Iterable[Record], measure: Measure) -> list[Record]:
    return [
        event
        for event in events
        if (not measure.kinds or event.kind in measure.kinds) and worth(event, measure.value) is not None
    ]


def summed(events: Iterable[Record], measure: Measure, at: int, window: Window | None) -> float:
    counts = [one for one in chosen(events, measure) if known_at(one, at) and within(one, at, window)]
    return sum(float(worth(one, measure.value)) for one in counts)  # type: ignore[arg-type]


def last(events: Iterable[Record], measure: Measure, at: int) -> float | None:
    counts = [one for one in chosen(events, measure) if known_at(one, at)]
    if not counts:
        return None
    return max((one.time, float(worth(one, measure.value))) for one in counts)[1]  # type: ignore[arg-type]


def value(feature: Feature, own: Sequence[Record], every: Sequence[Record], at: int) -> float | None:
    """One feature of one row.

    Args:
        feature: the definition.
        own: the events of the row's key.
        every: the whole shop's.
        at: the row's instant, microseconds.
    """
    match feature.of:
        case Total(measure, window):
            return summed(own, measure, at, window)
        case Distinct(measure, window):
            counts = [one for one in chosen(own, measure) if known_at(one, at) and within(one, at, window)]
            return float(len({worth(one, measure.value) for one in counts}))
        case Age(measure, end):
            times = [one.time for one in chosen(own, measure) if known_at(one, at)]
            return (at - (max if end == "last" else min)(times)) / DAY if times else None
        case Latest(measure):
            return last(own, measure, at)
        case Change(measure, window):
            now, then = last(own, measure, at), last(own, measure, at - window.length)
            return None if now is None or not then else now / then - 1
        case Rate(top, bottom, window, strength):
            midnight = at // DAY * DAY
            before = [one for one in every if max(one.time + 1, one.known or 0) < midnight]
            tops, bottoms = (summed(before, one, midnight, None) for one in (top, bottom))
            prior = tops / bottoms if bottoms else 0.0
            below = summed(own, bottom, at, window) + strength
            return (summed(own, top, at, window) + strength * prior) / below if below else None
