"""Slips are mended by the catalogue's words; what it knows, what carries digits and what operators hold is left."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.catalogue import Catalogue
from recsys.understanding.reader import QueryReader
from recsys.understanding.slips import slip_cost
from recsys.understanding.spelling import count_words

WORDS = ("halden", "corner", "velvet", "linen", "frying", "steel", "forest", "white", "cover")


@pytest.mark.parametrize(
    ("typed", "meant", "cost"),
    [
        ("sofa", "sofa", 0.0),
        ("sogfa", "sofa", 0.9),  # a letter too many
        ("soffa", "sofa", 0.5),  # doubled
        ("sfoa", "sofa", 0.5),  # swapped
        ("soga", "sofa", 0.5),  # g lies beside f
        ("soqa", "sofa", 1.5),  # q does not
        ("sfa", "sofa", 0.8),  # left out
        ("matress", "mattress", 0.5),  # halved
        ("aofa", "sofa", 1.5),  # beside, but the first letter
    ],
)
def test_slips_cost_what_they_are(typed: str, meant: str, cost: float) -> None:
    assert slip_cost(typed, meant) == pytest.approx(cost)


letters = st.text("asdfsofa", max_size=7)


@given(letters, letters)
def test_a_cost_is_zero_for_equal_words_alone(one: str, other: str) -> None:
    assert (slip_cost(one, other) == 0.0) == (one == other)


def corrected(reader: QueryReader, query: str) -> str:
    return reader.read(query).text


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("velvte sofa", "velvet sofa"),
        ("blue VELLVET, sofa", "blue velvet, sofa"),
        ("frying pan stel", "frying pan stel"),  # "steel" is near, but four letters are few
        ("sofacover", "sofa cover"),  # the titles write it apart
        ("hal den sofa", "halden sofa"),  # the catalogue writes it together
    ],
)
def test_corrections(reader: QueryReader, typed: str, meant: str) -> None:
    assert corrected(reader, typed) == meant


@pytest.mark.parametrize(
    "query",
    [
        "velvet sofa covers",  # an ending that BM25 cuts off
        '"velvte" sofa',
        "+velvte sofa",
        "sofa -velvte",
        "sofa NOT velvte",
        "-(velvte linnen) sofa",
        "title:velvte",
        "velv3t sofa",
        "couch",  # English has it, the shop does not
        "samsung",
        "",
        "...",
    ],
)
def test_what_is_left_as_it_was_typed(reader: QueryReader, query: str) -> None:
    read = reader.read(query)
    assert (read.text, read.corrected, read.confidence) == (query, None, 1.0)


def test_a_doubtful_correction_stands_beside_what_was_typed(reader: QueryReader) -> None:
    read = reader.read("frying pan stel")
    (one,) = read.corrections
    assert (one.typed, one.corrected, one.replaced) == ("stel", "steel", False)
    assert read.alternatives == (("steel", one.confidence),)
    assert read.suggestion == "frying pan steel"


def test_correction_can_be_switched_off(reader: QueryReader) -> None:
    read = reader.read("velvte sofa", correct=False)
    assert (read.text, read.corrections) == ("velvte sofa", ())


def test_a_text_in_another_language_costs_little_and_keeps_its_words(reader: QueryReader) -> None:
    query = " ".join(f"qxz{'abcdefghij'[number % 10] * 3}w" for number in range(400))
    assert reader.read(query).text == query


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4))
def test_known_words_are_never_touched(reader: QueryReader, row: list[str]) -> None:
    query = " ".join(row)
    assert reader.read(query).corrections == ()


def test_most_slips_are_mended(reader: QueryReader) -> None:
    draw = random.Random(0)
    mended = 0
    for _ in range(100):
        word = draw.choice([one for one in WORDS if len(one) > 5])
        place = draw.randrange(1, len(word) - 1)
        typed = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
        mended += corrected(reader, f"{typed} sofa") == f"{word} sofa"
    assert mended >= 95


def test_words_are_counted_by_the_weight_of_their_field(shop: Catalogue) -> None:
    words, pairs = count_words(shop)
    counts = dict(zip(words["word"], words["count"], strict=True))
    assert counts["velvet"] == 48  # attributes of 48 products, weight 1
    assert counts["tea"] == 80  # titles of 40 products, weight 2
    assert counts["teas"] == 40
    assert dict(pairs.iter_rows())["sofa cover"] == 40
