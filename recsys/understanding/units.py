"""Numbers with units, read out of free text: 0.5 l, 12", 1-1/2 in., 40 x 40 cm, 6 x 330 ml, 3-pack, pack of 3.

A number without a unit is no quantity, nor is one inside a model code (MK850, 5G).
"""

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from recsys.meaning import Quantity

# by base unit, every spelling and how many base units it is
# Source: NIST Special Publication 811 (2008), appendix B.8; ounces, gallons and quarts are the US customary ones.
UNITS: dict[str, dict[str, float]] = {
    "mm": {
        **dict.fromkeys(("mm", "millimetre", "millimetres", "millimeter", "millimeters"), 1.0),
        **dict.fromkeys(("cm", "centimetre", "centimetres", "centimeter", "centimeters"), 10.0),
        **dict.fromkeys(("m", "metre", "metres", "meter", "meters", "mtr"), 1000.0),
        **dict.fromkeys(("km", "kilometre", "kilometres", "kilometer", "kilometers"), 1e6),
        **dict.fromkeys(("in", "inch", "inches", '"', "''", "″", "”"), 25.4),
        **dict.fromkeys(("ft", "foot", "feet", "'", "′", "’"), 304.8),
        **dict.fromkeys(("yd", "yard", "yards"), 914.4),
    },
    "g": {
        **dict.fromkeys(("mg", "milligram", "milligrams"), 1e-3),
        **dict.fromkeys(("g", "gr", "gm", "gram", "grams", "gramme", "grammes"), 1.0),
        **dict.fromkeys(("kg", "kgs", "kilo", "kilos", "kilogram", "kilograms"), 1000.0),
        **dict.fromkeys(("lb", "lbs", "pound", "pounds"), 453.59237),
        **dict.fromkeys(("oz", "ounce", "ounces"), 28.349523125),
    },
    "ml": {
        **dict.fromkeys(("ml", "millilitre", "millilitres", "milliliter", "milliliters"), 1.0),
        **dict.fromkeys(("cl", "centilitre", "centilitres"), 10.0),
        **dict.fromkeys(("l", "lt", "ltr", "litre", "litres", "liter", "liters"), 1000.0),
        **dict.fromkeys(("fl oz", "fl. oz", "fluid ounce", "fluid ounces"), 29.5735295625),
        **dict.fromkeys(("gal", "gallon", "gallons"), 3785.411784),
        **dict.fromkeys(("qt", "quart", "quarts"), 946.352946),
    },
    "count": dict.fromkeys(
        ("pack", "packs", "pk", "pks", "pc", "pcs", "pce", "pces", "piece", "pieces", "count", "ct"), 1.0
    ),
    "W": {**dict.fromkeys(("w", "watt", "watts"), 1.0), **dict.fromkeys(("kw", "kilowatt", "kilowatts"), 1000.0)},
    "V": {**dict.fromkeys(("v", "volt", "volts"), 1.0), "kv": 1000.0},
    "A": {**dict.fromkeys(("amp", "amps", "ampere", "amperes"), 1.0), "ma": 1e-3},
    "mAh": {"mah": 1.0, "ah": 1000.0},
    "GB": {**dict.fromkeys(("gb", "gigabyte", "gigabytes"), 1.0), "mb": 1e-3, "tb": 1000.0, "terabyte": 1000.0},
    "Hz": {"hz": 1.0, "khz": 1e3, "mhz": 1e6, "ghz": 1e9},
    "lm": dict.fromkeys(("lm", "lumen", "lumens"), 1.0),
    "MP": dict.fromkeys(("mp", "megapixel", "megapixels"), 1.0),
    "dpi": {"dpi": 1.0},
    "rpm": {"rpm": 1.0},
    "psi": {"psi": 1.0},
    "BTU": {"btu": 1.0},
    "°": dict.fromkeys(("°", "degree", "degrees"), 1.0),
    "%": dict.fromkeys(("%", "percent"), 1.0),
}
SPELLINGS = {spelling: (base, factor) for base, found in UNITS.items() for spelling, factor in found.items()}
CODES = {base: number for number, base in enumerate(UNITS)}
"""The units' numbers in arrays."""

