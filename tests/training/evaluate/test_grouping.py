"""Slices by hand: head and tail, length, category, typos; users by history."""

import numpy as np
import polars as pl
import pytest

from feature_store.snapshot import Snapshot, build_snapshot
from recsys.catalogue import Catalogue
from tests.shops import START, small_tables, write_shop
from training.evaluate.grouping import (
    by_category,
    by_frequency,
    count_searches,
    known_queries,
    slice_queries,
    slice_users,
)
from training.evaluate.queries import JudgedQuery, read_queries
from training.evaluate.slices import by_size, slice_rows

CATEGORIES = ["Home > Sofas", "Home > Lamps", "Garden", None, " > odd", "Garden > Chairs"]


def catalogue() -> Catalogue:
    rows = {"position": range(6), "product_id": list("abcdef"), "title": ["red sofa"] * 6, "category": CATEGORIES}
    return Catalogue(pl.DataFrame(rows, schema_overrides={"position": pl.Int64}))


def query(text: str, grades: dict[int, float]) -> JudgedQuery:
    return JudgedQuery(text, text, np.array(list(grades)), np.array(list(grades.values()), dtype=float))


def test_the_head_brings_half_of_the_searches() -> None:
    queries = [query(name, {0: 2.0}) for name in "abcde"]
    found = by_frequency(queries, searched=np.array([1, 5, 3, 2, 0]), relevant=2.0)
    assert found.labels == ["tail", "head", "head", "tail", "tail"]
    assert "searches" in found.rule
    tied = by_frequency(queries, searched=np.array([4, 4, 4, 4, 0]), relevant=2.0)
    assert tied.labels == ["head"] * 4 + ["tail"], "as frequent as the last of the head"


def test_without_searches_relevant_products_stand_for_them() -> None:
    queries = [query("many", {0: 2.0, 1: 3.0, 2: 2.0}), query("one", {0: 2.0, 1: 1.0}), query("none", {0: 0.0})]
    found = by_frequency(queries, searched=np.zeros(3, dtype=np.int64), relevant=2.0)
    assert found.labels == ["head", "tail", "tail"]
    assert "no searches here" in found.rule
    assert by_frequency([], searched=np.zeros(0, dtype=np.int64), relevant=2.0).labels == []


def test_the_category_is_the_top_that_most_relevant_products_share() -> None:
    queries = [
        query("two to one", {0: 2.0, 1: 3.0, 2: 2.0}),
        query("only one is relevant", {0: 1.0, 1: 1.0, 2: 2.0}),
        query("a tie goes by name", {0: 2.0, 5: 2.0}),
        query("nothing is relevant, some is positive", {0: 0.0, 2: 1.0}),
        query("without a category", {3: 2.0, 4: 2.0}),
        query("nothing positive", {0: 0.0}),
    ]
    found = by_category(queries, catalogue=catalogue(), relevant=2.0)
    assert found.labels == ["Home", "Garden", "Garden", "Garden", "none", "none"]
    assert found.order == ["Garden", "Home", "none"]


def test_a_shop_without_categories_has_one_slice() -> None:
    bare = Catalogue(catalogue().frame.drop("category"))
    assert by_category([query("q", {0: 2.0})], catalogue=bare, relevant=2.0).labels == ["none"]


def test_every_slicing_labels_every_query() -> None:
    queries = [query("sofa", {0: 2.0}), query("a red soffa for my home now", {0: 2.0}), query("!", {1: 2.0})]
    found = slice_queries(queries, searched=np.array([1, 0, 0]), typed=(), catalogue=catalogue(), relevant=2.0)
    labels = {slicing.name: slicing.labels for slicing in found}
    assert labels["query length"] == ["1 word", "5 words or more", "no word"]
    assert labels["typos"] == ["without", "with a typo", "without"]
    assert all(set(slicing.labels) <= set(slicing.order) for slicing in found)


def test_ranges_of_a_count() -> None:
    labels, order = by_size([0, 1, 2, 3, 4, 99], ends=(1, 3), unit="product")
    assert order == ["no product", "1 product", "2 to 3 products", "4 products or more"]
    assert labels == [order[place] for place in (0, 1, 2, 2, 3, 3)]


def test_users_by_history_and_segment() -> None:
    history, segment = slice_users([0, 3, 50], ["b", "", "a"])
    assert history.labels == ["no product", "2 to 4 products", "20 products or more"]
    assert (segment.labels, segment.order) == (["b", "none", "a"], ["a", "b", "none"])
    assert [slicing.name for slicing in slice_users([1], [""])] == ["history"]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """The small shop with searches: by id, by text in another case, of a query that nobody judged."""
    tables = small_tables()
    typed = [("q00", None), ("q00", "anything"), (None, " Blue  SOFA "), ("x1", "red sofa"), (None, "garden gnome")]
    searches = [
        {"user_id": "u00", "timestamp": START, "event_type": "search", "query_id": name, "query": text}
        for name, text in typed
    ]
    tables["events"] = pl.concat([tables["events"], pl.DataFrame(searches)], how="diagonal_relaxed")
    place = tmp_path_factory.mktemp("searched")
    return build_snapshot(write_shop(place / "shop", tables), out=place / "snapshot")


def test_searches_are_counted_by_id_or_by_words(snapshot: Snapshot) -> None:
    queries = read_queries(snapshot, split="all")
    counts = dict(zip([query.query_id for query in queries], count_searches(queries, snapshot).tolist(), strict=True))
    assert (counts["q00"], counts["q01"], sum(counts.values())) == (3, 1, 4)
    assert "garden gnome" in known_queries(snapshot)


def test_a_slice_with_nobody_who_counts_is_left_out() -> None:
    slicing = slice_users([1, 3, 3], ["", "", ""])[0]
    own = {"ndcg@10": np.array([np.nan, 0.5, 1.0]), "recall@10": np.array([np.nan, 1.0, 1.0])}
    (row,) = slice_rows(slicing, own, {"ndcg@10": np.array([0.1, 0.5, 0.5])}, metric="ndcg@10", seed=0)
    assert (row["slice"], row["n"], row["mean"], row["baseline"], row["gain"]) == (
        "2 to 4 products",
        2,
        0.75,
        0.5,
        0.25,
    )
    assert (row["low"], row["high"], row["gain_low"], row["gain_high"]) == (0.5, 1.0, 0.0, 0.5)
    assert row["metrics"] == {"ndcg@10": 0.75, "recall@10": 1.0}
