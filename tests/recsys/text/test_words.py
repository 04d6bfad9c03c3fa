"""Words for exact counting."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.text.words import singular, words


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("sofas", "sofa"),
        ("batteries", "battery"),
        ("dishes", "dishe"),  # the S stemmer cuts the s alone; the query's word is cut the same way
        ("glass", "glass"),
        ("bus", "bus"),
        ("shoes", "shoe"),
        ("trees", "tree"),
        ("sofa", "sofa"),
        ("tv", "tv"),
        ("s", "s"),
        ("ies", "ie"),
    ],
)
def test_plural_endings(word: str, expected: str) -> None:
    assert singular(word) == expected


def test_words_of_a_title() -> None:
    assert words('Acme_X TVs, 55" (2024): wi-fi & ＵＳＢ') == ["acme", "x", "tv", "55", "2024", "wi", "fi", "usb"]
    assert words("") == words("☃ !?") == []


@given(st.text())
def test_words_hold_letters_and_digits_only(text: str) -> None:
    assert all(word.isalnum() or not word.isascii() for word in words(text))
