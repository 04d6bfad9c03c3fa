"""Texts written anew: what changes, what stays, and how often."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import Generator, default_rng

from training.augment import NEIGHBOURS, WORD, drop_parts, drop_words, misspell, replace_synonyms, slip

PARTS = (
    ("title", "Blue sofa"),
    ("brand", "Nord"),
    ("attributes", "colour: blue, width: 80, foldable"),
    ("description", "For every room"),
)
texts = st.text(alphabet="abCé 12-_.,/ß", max_size=30)
shares = st.floats(0, 1)


def rng(seed: int = 0) -> Generator:
    return default_rng(seed)


@given(text=texts)
def test_a_share_of_0_gives_the_text_back_and_draws_nothing(text: str) -> None:
    random = rng()
    assert misspell(text, share=0, random=random) == text
    assert drop_words(text, share=0, random=random) == text
    assert replace_synonyms(text, synonyms={"ab": ("c",)}, share=0, random=random) == text
    assert drop_parts(PARTS, share=0, attribute_share=0, random=random) == PARTS
    assert random.random() == rng().random()


@given(text=texts, share=shares, seed=st.integers(0, 99))
def test_the_same_draws_give_the_same_text(text: str, share: float, seed: int) -> None:
    synonyms = {"ab": ("x y", "z"), "a b": ("q",)}
    first, second = (
        (
            misspell(text, share=share, random=random),
            drop_words(text, share=share, random=random),
            replace_synonyms(text, synonyms=synonyms, share=share, random=random),
        )
        for random in (rng(seed), rng(seed))
    )
    assert first == second


@given(text=texts, share=shares, seed=st.integers(0, 99))
def test_word_dropout_keeps_some_of_the_words_in_their_order(text: str, share: float, seed: int) -> None:
    before, after = WORD.findall(text), WORD.findall(drop_words(text, share=share, random=rng(seed)))
    assert bool(after) == bool(before)
    order = iter(before)
    assert all(word in order for word in after)


def test_keys_and_their_neighbours_by_hand() -> None:
    assert set(NEIGHBOURS["g"]) == set("fhtyvb")
    assert set(NEIGHBOURS["q"]) == set("wa")
    assert set(NEIGHBOURS["p"]) == set("ol")
    assert set(NEIGHBOURS["z"]) == set("asx")
    assert all(key in NEIGHBOURS[other] for key, near in NEIGHBOURS.items() for other in near)


def kind(word: str, other: str) -> str:
    """Which of the four slips it is."""
    if len(other) == len(word) - 1:
        return "dropped"
    if len(other) == len(word) + 1:
        return "doubled"
    differ = [place for place in range(len(word)) if word[place] != other[place]]
    if len(differ) == 1:
        assert other[differ[0]] in NEIGHBOURS[word[differ[0]]]
        return "neighbour"
    assert len(differ) == 2
    assert (word[differ[0]], word[differ[1]]) == (other[differ[1]], other[differ[0]])
    return "swapped"


def test_all_four_slips_happen_and_are_single() -> None:
    random = rng()
    slips = [slip("velocity", random=random) for _ in range(400)]
    assert all(other != "velocity" and other[0] == "v" for other in slips)
    counts = Counter(kind("velocity", other) for other in slips)
    assert set(counts) == {"dropped", "doubled", "neighbour", "swapped"}
    assert min(counts.values()) > 60


def test_short_words_and_model_names_are_not_misspelt() -> None:
    text = "the lg 55uf850 tv and 100cm x200, KVM"
    assert misspell(text, share=1, random=rng()) == text
    assert misspell("Velvet sofa!", share=1, random=rng()) != "Velvet sofa!"
    assert misspell("größer", share=1, random=rng(3))[0] == "g"


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_share_is_what_is_touched(share: float) -> None:
    text, random = " ".join(["cushion"] * 4000), rng()
    kept = drop_words(text, share=share, random=random).split()
    assert len(kept) / 4000 == pytest.approx(1 - share, abs=0.03)
    typed = misspell(text, share=share, random=random).split()
    assert np.mean([word != "cushion" for word in typed]) == pytest.approx(share, abs=0.03)
    other = replace_synonyms(text, synonyms={"cushion": ("pillow",)}, share=share, random=random).split()
    assert np.mean([word == "pillow" for word in other]) == pytest.approx(share, abs=0.03)


def test_synonyms_take_the_longest_phrase_and_leave_the_rest() -> None:
    synonyms = {"hot plate": ("cooktop",), "plate": ("dish",), "sofa": ("couch", "settee")}
    text = "Hot-plate, plate & SOFAS (sofa)"
    assert replace_synonyms(text, synonyms=synonyms, share=1, random=rng(1)) in (
        "Cooktop, dish & SOFAS (couch)",
        "Cooktop, dish & SOFAS (settee)",
    )
    drawn = {replace_synonyms("a sofa", synonyms=synonyms, share=1, random=rng(seed)) for seed in range(20)}
    assert drawn == {"a couch", "a settee"}
    assert replace_synonyms("hot", synonyms=synonyms, share=1, random=rng()) == "hot"


def test_fields_and_attributes_are_left_out_but_never_the_title() -> None:
    assert drop_parts(PARTS, share=1, attribute_share=0, random=rng()) == [PARTS[0]]
    without = drop_parts(PARTS, share=0, attribute_share=1, random=rng())
    assert without == [PARTS[0], PARTS[1], PARTS[3]]
    drawn = [drop_parts(PARTS, share=0, attribute_share=0.5, random=rng(seed)) for seed in range(300)]
    words = [dict(parts).get("attributes", "") for parts in drawn]
    for attribute in ("colour: blue", "width: 80", "foldable"):
        assert np.mean([attribute in one.split(", ") for one in words]) == pytest.approx(0.5, abs=0.1)
    fields = [[name for name, _ in drop_parts(PARTS, share=0.3, attribute_share=0, random=rng(s))] for s in range(300)]
    assert np.mean(["brand" in names for names in fields]) == pytest.approx(0.7, abs=0.1)
