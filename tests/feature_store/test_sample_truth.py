"""What the shop shows agrees with what only its generator knows."""

import numpy as np
import polars as pl
import pytest

from feature_store.sources.sample import truth, words
from feature_store.sources.sample.judgments import LEAST, SLIP_SHARE, judged, judgment_frame
from feature_store.sources.sample.products import product_frame
from feature_store.sources.sample.queries import Queries, make_queries
from feature_store.sources.sample.relevance import KIND_ROWS, LOOKALIKES, SIBLINGS, QueryCodes, grades
from feature_store.sources.sample.world import ProductCodes, World, all_codes, product_ids
from recsys.text.normalise import normalise

WORLD = World(products=3000, users=1, seed=11)
NOUNS = {kind.noun for kind in words.KINDS}


@pytest.fixture(scope="module")
def queries() -> Queries:
    return make_queries(WORLD)


@pytest.fixture(scope="module")
def codes() -> ProductCodes:
    return all_codes(WORLD)


def product(**known: int) -> ProductCodes:
    """One product: a Halden sofa in velvet, 2-seater, Midnight, of the usual price, unless told otherwise."""
    start = {"group": 0, "kind": KIND_ROWS["sofa"], "brand": 0, "style": 0, "material": 0, "size": 0, "colour": 0}
    values = start | {"tier": 1, "price": 0, "quality": 0, "launch": 0} | known
    return ProductCodes(**{name: np.array([value]) for name, value in values.items()})


def query(**known: int) -> QueryCodes:
    """One query for a sofa, with the wishes given."""
    start = {"kind": KIND_ROWS["sofa"], "family": -1, "material": -1, "brand": -1, "size": -1, "tier": -1}
    return QueryCodes(**{name: np.array([value]) for name, value in (start | known).items()})


BLUE, GREEN, RED = 0, 1, 2


@pytest.mark.parametrize(
    ("wishes", "known", "grade"),
    [
        ({}, {}, 3),
        ({"family": BLUE}, {"colour": 3}, 3),
        ({"family": BLUE}, {"colour": 4 * GREEN}, 2),
        ({"family": BLUE}, {"colour": 4 * RED}, 1),
        ({"family": BLUE, "material": 0}, {"colour": 4 * RED}, 2),
        ({"family": BLUE, "material": 1}, {"colour": 4 * RED}, 1),
        ({"brand": 0, "size": 0, "tier": 1}, {}, 3),
        ({"tier": 2}, {}, 1),
        ({}, {"kind": KIND_ROWS["armchair"]}, 1),
        ({"family": RED}, {"kind": KIND_ROWS["armchair"]}, 0),
        ({}, {"kind": KIND_ROWS["sofa cover"]}, 0),
        ({"family": BLUE}, {"kind": KIND_ROWS["mattress"], "colour": -1}, 0),
    ],
)
def test_grades_by_hand(wishes: dict[str, int], known: dict[str, int], grade: int) -> None:
    assert grades(query(**wishes), product(**known)).tolist() == [grade]


def test_every_kind_has_words_of_shoppers_that_no_title_uses() -> None:
    assert set(truth.SYNONYMS) == NOUNS
    for noun, others in truth.SYNONYMS.items():
        assert len(set(others)) == 3, noun
        assert not set(others) & NOUNS, noun


def test_truth_names_only_what_the_shop_sells() -> None:
    assert set(truth.FOLLOWS) <= NOUNS
    assert {other for others in truth.FOLLOWS.values() for other in others} <= NOUNS
    assert {noun for pair in truth.SIBLINGS for noun in pair} <= NOUNS
    assert set(truth.MATERIAL_WORDS) <= {name for names in words.MATERIALS.values() for name in names}
    assert {(kind.material in words.MATERIALS, kind.size in words.SIZES) for kind in words.KINDS} == {(True, True)}
    assert 4 * len(truth.COLOUR_FAMILIES) == len(words.COLOURS)
    assert 4 * len(words.STYLES) == len(words.BRANDS)
    assert {len(names) for names in (*words.MATERIALS.values(), *words.SIZES.values())} == {4}
    assert {len(liked) for liked in truth.SEGMENTS.values()} == {len(words.DEPARTMENTS)}
    assert len(truth.SEGMENT_SHARES) == len(truth.SEGMENTS)
    assert sum(truth.SEGMENT_SHARES) == pytest.approx(1.0)


def test_common_words_do_not_make_a_stand_in() -> None:
    assert LOOKALIKES[KIND_ROWS["sofa"], KIND_ROWS["sofa cover"]]
    assert not SIBLINGS[KIND_ROWS["sofa"], KIND_ROWS["sofa cover"]]
    assert (LOOKALIKES == LOOKALIKES.T).all()
    assert (SIBLINGS == SIBLINGS.T).all()


