"""How `recsys train calibration` settles the policy: what is set, chosen and switched off, and what a search does."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import PRODUCT_SEARCH, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.engine.policy import SearchPolicy
from recsys.registry.card import render_card
from tests.bundles import bundle_of, components_of, search_networks
from tests.command import Done, recsys
from tests.training.calibration.test_shares import judged
from tests.training.commands import options
from training.blender.config import BlenderConfig
from training.blender.held_out import Judge
from training.blender.known import find_queries, with_relevance
from training.blender.open import open_engine
from training.calibration.measure import free_weights, judged_pairs, unfree
from training.policy import next_policy, set_by_hand

FEW = ("--set", "folds=2", "--set", "timed=2", "--set", "enough=1")


@pytest.fixture(scope="module")
def base(judged_snapshot: Snapshot, tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small text encoder that has learned nothing, for a cross-encoder to stand beside."""
    place = tmp_path_factory.mktemp("base")
    networks = search_networks(place, tiny_backbone)
    folder, _ = networks.pop("text_encoder")
    info = ComponentInfo(name="text_encoder")
    return bundle_of(place / "bundle", PRODUCT_SEARCH, {"text_encoder": (folder, info)}, shop="small")


def learn(capsys: Any, snapshot: Snapshot, stage: str, *more: object) -> Done:
    done = recsys(capsys, "train", stage, snapshot.path, *more, "--json")
    assert done.code == 0, done.err
    return done


@pytest.fixture
def judge(base: Bundle, judged_snapshot: Snapshot, tiny_backbone: Path, capsys: pytest.CaptureFixture[str]) -> Done:
    """The model with a cross-encoder that has kept held-out scores."""
    given = options(tiny_backbone, "epochs=2", "patience=0")
    return learn(capsys, judged_snapshot, "relevance", *given, "--base", base.path, "--init", "stock")