VULGAR = "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
NUMBER = (
    rf"(?:\d+[ -]\d+/\d+|\d+/\d+|\d*[ ]?[{VULGAR}]|\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?(?![\d,])|\d+(?:[.,]\d+)?|\.\d+)"
)
WORDS = "|".join(re.escape(one) for one in sorted(SPELLINGS, key=len, reverse=True) if one[0].isalpha() and one != "in")
MEASURE = re.compile(
    rf"""(?:(?<![^\W_])(?<![^\W_][-./,])|(?<=\d[xX]))(?P<number>{NUMBER})
    (?:[ ]?-?[ ]?(?:
        (?P<word>in(?=\.)|in(?![^\W_])(?![ -]*(?:\d|one\b))|(?:{WORDS})(?![^\W_]))\.?
      | (?P<mark>''|["″”°%]|['′’](?![^\W\d_]))
    ))?""",
    re.VERBOSE | re.IGNORECASE,
)
PACK = re.compile(r"\b(?:pack|set|box|case|bundle)s?[ ]of[ ](?P<number>\d+)\b", re.IGNORECASE)
TIMES = re.compile(r"\s*(?:[x×*]|by)\s*", re.IGNORECASE)
TIMES_ALONE = re.compile(r"\s?[x×](?![^\W_])(?!\s*\d)", re.IGNORECASE)
GENERATION = re.compile(r"[2-6]g", re.IGNORECASE)  # 5G is a network; five grams are written with a space
LARGEST = 1e15
TOLERANCE = 0.02
"""Two quantities within 2 % are the same: 8 oz is sold as 227 g and as 230 g."""


class Measure(NamedTuple):
    """A number and its unit; base is "" where no unit stands beside it."""

    start: int
    end: int
    number: float
    base: str
    factor: float


def quantities(text: str) -> tuple[Quantity, ...]:
    """The quantities of a text, in its order.

    In `40 x 60 cm` both numbers are lengths; in `6 x 330 ml` the first counts.
    """
    found = [*chained(text, list(measures(text))), *packs(text)]
    kept = {(one.start, one.end): one for one in found if 0 < one.value < LARGEST}
    return tuple(sorted(kept.values(), key=lambda one: (one.start, one.end)))


def measures(text: str) -> Iterator[Measure]:
    """Every number that may be part of a quantity."""
    for match in MEASURE.finditer(text):
        value = number(match["number"])
        spelling = (match["word"] or match["mark"] or "").lower()
        if value is None or GENERATION.fullmatch(match.group()):
            continue
        base, factor = SPELLINGS.get(spelling, ("", 1.0))
        end = match.end() if base else match.end("number")
        yield Measure(match.start(), end, value, base, factor)


def chained(text: str, found: list[Measure]) -> Iterator[Quantity]:
    """The measures with a unit of their own, and those that take it from the one they are multiplied with."""
    following = [bool(TIMES.fullmatch(text, one.end, other.start)) for one, other in pairwise(found)]
    known: Measure | None = None
    for place in range(len(found) - 1, -1, -1):
        one = found[place]
        linked = place < len(following) and following[place]
        if one.base:
            known = one
        elif not linked:
            known = None
            if alone := TIMES_ALONE.match(text, one.end):
                yield Quantity(one.start, alone.end(), one.number, "count")
            continue
        if known is None:
            continue
        if one.base or known.base == "mm":
            yield Quantity(one.start, one.end, one.number * known.factor, known.base)
        elif one.number.is_integer():
            yield Quantity(one.start, one.end, one.number, "count")


def packs(text: str) -> Iterator[Quantity]:
    """`pack of 3`."""
    for match in PACK.finditer(text):
        yield Quantity(match.start(), match.end(), float(match["number"]), "count")


def number(text: str) -> float | None:
    """The value of `1,000`, `1,5`, `1/2`, `1-1/2` or `1½`; None for a division by zero."""
    if text[-1] in VULGAR:
        return float(text[:-1].strip() or 0) + unicodedata.numeric(text[-1])
    if "/" in text:
        whole, _, part = text.replace("-", " ").rpartition(" ")
        over, _, under = part.partition("/")
        return float(whole or 0) + float(over) / float(under) if float(under) else None
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", text):
        return float(text.replace(",", ""))
    return float(text.replace(",", "."))
