"""The shapes in which events may come, by the names that commands and routes use."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

from feature_store.event_log.shapes.personalize import from_personalize
from feature_store.event_log.shapes.retail import from_retail
from feature_store.event_log.shapes.ubi import from_ubi

Shape = Literal["shop", "ubi", "personalize", "retail"]


def as_it_is(row: Any) -> Iterable[Any]:
    """Our own shape: a row of the events table."""
    return (row,)


TRANSLATORS: dict[str, Callable[[Any], Iterable[Any]]] = {
    "shop": as_it_is,
    "ubi": from_ubi,
    "personalize": from_personalize,
    "retail": from_retail,
}


def translator(shape: str) -> Callable[[Any], Iterable[Any]]:
    """What turns a row of a shape into rows of the events table; it raises ValueError where a row can't be read."""
    return TRANSLATORS[shape]
