"""The page of the features for people, out of the same definitions."""

from collections.abc import Iterable
from html import escape

from feature_store.point_in_time.definitions import (
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
from feature_store.point_in_time.values import VALUES

HEAD = """# Features

Each value is as of its row's instant t: an event counts when it happened before t and was known by t (`known_at`, else
its own time). Windows begin at a whole hop (5 minutes; an hour from 12 hours on; a day from a week on), so that they
are up to one hop longer than their name says. A row without the key has null; a key of which nothing is known has 0
for counts and sums, and null for ages, latest values and changes. All are Float32.

| feature | of | says | computed as | version |
|---|---|---|---|---|
"""


def page(features: Iterable[Feature]) -> str:
    """Markdown: one row for each feature, with its formula and version."""
    lines = (
        f"| `{one.name}` | {', '.join(one.keys)} | {cell(one.about)} | {formula(one)} | `{one.version}` |"
        for one in features
    )
    return HEAD + "\n".join(lines) + "\n"


def cell(words: str) -> str:
    """Words as they stand in a cell of a Markdown table: no tag, and no end of the cell."""
    return escape(words, quote=False).replace("\\", "\\\\").replace("|", "\\|")


def formula(feature: Feature) -> str:
    """How a feature is computed, in words."""
    match feature.of:
        case Total(measure, window):
            return f"sum of {told(measure)}{over(window)}"
        case Distinct(measure, window):
            return f"number of different {measure.value}s in {told(measure, value=False)}{over(window)}"
        case Age(measure, end):
            return f"days since the {end} of {told(measure)}"
        case Latest(measure):
            return newest(measure)
        case Change(measure, window):
            return f"{newest(measure)} now / {window} before, as was known then, - 1"
        case Rate(top, bottom, window, strength):
            prior = f", each with {strength:g} more at the shop's rate of the last midnight" if strength else ""
            return f"({told(top)}) / ({told(bottom)}){over(window)}{prior}"


def newest(measure: Measure) -> str:
    """The latest value of a measure in words."""
    return f"{VALUES[measure.value].formula} of the last of {told(measure, value=False)}"


def told(measure: Measure, *, value: bool = True) -> str:
    """A measure in words."""
    what = f"{measure.stream}{' of type ' + ', '.join(measure.kinds) if measure.kinds else ''}"
    return f"{VALUES[measure.value].formula} over {what}" if value and measure.value != "one" else what


def over(window: Window | None) -> str:
    """A window in words."""
    return f", {window}" if window else ", all that is known"
