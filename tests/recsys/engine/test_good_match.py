"""Probabilities, the cut-off, what else could be asked, and the words behind a score."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.bundle.manifest import PRODUCT_SEARCH
from recsys.bundle.read import Bundle
from recsys.catalogue import Catalogue
from recsys.engine.build import build_index
from recsys.engine.engine import Engine
from recsys.engine.manifest import read_manifest
from recsys.engine.policy import SearchPolicy
from recsys.engine.ranked import good, ordered
from recsys.engine.relax import attempts
from recsys.engine.searcher import MOST_ATTRIBUTED
from recsys.errors import UsageError
from recsys.ranking.calibration import Calibration, CutOff, Platt
from recsys.settings import Settings
from recsys.types import Filters, Rung
from tests.bundles import bundle_of, components_in, components_of

POLICY = {"depth": 12, "candidates": 12}
CUT = CutOff(probability=0.5, irrelevant_share=0.2, confidence=0.9, k=10, queries=40)


def joined(place: Path, base: Bundle, *, of: str | None = None, cutoff: CutOff | None = CUT) -> Bundle:
    """The bundle with a calibration of its cross-encoder, or of another one."""
    info = base.manifest.components
    found = Calibration(
        cross_encoder=of or info["cross_encoder"].digest,
        threshold=2.0,
        max_grade=3.0,
        curve=Platt(slope=3.0, intercept=0.0),
        cutoff=cutoff,
    )
    found.save(place / "calibration")
    components = components_of(base) | components_in(place, "calibration")
    return bundle_of(place / "bundle", PRODUCT_SEARCH, components, policy=POLICY)


def opened(place: Path, catalogue: Catalogue, bundle: Bundle | None, *, shop: str = "demo") -> Engine:
    folder = build_index(catalogue, search=bundle, recommender=None, folder=place / "index", shop=shop, backbone="")
    return Engine.open(folder, settings=Settings(home=place, tracking_uri=""), deterministic=True)


@pytest.fixture(scope="module")
def engine(catalogue: Catalogue, search_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    place = tmp_path_factory.mktemp("calibrated")
    return opened(place, catalogue, joined(place, search_bundle))


def chances(engine: Engine, query: str, **asked: object) -> dict[str, float | None]:
    (answer,) = engine.search([query], k=12, **asked)  # type: ignore[arg-type]
    return {hit.product_id: hit.probability for hit in answer.hits}


def middle(engine: Engine, query: str) -> float:
    """A cut-off between the best and the worst."""
    found = sorted(value for value in chances(engine, query).values() if value is not None)
    return float(np.mean(found[len(found) // 2 - 1 : len(found) // 2 + 1]))


def test_a_probability_is_the_curve_of_the_score(engine: Engine) -> None:
    (answer,) = engine.search(["blue sofa"], k=12, explain=True)
    for hit in answer.hits:
        odds = (score := hit.parts["cross_encoder"]) / (1 - score)
        assert hit.probability == pytest.approx(odds**3 / (1 + odds**3), abs=1e-4)
    assert [hit.probability for hit in engine.rank(["blue sofa"], [["p00", "p07"]])[0].hits] == pytest.approx(
        [chances(engine, "blue sofa")[hit.product_id] for hit in engine.rank(["blue sofa"], [["p00", "p07"]])[0].hits]
    )
    assert set(chances(engine, "blue sofa", stages="hybrid").values()) == {None}


def test_what_the_network_did_not_look_at_has_no_probability(engine: Engine) -> None:
    shallow = replace(engine, finder=replace(engine.finder, policy=SearchPolicy(depth=4, candidates=12)))
    found = list(chances(shallow, "blue sofa").values())
    assert [value is None for value in found] == [False] * 4 + [True] * (len(found) - 4)
    assert len(chances(shallow, "blue sofa", min_probability=0.0)) == 4


def test_a_cutoff_keeps_the_order_and_only_what_reaches_it(engine: Engine) -> None:
    least = middle(engine, "blue sofa")
    everything = chances(engine, "blue sofa")
    kept = chances(engine, "blue sofa", min_probability=least)
    assert list(kept) == [name for name, value in everything.items() if value is not None and value >= least]
    assert 0 < len(kept) < len(everything)
    (short,) = engine.search(["blue sofa"], k=2, min_probability=least)
    assert [hit.product_id for hit in short.hits] == list(kept)[:2]
    assert [hit.rank for hit in short.hits] == [1, 2]
    assert not short.no_good_match


def test_the_calibrations_own_cutoff_and_the_policy(engine: Engine) -> None:
    own = chances(engine, "blue sofa", min_probability=0.5)
    assert chances(engine, "blue sofa", good_only=True) == own
    strict = replace(engine, finder=replace(engine.finder, policy=SearchPolicy(**POLICY, good_only=True)))
    assert chances(strict, "blue sofa") == own
    assert chances(strict, "blue sofa", good_only=False) == chances(engine, "blue sofa")
    assert len(chances(strict, "blue sofa", stages="bm25")) == len(chances(engine, "blue sofa", stages="bm25"))


def test_nothing_good_is_said_and_what_else_could_be_asked(engine: Engine) -> None:
    filters = Filters(brand=("Acme",), price_max=50.0)
    query = "steel blue sofa"
    (answer,) = engine.search([query], filters=filters, min_probability=1.0)
    assert (answer.hits, answer.rung, answer.no_good_match) == ((), Rung.NONE, True)
    assert answer.message == "no product is a good match with probability 1 or more"
    assert [(one.kind, one.what) for one in answer.relaxations] == [
        ("filter", "brand Acme"),
        ("filter", "price_max 50"),
        ("words", "steel"),
        ("words", "steel sofa"),
        ("closest", "the cut-off at probability 1"),
    ]
    assert [one.query for one in answer.relaxations] == [query, query, "blue sofa", "blue", query]
    assert answer.relaxations[0].filters == Filters(price_max=50.0)
    assert [one.good for one in answer.relaxations] == [0] * 5
    assert 0 < len(answer.relaxations[-1].hits) <= 3


def test_a_relaxation_counts_what_it_would_bring(engine: Engine) -> None:
    """The count and the hits are those of the same search without the filter."""
    everything = chances(engine, "blue sofa")
    best, most = max(everything.items(), key=lambda pair: pair[1] or 0.0)
    others = tuple(name for name in everything if name != best)
    rivals = max(everything[name] or 0.0 for name in others)
    least = (float(most or 0.0) + rivals) / 2
    brand = engine.catalogue.column("brand")[int(engine.catalogue.positions([best])[0])]
    filters = Filters(brand=("Acme" if brand == "Oakly" else "Oakly",))
    (answer,) = engine.search(["blue sofa"], filters=filters, min_probability=least)
    assert answer.no_good_match
    first = answer.relaxations[0]
    assert (first.kind, first.good) == ("filter", 1)
    assert [hit.product_id for hit in first.hits] == [best]


def test_filters_that_let_nothing_pass_are_relaxed_too(engine: Engine) -> None:
    (answer,) = engine.search(["blue sofa"], filters=Filters(brand=("Nobody",)), min_probability=0.0)
    assert answer.no_good_match
    assert answer.message == "the filters let no product pass"
    assert answer.relaxations[0].what == "brand Nobody"
    assert answer.relaxations[0].good > 0
    (plain,) = engine.search(["blue sofa"], filters=Filters(brand=("Nobody",)))
    assert (plain.no_good_match, plain.relaxations) == (False, ())


def test_a_batch_is_relaxed_as_each_query_alone(engine: Engine) -> None:
    queries = ["blue sofa", " ", "steel lamp", "+blue chair", "blue sofa"]
    filters = Filters(brand=("Acme",))
    together = engine.search(queries, filters=filters, min_probability=1.0)
    assert together == [engine.search([query], filters=filters, min_probability=1.0)[0] for query in queries]
    assert not together[1].no_good_match
    assert [one.kind for one in together[3].relaxations] == ["filter", "operators"]


def test_searches_are_bounded(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    filters = Filters(brand=("Acme",), category=("Home",), price_min=1.0, price_max=999.0, in_stock=True)
    (answer,) = engine.search(["steel blue sofa"], filters=filters, min_probability=1.0)
    assert len(answer.relaxations) == 4 + 1
    none = replace(engine, finder=replace(engine.finder, policy=SearchPolicy(**POLICY, relaxations=0)))
    (answer,) = none.search(["steel blue sofa"], filters=filters, min_probability=1.0)
    assert [one.kind for one in answer.relaxations] == ["closest"]


class Words:
    def frequency(self, word: str) -> int:
        return {"the": 9, "blue": 3, "sofa": 2}.get(word, 0)


def tried(query: str, filters: Filters | None = None, *, spelt: bool = True) -> list[tuple[str, str, str]]:
    spelling = query.replace("soffa", "sofa") if spelt else None
    found = attempts(query, filters or Filters(), vocabulary=Words(), spelling=spelling)
    return [(one.kind, one.what, one.query) for one in found]


def test_what_is_tried_and_in_which_order() -> None:
    assert tried("the blue soffa") == [
        ("spelling", "the blue sofa", "the blue sofa"),
        ("words", "soffa", "the blue"),
        ("words", "the soffa", "blue"),
    ]
    assert tried("the blue sofa") == [("words", "the", "blue sofa")]
    assert tried("blue soffa", spelt=False) == [("words", "soffa", "blue")]
    assert tried("sofa") == tried("zebra") == []
    assert tried("+blue -sofa") == [("operators", "+blue -sofa", "blue")]
    assert tried("-sofa") == []
    kept = Filters(in_stock=True, exclude=("p1",), only=("p2",))
    assert tried("sofa", kept) == [("filter", "in_stock true", "sofa")]


def test_frequencies_are_those_of_the_catalogue(engine: Engine) -> None:
    vocabulary = engine.finder.vocabulary
    assert vocabulary is not None
    assert [vocabulary.frequency(word) for word in ("sofa", "SOFAS", "Acme", "blue-sofa", "zebra", "!")] == [
        4, 4, 6, 3, 0, 0,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"min_probability": 0.5, "good_only": True}, "both a least probability and good_only"),
        ({"min_probability": 1.5}, "least probability of 1.5"),
        ({"min_probability": float("nan")}, "least probability of nan"),
        ({"min_probability": 0.5, "stages": "bm25"}, "stages `bm25`"),
    ],
)
def test_wrong_cutoffs_are_refused(engine: Engine, asked: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        engine.search(["sofa"], **asked)  # type: ignore[arg-type]


def test_an_index_without_a_calibration_refuses_by_name(
    catalogue: Catalogue, search_bundle: Bundle, tmp_path: Path
) -> None:
    other = joined(tmp_path, search_bundle, of="0" * 64)
    for place, bundle, why in (
        (tmp_path / "bare", None, "no product-search model"),
        (tmp_path / "none", search_bundle, "the product-search model has none"),
        (tmp_path / "other", other, "it was fitted on another cross-encoder"),
    ):
        engine = opened(place, catalogue, bundle)
        with pytest.raises(UsageError, match=rf"no calibration \({why}\)"):
            engine.search(["sofa"], good_only=True)
        (answer,) = engine.search(["sofa"], explain="tokens")
        assert answer.hits[0].probability is None
    assert read_manifest(tmp_path / "other" / "index").absent["calibration"] == why


def test_a_calibration_that_promises_nothing_has_no_good_only(
    catalogue: Catalogue, search_bundle: Bundle, tmp_path: Path
) -> None:
    engine = opened(tmp_path, catalogue, joined(tmp_path, search_bundle, cutoff=None))
    with pytest.raises(UsageError, match="has no cut-off that keeps its promise"):
        engine.search(["sofa"], good_only=True)
    assert engine.search(["sofa"], min_probability=0.0)[0].hits
    stages = read_manifest(tmp_path / "index").stages
    assert stages["calibration"] == "platt, P(grade >= 2 of 3)"


def test_words_are_given_for_the_first_few_hits(engine: Engine) -> None:
    (answer,) = engine.search(["+blue sofa"], k=5, explain="tokens")
    assert [hit.attribution is not None for hit in answer.hits] == [True] * 3 + [False] * (len(answer.hits) - 3)
    first = answer.hits[0]
    assert first.attribution is not None
    assert first.attribution.query == "blue sofa"
    score = 1 / (1 + np.exp(-first.attribution.logit))
    assert score == pytest.approx(first.parts["cross_encoder"], abs=1e-4)
    (more,) = engine.search(["blue sofa"], k=5, explain="tokens", explain_hits=5)
    assert [hit.attribution is not None for hit in more.hits] == [True] * 5
    (fewer,) = engine.search(["+blue sofa"], k=5, explain="tokens", explain_hits=1)
    assert [hit.attribution is not None for hit in fewer.hits] == [True] + [False] * (len(fewer.hits) - 1)
    for count in (0, MOST_ATTRIBUTED + 1):
        with pytest.raises(UsageError, match=f"explain_hits is {count}"):
            engine.search(["blue sofa"], explain="tokens", explain_hits=count)
    (bm25,) = engine.search(["blue sofa"], explain="tokens", stages="bm25")
    assert bm25.hits[0].attribution is None
    assert bm25.hits[0].parts == {"bm25": bm25.hits[0].score}


@given(st.lists(st.lists(st.floats(-4, 4, width=32), min_size=3, max_size=3), min_size=1, max_size=30), st.data())
def test_parts_always_add_up(rows: list[list[float]], data: st.DataObject) -> None:
    """Whatever the stages say: a product's parts sum to its score, after ordering and after the cut-off."""
    table = np.array(rows, dtype=np.float32)
    parts = {name: table[:, number] for number, name in enumerate(("bm25", "dense", "cross_encoder"))}
    chance = np.array(
        data.draw(st.lists(st.floats(0, 1, width=32), min_size=len(rows), max_size=len(rows))), np.float32
    )
    ranked = ordered(np.arange(len(rows)), parts, sources=["x"] * len(rows), probabilities=chance)
    for found in (ranked, good(ranked, cutoff=0.5)):
        sums: Sequence[float] = np.sum([*found.parts.values()], axis=0)
        assert sums == pytest.approx(found.scores, abs=1e-5)
        keys = list(zip(-found.scores, found.positions, strict=True))
        assert keys == sorted(keys)
    kept = good(ranked, cutoff=0.5)
    assert sorted(kept.positions) == np.flatnonzero(chance >= 0.5).tolist()


def test_what_was_meant_is_tried_where_it_was_not_to_be_corrected(engine: Engine) -> None:
    (answer,) = engine.search(["blue soffa"], min_probability=1.0, correct=False)
    assert [(one.kind, one.query) for one in answer.relaxations[:2]] == [("spelling", "blue sofa"), ("words", "blue")]
    (corrected,) = engine.search(["blue soffa"], min_probability=1.0)
    assert corrected.corrected_query == "blue sofa"
    assert [one.kind for one in corrected.relaxations] == ["words", "closest"]
