"""Numbers with units: what people write, what they do not mean, and one value for one length."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.understanding.units import CODES, SPELLINGS, quantities


def read(text: str) -> list[tuple[str, float, str]]:
    return [(text[one.start : one.end], round(one.value, 4), one.unit) for one in quantities(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("olive oil 0.5 l", [("0.5 l", 500.0, "ml")]),
        ("1,5 l", [("1,5 l", 1500.0, "ml")]),
        ("33 cl can", [("33 cl", 330.0, "ml")]),
        ("dog food 15 kg", [("15 kg", 15000.0, "g")]),
        ("1,000 g", [("1,000 g", 1000.0, "g")]),
        ("250g", [("250g", 250.0, "g")]),
        ("8-Ounce", [("8-Ounce", 226.7962, "g")]),
        ("16 Fl. Oz. shampoo", [("16 Fl. Oz.", 473.1765, "ml")]),
        ('12" tv', [('12"', 304.8, "mm")]),
        ("55'' tv", [("55''", 1397.0, "mm")]),
        ("24 in monitor", [("24 in", 609.6, "mm")]),
        ("1/2 inch", [("1/2 inch", 12.7, "mm")]),
        ("1-1/2 in. pipe", [("1-1/2 in.", 38.1, "mm")]),
        ("1 1/2 inch", [("1 1/2 inch", 38.1, "mm")]),
        ('1½"', [('1½"', 38.1, "mm")]),
        ("½ inch", [("½ inch", 12.7, "mm")]),
        ("6' ladder", [("6'", 1828.8, "mm")]),
        ("40 x 60 cm", [("40", 400.0, "mm"), ("60 cm", 600.0, "mm")]),
        ("120x170cm", [("120", 1200.0, "mm"), ("170cm", 1700.0, "mm")]),
        ("5 in. x 1/4 in. disc", [("5 in.", 127.0, "mm"), ("1/4 in.", 6.35, "mm")]),
        ("6 x 330 ml", [("6", 6.0, "count"), ("330 ml", 330.0, "ml")]),
        ("60 x", [("60 x", 60.0, "count")]),
        ("60x tablets", [("60x", 60.0, "count")]),
        ("3-pack", [("3-pack", 3.0, "count")]),
        ("batteries pack of 4", [("pack of 4", 4.0, "count")]),
        ("32-Watt bulb", [("32-Watt", 32.0, "W")]),
        ("ryobi 18v drill", [("18v", 18.0, "V")]),
        ("1 tb ssd", [("1 tb", 1000.0, "GB")]),
        ("3.2 GHz", [("3.2 GHz", 3.2e9, "Hz")]),
        ("100% cotton", [("100%", 100.0, "%")]),
        ("90° elbow", [("90°", 90.0, "°")]),
    ],
)
def test_formats(text: str, found: list[tuple[str, float, str]]) -> None:
    assert read(text) == found


@pytest.mark.parametrize(
    "text",
    ["", "sofa", "2 in 1 tool", "2-in-1", "MK850", "5g phone", "usb 2.0", "1080p", "4 x 4", "90's", "1/0 m", "t8", "²"],
)
def test_what_is_no_quantity(text: str) -> None:
    assert read(text) == []


@given(st.text(max_size=60))
def test_any_text_is_read_and_quantities_stand_in_it_in_order(text: str) -> None:
    found = quantities(text)
    assert all(0 <= one.start < one.end <= len(text) and one.value > 0 and one.unit in CODES for one in found)
    assert [one.start for one in found] == sorted(one.start for one in found)


@given(st.integers(1, 9999), st.sampled_from(sorted(name for name in SPELLINGS if name.isalpha() and len(name) > 2)))
def test_every_spelling_is_its_base_units(number: int, spelling: str) -> None:
    base, factor = SPELLINGS[spelling]
    (found,) = quantities(f"box {number} {spelling.upper()} blue")
    assert (found.unit, found.value) == (base, pytest.approx(number * factor))