@pytest.mark.parametrize(
    ("slip", "typed"),
    [(0, "blue vlvet sofa"), (1, "blue veelvet sofa"), (2, "blue vlevet sofa"), (3, "blue vrlvet sofa")],
)
def test_one_slip_of_the_finger(slip: int, typed: str) -> None:
    assert truth.mistyped("blue velvet sofa", place=0, slip=slip) == typed


def test_short_words_are_typed_right() -> None:
    assert truth.mistyped("red rug", place=3, slip=0) == "red rug"


def test_queries_differ_after_normalising(queries: Queries) -> None:
    assert len({normalise(text) for text in queries.texts}) == len(queries.texts) == 750
    assert queries.judged == 250


def test_most_queries_do_not_use_the_shops_noun(queries: Queries) -> None:
    nouns = [words.KINDS[kind].noun for kind in queries.codes.kind.tolist()]
    own = np.mean([noun in text for noun, text in zip(nouns, queries.texts, strict=True)])
    # 30 % are typed with it, some of them with a slip
    assert 0.15 < own < 0.35


def test_titles_and_attributes_say_what_the_codes_say(codes: ProductCodes) -> None:
    frame = product_frame(WORLD, np.arange(200))
    for row, line in enumerate(frame.iter_rows(named=True)):
        kind = words.KINDS[int(codes.kind[row])]
        assert line["category"] == f"{kind.department} > {kind.leaf}"
        assert line["brand"] == words.BRANDS[int(codes.brand[row])]
        assert line["price"] == pytest.approx(float(codes.price[row]), abs=0.005)
        attributes = pl.Series([line["attributes"]]).str.json_decode(
            pl.Struct(dict.fromkeys(("colour", "material", "size", "style"), pl.String))
        )[0]
        assert attributes["material"] == words.MATERIALS[kind.material][int(codes.material[row])]
        assert attributes["size"] == words.SIZES[kind.size][int(codes.size[row])]
        assert attributes["size"] in line["title"]
        expected = words.COLOURS[int(codes.colour[row])] if kind.coloured else None
        assert attributes["colour"] == expected
        assert "{" not in line["title"] + line["description"]


def test_variants_share_their_model_and_differ_in_colour_or_size(codes: ProductCodes) -> None:
    frame = product_frame(WORLD, np.arange(3000))
    variants = frame.group_by("group_id").agg(
        pl.len(), *(pl.col(name).n_unique() for name in ("brand", "category", "attributes", "title"))
    )
    assert set(variants["len"]) == {1, 2, 3, 4}
    assert variants.filter((pl.col("brand") != 1) | (pl.col("category") != 1)).is_empty()
    assert variants.filter((pl.col("attributes") != pl.col("len")) | (pl.col("title") != pl.col("len"))).is_empty()


def test_ids_are_unique_and_do_not_follow_the_rows() -> None:
    for count in (48, 3000, 1_000_000):
        ids = product_ids(World(products=count, users=1, seed=3), np.arange(min(count, 70_000)))
        assert len(set(ids)) == len(ids)
        assert ids != sorted(ids)


def test_judgments_are_the_truth_but_for_the_raters_slips(queries: Queries, codes: ProductCodes) -> None:
    frame = judgment_frame(WORLD, queries, codes)
    parts = [judged(WORLD, queries, codes, query=number) for number in range(queries.judged)]
    truths = np.concatenate([part[1] for part in parts])
    written = frame["grade"].to_numpy().astype(np.int64)
    assert np.abs(written - truths).max() == 1
    # half of the slips at 0 and at 3 fall outside the scale and stay
    assert 0.3 * SLIP_SHARE < (written != truths).mean() < SLIP_SHARE


def test_every_judged_query_has_enough_judgments_of_several_grades(queries: Queries, codes: ProductCodes) -> None:
    frame = judgment_frame(WORLD, queries, codes)
    assert frame.select(pl.struct("query_id", "product_id").is_unique().all()).item()
    by_query = frame.group_by("query_id").agg(pl.len(), pl.col("grade").n_unique(), best=pl.col("grade").max())
    assert by_query.height == queries.judged
    assert by_query["len"].min() >= LEAST
    assert by_query["grade"].min() >= 2
    assert (by_query["best"] >= 2).mean() > 0.95


def test_a_large_shop_is_judged_from_a_sample() -> None:
    world = World(products=200_000, users=1, seed=1)
    rows, found = judged(world, make_queries(world), all_codes(world), query=3)
    assert len(set(rows.tolist())) == len(rows) >= LEAST
    assert rows.max() > 10_000
    assert (found >= 2).any()
