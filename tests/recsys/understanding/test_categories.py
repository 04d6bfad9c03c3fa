"""Chances along the tree: Bayes by hand, levels that agree, a defined answer where there is no tree."""

import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.catalogue import Catalogue
from recsys.text.words import words
from recsys.understanding.categories import SMOOTHING, CategoryClassifier, Tree, features
from recsys.understanding.learn_categories import lacking, learn_categories, pseudo_query
from recsys.understanding.reader import QueryReader

TINY = pl.DataFrame(
    {"title": ["red sofa", "red sofa bed", "red lamp"], "category": ["Home > Sofas", "Home > Sofas", "Lights"]}
)


def test_chances_are_those_of_bayes() -> None:
    learned = learn_categories(TINY)
    assert learned is not None
    # features: home, light, sofa, red, bed, lamp, "red sofa" (in both sofas; other pairs stand in one product alone)
    names, rows = ["home", "light", "sofa", "red", "bed", "lamp", "red sofa"], {
        "Home > Sofas": {"home": 1, "sofa": 3, "red": 2, "bed": 1, "red sofa": 2},
        "Lights": {"light": 1, "red": 1, "lamp": 1},
    }  # fmt: skip
    prior = {"Home > Sofas": 2.0, "Lights": 1.0}
    assert len(learned.keys) == len(names)
    worth = {}
    for path, counts in rows.items():
        total = sum(counts.values()) + SMOOTHING * len(names)
        chance = prior[path] * np.prod([(counts.get(one, 0) + SMOOTHING) / total for one in ("red", "lamp")])
        worth[path] = chance ** (1 / learned.temperatures[1])
    chances = learned.chances(["red", "lamp"])
    assert chances is not None
    found = dict(zip(learned.tree.paths, chances, strict=True))
    assert found["Lights"] == pytest.approx(worth["Lights"] / sum(worth.values()))
    assert found["Home"] == pytest.approx(found["Home > Sofas"]) == pytest.approx(1 - found["Lights"])


@given(st.lists(st.sampled_from(["sofa", "cover", "tea", "apple", "pan", "blue", "nothing"]), max_size=6))
def test_the_levels_of_the_tree_agree(reader: QueryReader, row: list[str]) -> None:
    classifier = reader.classifier
    assert classifier is not None
    chances = classifier.chances(row)
    if chances is None:
        assert not set(row) - {"nothing"}
        return
    tree = classifier.tree
    by_path = dict(zip(tree.paths, chances, strict=True))
    assert sum(chance for path, chance in by_path.items() if " > " not in path) == pytest.approx(1.0)
    for path in ("Home", "Kitchen"):
        below = sum(chance for node, chance in by_path.items() if node.startswith(path + " > "))
        assert by_path[path] == pytest.approx(below)


def test_queries_find_their_category(reader: QueryReader) -> None:
    for query, path in (("green tea", "Kitchen > Teas"), ("corner", "Home > Sofas"), ("cover", "Home > Sofa covers")):
        best = [share for share in reader.read(query).categories if share.path == path]
        assert best
        assert best[0].probability > 0.8


def test_nothing_known_is_no_guess(reader: QueryReader) -> None:
    assert reader.read("zebra").categories == reader.read("").categories == ()


def test_what_is_saved_is_what_is_read(shop: Catalogue, reader: QueryReader, tmp_path: object) -> None:
    from pathlib import Path

    learned = learn_categories(shop.frame)
    assert learned is not None
    learned.save(Path(str(tmp_path)))
    again = CategoryClassifier.open(Path(str(tmp_path)))
    for row in (["tea"], ["sofa", "blue"], ["pan", "cm", "steel"]):
        np.testing.assert_array_equal(learned.chances(row), again.chances(row))
        np.testing.assert_array_equal(learned.chances(row), reader.classifier and reader.classifier.chances(row))


@pytest.mark.parametrize(
    ("categories", "reason"),
    [
        (["A", None, None, None], "1 of 4 products have a category, fewer than half"),
        (["A", "A", "A", None], "all products stand in one category"),
        ([" > ", "", None, None], "0 of 4 products have a category, fewer than half"),
        (["A", "B", None, None], ""),
    ],
)
def test_a_shop_without_a_tree_says_why(categories: list[str | None], reason: str) -> None:
    frame = pl.DataFrame({"title": list("abcd"), "category": pl.Series(categories, dtype=pl.String)})
    assert lacking(frame) == reason
    assert (learn_categories(frame) is None) == bool(reason)


def test_a_product_at_an_inner_node_counts_there() -> None:
    tree = Tree.of(["A", "A > B", "A > B > C"])
    assert tree.spread(np.array([0.5, 0.3, 0.2])).tolist() == pytest.approx([1.0, 0.5, 0.2])


def test_features_and_pseudo_queries() -> None:
    assert features(["a", "b", "a", "b"]) == ["a", "b", "a b", "b a"]
    title = words("Corner sofa 3 m in blue velvet")
    for length in (1, 2, 9):
        asked = pseudo_query(title, draw=random.Random(length), length=length)
        assert len(asked) == min(length, 4)
        assert [title.index(word) for word in asked] == sorted(title.index(word) for word in asked)
    assert pseudo_query(["3", "m"], draw=random.Random(0), length=1)[0] in ("3", "m")
