"""Policies: what a bundle may say, and what the weights do to a ranking."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recsys.bundle.read import Bundle
from recsys.catalogue import Catalogue
from recsys.engine.build import build_index
from recsys.engine.engine import Engine
from recsys.engine.policy import RecommendPolicy, SearchPolicy, recommend_policy, search_policy
from recsys.errors import BundleError
from recsys.ranking.cross_encoder import CrossEncoderRanker
from recsys.settings import Settings


def test_what_a_bundle_leaves_out_is_the_default() -> None:
    assert search_policy({}) == SearchPolicy()
    assert search_policy({"depth": 7, "unheard": 1}).depth == 7
    assert recommend_policy({"order": ["als"]}) == RecommendPolicy(order=("als",))


@pytest.mark.parametrize("fields", [{"bm25": -1.0}, {"candidates": 0}, {"fusion": "magic"}, {"depth": "deep"}])
def test_a_policy_that_makes_no_sense_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(BundleError, match=f"policy {next(iter(fields))}"):
        search_policy(fields)


def test_an_order_that_is_no_list_is_refused() -> None:
    with pytest.raises(BundleError, match="policy order"):
        recommend_policy({"order": 3})


@pytest.fixture(scope="module")
def engine(catalogue: Catalogue, search_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    place = tmp_path_factory.mktemp("policy")
    build_index(catalogue, search=search_bundle, recommender=None, folder=place / "index", shop="demo")
    return Engine.open(place / "index", settings=Settings(home=place, tracking_uri=""), deterministic=True)


def with_policy(engine: Engine, policy: SearchPolicy) -> Engine:
    return replace(engine, finder=replace(engine.finder, policy=policy))


def order(engine: Engine, stages: str) -> list[str]:
    return [hit.product_id for hit in engine.search(["blue chair"], k=12, stages=stages)[0].hits]


def test_a_weight_of_one_stage_alone_is_that_stages_order(engine: Engine) -> None:
    bm25 = with_policy(engine, SearchPolicy(bm25=1, dense=0, cross_encoder=0))
    found = order(engine, "bm25")
    assert order(bm25, "hybrid")[: len(found)] == found
    dense = with_policy(engine, SearchPolicy(bm25=0, dense=1, cross_encoder=0))
    assert order(dense, "hybrid") == order(dense, "full") == order(engine, "dense")


def test_the_cross_encoder_alone_decides_where_only_it_counts(engine: Engine) -> None:
    alone = with_policy(engine, SearchPolicy(bm25=0, dense=0, cross_encoder=1, depth=12))
    (answer,) = alone.search(["blue chair"], k=12, stages="full")
    by_text = dict(zip(engine.catalogue.product_ids, engine.finder.texts(np.arange(12)), strict=True))
    scores = engine.score_texts("blue chair", [by_text[hit.product_id] for hit in answer.hits])
    assert len(answer.hits) == 12
    assert [hit.score for hit in answer.hits] == pytest.approx(sorted(scores, reverse=True), abs=1e-6)


def test_the_network_reads_the_fields_it_was_trained_on(engine: Engine) -> None:
    ranker = engine.finder.ranker
    assert isinstance(ranker, CrossEncoderRanker)
    everything = engine.finder.texts(np.arange(12))
    kept, ranker.network.fields = ranker.network.fields, ("title",)
    try:
        titles = engine.finder.texts(np.arange(12))
    finally:
        ranker.network.fields = kept
    assert titles == engine.catalogue.column("title").to_list()
    assert everything != titles


def test_fusion_by_rank_gives_the_best_of_each_list_one(engine: Engine) -> None:
    ranks = with_policy(engine, SearchPolicy(fusion="rank", bm25=1, dense=1))
    (answer,) = ranks.search(["blue chair"], k=12, stages="hybrid", explain=True)
    parts = {hit.product_id: hit.parts for hit in answer.hits}
    assert parts[order(engine, "bm25")[0]]["bm25"] == pytest.approx(1.0)
    assert parts[order(engine, "dense")[0]]["dense"] == pytest.approx(1.0)
    assert parts[order(engine, "dense")[1]]["dense"] == pytest.approx(61 / 62)
    assert all(sum(hit.parts.values()) == pytest.approx(hit.score) for hit in answer.hits)


def test_a_bundles_policy_is_followed(engine: Engine, search_bundle: Bundle, tmp_path: Path) -> None:
    assert search_bundle.manifest.policy == {"depth": 4, "candidates": 8}
    assert engine.finder.policy.depth == 4


def test_feedback_lifts_what_resembles_the_best(engine: Engine) -> None:
    plain = with_policy(engine, SearchPolicy(depth=6))
    heard = with_policy(engine, SearchPolicy(depth=6, feedback=0.5))
    (before,), (after,) = (one.search(["blue chair"], k=12, explain=True, stages="full") for one in (plain, heard))
    parts = {hit.product_id: hit.parts for hit in after.hits}
    assert all(sum(hit.parts.values()) == pytest.approx(hit.score, abs=1e-6) for hit in after.hits)
    assert [parts[hit.product_id]["feedback"] > 0 for hit in before.hits[6:]] == [False] * 6
    assert {hit.product_id for hit in after.hits[:6]} == {hit.product_id for hit in before.hits[:6]}
    assert max(parts[hit.product_id]["feedback"] for hit in before.hits[:6]) > 0
    assert order(with_policy(engine, SearchPolicy(feedback=0.5)), "hybrid") == order(engine, "hybrid")