def test_the_sum_is_that_of_a_search(
    judge: Done, judged_snapshot: Snapshot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Feedback too: each judged list has the scores that the engine gives it."""
    learn(capsys, judged_snapshot, "calibration", *FEW, "-o", tmp_path / "model")
    bundle = Bundle.open(tmp_path / "model")
    config = BlenderConfig(query_folds=2)
    of = Judge.of(bundle, work=tmp_path)
    found = find_queries(judged_snapshot, judge=of, config=config)
    finder = open_engine(judged_snapshot, base=bundle, index=tmp_path / "index", vectors=None).finder
    known = with_relevance(found, judged_snapshot, finder=finder, judge=of, config=config)
    assert known.relevance is not None
    pairs = judged_pairs(finder, known)
    policy = SearchPolicy(bm25=0.3, dense=0.7, cross_encoder=0.9, feedback=0.5)
    total = np.split(pairs.total(policy), pairs.rows.starts[1:])
    heard = replace(finder, policy=policy)
    for query, scores, own in zip(known.queries, known.relevance, total, strict=True):
        ranked = heard.within(query.query, query.positions, stages="hybrid")
        settled = heard.settle(ranked, relevance=scores[np.searchsorted(query.positions, ranked.positions)])
        assert "feedback" in settled.parts
        assert settled.scores[np.argsort(settled.positions)] == pytest.approx(own, abs=1e-5)


def test_what_is_set_is_kept_shown_and_adds_up(
    judge: Done, judged_snapshot: Snapshot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wished = ("--set", "feedback=0.3", "--set", "depth=7", "--set", "good_only=true")
    report = learn(capsys, judged_snapshot, "calibration", *FEW, *wished, "-o", tmp_path / "one").report
    policy = Bundle.open(tmp_path / "one").manifest.policy
    assert {name: policy[name] for name in ("feedback", "depth", "good_only")} == {
        "feedback": 0.3, "depth": 7, "good_only": True
    }  # fmt: skip
    stages = report["stages"]
    assert stages["shares"]["free"] == ["dense"]
    assert [row["stage"] for row in stages["stages"]] == ["bm25", "dense", "cross_encoder"]
    assert policy["off"] == [*stages["off"], "blender"]
    assert [row["stage"] for row in stages["stages"] if not row["on"]] == stages["off"]
    assert all(row["classes"] for row in stages["stages"][1:])
    assert report["metrics"]["validation/dense.gain.mean"] == stages["stages"][1]["gain"]["mean"]
    card = render_card(Bundle.open(tmp_path / "one"), name="small.product-search", metrics={})
    assert "| feedback | `0.3` |" in card
    assert stages["why"] in card
    again = ("--set", "depth=auto", "-o", tmp_path / "two")
    learn(capsys, judged_snapshot, "calibration", *FEW, *again)
    later = Bundle.open(tmp_path / "two").manifest
    assert later.policy["feedback"] == 0.3
    assert "depth" not in later.policy
    people = recsys(capsys, "train", "calibration", judged_snapshot.path, *FEW, "--set", "good_only=auto")
    assert "by query class" in people.out
    assert "weights: " in people.out
    check_search(capsys, judged_snapshot, model=tmp_path / "one")


def check_search(capsys: pytest.CaptureFixture[str], snapshot: Snapshot, *, model: Path) -> None:
    """`recsys search --explain` shows the feedback's part, and the parts add up to the score."""
    bundle = Bundle.open(model)
    policy = {name: value for name, value in bundle.manifest.policy.items() if name not in ("off", "good_only")}
    heard = bundle_of(model.parent / "heard", PRODUCT_SEARCH, components_of(bundle), policy=policy, shop="small")
    shop = snapshot.path.parent / "shop"
    made = recsys(capsys, "index", shop, "--search", heard.path, "--json")
    assert made.code == 0, made.err
    found = recsys(capsys, "search", "blue sofa", "--explain", "--json")
    assert found.code == 0, found.err
    hits = found.report["hits"]
    assert max(hit["parts"]["feedback"] for hit in hits) > 0
    for hit in hits:
        assert sum(hit["parts"].values()) == pytest.approx(hit["score"], abs=1e-5)
    assert sum(hit["parts"]["cross_encoder"] != 0 for hit in hits) == 7
    assert "feedback" in recsys(capsys, "search", "blue sofa", "--explain").out
    one = recsys(capsys, "search", "blue sofa", "--explain-hits", "1", "--json").report["hits"]
    assert [("words" in hit and hit["words"] is not None) for hit in one] == [True] + [False] * (len(one) - 1)
    assert recsys(capsys, "search", "blue sofa", "--explain", "--explain-hits", "21").code == 2


def test_no_stage_goes_off_for_want_of_queries(
    judge: Done, judged_snapshot: Snapshot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = learn(
        capsys, judged_snapshot, "calibration", *FEW, "--set", "enough=1000", "-o", tmp_path / "model"
    ).report
    assert 0 < report["stages"]["queries"] < 1000
    assert all(row["on"] and row["classes"] for row in report["stages"]["stages"][1:])
    assert report["stages"]["off"] == []
    assert Bundle.open(tmp_path / "model").manifest.policy["off"] == ["blender"]


def test_nothing_is_measured_where_that_is_asked_for_or_queries_are_few(
    judge: Done, judged_snapshot: Snapshot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    off = learn(capsys, judged_snapshot, "calibration", "--set", "measure=false", "-o", tmp_path / "off")
    few = learn(capsys, judged_snapshot, "calibration", "--set", "folds=40", "-o", tmp_path / "few")
    for done, name, why in ((off, "off", "not measured"), (few, "few", "it takes 80 or more")):
        assert done.report["stages"] is None
        bundle = Bundle.open(tmp_path / name)
        assert bundle.manifest.policy == {"off": ["blender"]}
        assert why in bundle.manifest.components["calibration"].config["why"]


def test_a_setting_that_makes_no_sense_is_one_line(
    judged_snapshot: Snapshot, capsys: pytest.CaptureFixture[str]
) -> None:
    done = recsys(capsys, "train", "calibration", judged_snapshot.path, "--set", "feedback=-1")
    assert done.code == 2
    assert "setting feedback" in done.err


def manifest(tmp_path: Path, *, policy: dict[str, object], chosen: dict[str, float] | None = None) -> Bundle:
    """A bundle with a calibration that has chosen these weights."""
    (tmp_path / "part").mkdir(exist_ok=True)
    (tmp_path / "part" / "file.json").write_text("{}")
    info = ComponentInfo(name="calibration", config={"chosen": chosen or {}})
    components = {"calibration": (tmp_path / "part", info)}
    return bundle_of(tmp_path / f"bundle{len(list(tmp_path.iterdir()))}", PRODUCT_SEARCH, components, policy=policy)


def calibrated(base: Bundle | None, *, off: list[str] | None, policy: dict[str, object], **chosen: float) -> Any:
    info = ComponentInfo(name="calibration", config={"policy": policy, "chosen": chosen, "off": off})
    return next_policy(base, component="calibration", info=info)


def test_a_new_network_forgets_what_was_found_out_about_others(tmp_path: Path) -> None:
    before = manifest(tmp_path, policy={"depth": 9, "dense": 2.0, "off": ["dense", "blender"]}, chosen={"dense": 2.0})
    assert set_by_hand(before) == {"depth": 9}
    for name in ("text_encoder", "cross_encoder", "image_tower"):
        info = ComponentInfo(name=name)
        assert next_policy(before, component=name, info=info) == {"depth": 9, "off": ["blender"]}
    assert next_policy(None, component="cross_encoder", info=ComponentInfo(name="cross_encoder")) == {}


def test_a_blender_stays_on_over_the_sum_that_it_was_fitted_on(tmp_path: Path) -> None:
    blends = manifest(tmp_path, policy={"dense": 2.0, "off": []}, chosen={"dense": 2.0})
    assert calibrated(blends, off=["dense"], policy={}, dense=2.0) == {"dense": 2.0, "off": []}
    assert calibrated(blends, off=["dense"], policy={}) == {"off": ["dense", "blender"]}
    assert calibrated(blends, off=None, policy={}) == {"off": ["blender"]}
    plain = manifest(tmp_path, policy={"off": ["dense", "blender"]})
    assert calibrated(plain, off=None, policy={"depth": 3}) == {"off": ["dense", "blender"], "depth": 3}
    assert calibrated(plain, off=[], policy={}) == {"off": ["blender"]}
    assert calibrated(None, off=[], policy={"feedback": 0.3}) == {"feedback": 0.3, "off": ["blender"]}


def test_weights_are_free_only_where_the_vectors_know_nothing_of_the_queries() -> None:
    pairs = judged(grades=[[3, 0]], dense=[[1, 0]], cross=[[0, 1]])
    assert free_weights(pairs, wished={}, seen=[], learned=[]) == ["dense", "feedback"]
    assert free_weights(pairs, wished={"dense": 1.0}, seen=[], learned=[]) == ["feedback"]
    assert free_weights(pairs, wished={}, seen=[], learned=["text_encoder"]) == ["dense"]  # its cosines were kept
    assert free_weights(pairs, wished={}, seen=["text_encoder"], learned=["text_encoder"]) == []
    assert "set by hand" in unfree({"dense": 1.0, "feedback": 0.0}, learned=["text_encoder"])
    assert unfree({}, learned=["text_encoder"]) == "text_encoder learned from these queries"
    assert unfree({}, learned=[]) == "the search has no vectors"
