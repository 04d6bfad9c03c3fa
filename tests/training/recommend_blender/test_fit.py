"""Fitting the recommendation blender: what it learns, what it proves, and that nobody has seen the labels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import ComponentInfo
from recsys.bundle.read import Bundle
from recsys.bundle.recommenders import COMPONENTS, settings_digests
from recsys.engine.build import build_index
from recsys.engine.opening import open_index
from recsys.engine.recommend_blending import find_blends, read_facts
from recsys.errors import NothingToLearnError, UsageError
from recsys.models.backbone import load_backbone
from recsys.models.text_encoder import TextEncoder
from recsys.ranking.candidate_blender import EXCLUDED, CandidateBlender
from recsys.ranking.candidate_signals import signal_names
from recsys.settings import Settings
from recsys.text.tokenizer import TextTokenizer
from recsys.types import Candidates, Mask, PositionHistories, Positions
from tests.bundles import bundle_of, components_of
from tests.command import recsys
from training.evaluate.trial import Trial
from training.holdout import Holdout
from training.item_knn import ItemKnnConfig, fit_item_knn
from training.metric_log import Silent
from training.recommend_blender.config import RecommendBlenderConfig
from training.recommend_blender.earn import Held, cross_fit, judge
from training.recommend_blender.fit import fit_order, fit_weights, varying
from training.recommend_blender.rows import CandidateRows, read_candidates, write_facts
from training.recommend_blender.sources import open_sources
from training.recommend_blender.stage import RecommendBlenderStage, draw
from training.stage import find_stage
from training.two_tower.config import TwoTowerSettings
from training.two_tower.train import TwoTowerStage

CONFIG = RecommendBlenderConfig(rounds=(5, 20), rows_in_leaf=5, leaf_penalty=1.0, user_folds=3, top=5)
SOURCES = ("a", "b")
NAMES = signal_names(SOURCES)


def made(users: int = 60, *, seed: int = 0, follows: str = "bought.times") -> tuple[CandidateRows, Holdout]:
    """Two sources bring the same ten products in orders that say nothing; one signal knows what is bought."""
    generator = np.random.default_rng(seed)
    matrix = np.full((users * 10, len(NAMES)), np.nan, dtype=np.float32)
    signal = generator.random(users * 10).astype(np.float32)
    matrix[:, NAMES.index(follows)] = signal
    best = signal.reshape(users, 10).argmax(axis=1)
    labels = np.zeros((users, 10), dtype=np.int64)
    labels[np.arange(users), best] = 1
    lists = []
    for user in range(users):
        own = []
        for number, source in enumerate(SOURCES):
            order = generator.permutation(10)
            ranks = 1.0 / (1 + np.argsort(order))
            matrix[user * 10 : user * 10 + 10, 2 * number + 1] = ranks
            own.append(Candidates(order, np.arange(10, 0, -1).astype(np.float32), source))
        lists.append(tuple(own))
    rows = CandidateRows(tuple(lists), (np.arange(10),) * users, labels.ravel(), matrix)
    empty = PositionHistories(
        np.zeros(users + 1, dtype=np.int64), *(np.zeros(0, dtype=np.int64),) * 2, np.zeros(0, np.int8)
    )
    relevant = [np.array([place]) for place in best]
    trial = Trial([f"u{user}" for user in range(users)], empty, ("",) * users, relevant, 0)
    return rows, Holdout(trial=trial, relevant=relevant, exclude=None, products=10)


def test_trees_learn_what_no_source_knows_and_the_blend_is_on() -> None:
    rows, holdout = made()
    held = cross_fit(rows, holdout, names=NAMES, sources=SOURCES, config=CONFIG)
    report = judge(rows, holdout, held, table=EXCLUDED, sources=SOURCES, config=CONFIG)
    assert report["on"] is True
    assert report["trees"] == held.rounds > 0
    assert report["blend"]["mean"] > max(report["sources"].values()) + 0.2
    assert report["best source"] in SOURCES
    assert report["found"] == 1.0
    assert report["users"] == 60


def test_a_blend_that_gains_nothing_is_off() -> None:
    rows, holdout = made()
    random = np.random.default_rng(1).random(rows.matrix.shape[0]).astype(np.float32)
    rows.matrix[:, NAMES.index("bought.times")] = random
    held = cross_fit(rows, holdout, names=NAMES, sources=SOURCES, config=CONFIG)
    report = judge(rows, holdout, held, table=EXCLUDED, sources=SOURCES, config=CONFIG)
    assert report["on"] is False
    assert report["gain"]["low"] <= 0


def test_a_users_figure_comes_from_rounds_that_others_chose() -> None:
    tried = {0: np.array([0.5, 0.5, 0.0, np.nan]), 9: np.array([0.0, 0.0, 1.0, np.nan])}
    held = Held(tried, np.array([0, 0, 1, 1]))
    np.testing.assert_array_equal(held.values, [0.0, 0.0, 0.0, np.nan])
    assert held.rounds == 0


def test_the_same_seed_fits_the_same_function() -> None:
    rows, _ = made(20)
    texts, scores = [], []
    for _ in range(2):
        order = fit_order(rows.matrix, rows.labels, rows.sizes, names=NAMES, sources=SOURCES, rounds=5, config=CONFIG)
        texts.append(order.trees.model_to_string())
        scores.append(order.score(rows.matrix, rounds=5))
    assert texts[0] == texts[1]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert set(order.settings().signals) == {"a.rank", "b.rank", "bought.times"}


def test_weights_are_those_of_the_least_cross_entropy() -> None:
    """One input that tells: its weight is where the slope of loss and penalty is 0; a contrary one weighs nothing."""
    generator = np.random.default_rng(0)
    inputs = generator.random((400, 2))
    groups = inputs.reshape(100, 4, 2)
    labels = (groups[:, :, 0] - groups[:, :, 1]).argmax(axis=1)[:, None] == np.arange(4)
    found = fit_weights(inputs, labels=labels.ravel().astype(np.int64), sizes=np.full(100, 4), ridge=0.05)
    assert found[0] > 1.0
    assert found[1] == 0.0
    chances = np.exp(groups @ found)
    chances /= chances.sum(axis=1, keepdims=True)
    slope = ((chances - labels)[:, :, None] * groups).sum(axis=1).mean(axis=0) + 0.05 * found
    assert slope[0] == pytest.approx(0.0, abs=1e-4)
    assert slope[1] > 0
    assert fit_weights(inputs, labels=np.zeros(400, dtype=np.int64), sizes=np.full(100, 4), ridge=1.0).tolist() == [
        1,
        1,
    ]


def test_only_signals_that_tell_rows_apart_are_read() -> None:
    matrix = np.array([[1, 1, np.nan, 0], [1, 2, np.nan, np.nan]], dtype=np.float32)
    assert varying(matrix) == (1, 3)


@pytest.fixture
def base(orders_snapshot: Snapshot, tmp_path: Path) -> Bundle:
    """Item-kNN, popularity and repeat, refitted on the validation part."""
    parts = {}
    for name in ("item-knn", "popularity", "repeat"):
        stage = find_stage(name)
        info = stage.train(
            orders_snapshot,
            config=ItemKnnConfig(weighting="bm25") if name == "item-knn" else stage.config_type(),
            folder=tmp_path / stage.component,
            work=tmp_path / "work",
            run=Silent(),
            base=None,
            start=None,
            refit=True,
        )
        parts[stage.component] = (tmp_path / stage.component, info)
    return bundle_of(tmp_path / "base", "recommender", parts, shop="small")


def test_no_source_has_seen_the_labels(orders_snapshot: Snapshot, base: Bundle, tmp_path: Path) -> None:
    catalogue = orders_snapshot.catalogue()
    found = open_sources(orders_snapshot, base=base, wanted=None, catalogue=catalogue, work=tmp_path / "w")
    assert list(found) == ["item-knn", "repeat", "popularity", "own-history-frequency", "own-history-recency"]
    fit_item_knn(
        orders_snapshot, parts=["train"], config=ItemKnnConfig(weighting="bm25"), folder=tmp_path / "train-alone"
    )
    made = tmp_path / "w" / "sources" / "item_knn" / "neighbours.parquet"
    assert made.read_bytes() == (tmp_path / "train-alone" / "neighbours.parquet").read_bytes()
    assert made.read_bytes() != (base.path / "item_knn" / "neighbours.parquet").read_bytes()
    before = made.stat().st_mtime_ns
    open_sources(orders_snapshot, base=base, wanted=("item-knn",), catalogue=catalogue, work=tmp_path / "w")
    assert made.stat().st_mtime_ns == before


def test_two_tower_is_learned_once_more_by_its_own_settings(orders_snapshot: Snapshot, tmp_path: Path) -> None:
    tiny = TwoTowerSettings(
        epochs=1,
        batch_size=16,
        patience=0,
        width=8,
        blocks=1,
        heads=1,
        length=8,
        negatives=16,
        precision="fp32",
        text=False,
    )
    info = TwoTowerStage().train(
        orders_snapshot,
        config=tiny,
        folder=tmp_path / "two_tower",
        work=tmp_path / "work",
        run=Silent(),
        base=None,
        start=None,
        refit=True,
    )
    base = bundle_of(tmp_path / "base", "recommender", {"two_tower": (tmp_path / "two_tower", info)}, shop="small")
    catalogue = orders_snapshot.catalogue()
    found = open_sources(orders_snapshot, base=base, wanted=("two-tower",), catalogue=catalogue, work=tmp_path / "w")
    assert list(found) == ["two-tower"]
    histories = Holdout.read(orders_snapshot, catalogue=catalogue, part="validation").trial.histories
    assert any(len(one.positions) for one in found["two-tower"].recommend(histories, k=5))
    first = settings_digests(base)
    info = info.model_copy(update={"config": info.config | {"best_epoch": 99}})
    again = bundle_of(tmp_path / "again", "recommender", {"two_tower": (tmp_path / "two_tower", info)}, shop="small")
    assert settings_digests(again) == first


def test_sources_that_are_not_there_are_named(orders_snapshot: Snapshot, base: Bundle, tmp_path: Path) -> None:
    catalogue = orders_snapshot.catalogue()
    with pytest.raises(UsageError, match="sources als, magic; expected some of item-knn"):
        open_sources(orders_snapshot, base=base, wanted=("als", "magic"), catalogue=catalogue, work=tmp_path)
    with pytest.raises(NothingToLearnError, match="no recommender to blend"):
        open_sources(orders_snapshot, base=None, wanted=None, catalogue=catalogue, work=tmp_path)


def test_what_stays_learned_knows_no_later_event(orders_snapshot: Snapshot, tmp_path: Path) -> None:
    write_facts(orders_snapshot, parts=["train"], half_life_days=14.0, folder=tmp_path)
    found = read_facts(tmp_path, orders_snapshot.catalogue(), calendar=True)
    cut = orders_snapshot.manifest.split.validation_after
    assert cut is not None
    assert 0 < found.last.max() <= cut.timestamp() * 1_000_000
    events = orders_snapshot.interactions("train")
    assert np.nansum(found.ever) == pytest.approx(events["weight"].sum(), rel=1e-5)
    assert (found.sales[np.isfinite(found.sales)] <= found.ever[np.isfinite(found.ever)] + 1e-6).all()


class Counting:
    """Brings the first products to everyone, and remembers who asked."""

    name = "counting"

    def __init__(self) -> None:
        self.asked: list[int] = []

    def recommend(
        self,
        histories: PositionHistories,
        *,
        k: int,
        allowed: Mask | None = None,
        exclude: Sequence[Positions] | None = None,
    ) -> list[Candidates]:
        self.asked.append(k)
        hidden = exclude or [np.zeros(0, dtype=np.int64)] * len(histories)
        lists = [np.setdiff1d(np.arange(20), one)[:k] for one in hidden]
        return [Candidates(one, np.arange(len(one), 0, -1).astype(np.float32), self.name) for one in lists]


def test_rows_are_the_users_candidates(orders_snapshot: Snapshot, tmp_path: Path) -> None:
    catalogue = orders_snapshot.catalogue()
    write_facts(orders_snapshot, parts=["train"], half_life_days=14.0, folder=tmp_path)
    facts = read_facts(tmp_path, catalogue, calendar=True)
    holdout = Holdout.read(orders_snapshot, catalogue=catalogue, part="validation").take(np.array([4, 0, 2]))
    rows = read_candidates(holdout, {"counting": Counting()}, candidates=7, until=0, facts=facts)
    assert rows.sizes.tolist() == [7, 7, 7]
    assert rows.matrix.shape == (21, len(signal_names(("counting",))))
    assert holdout.exclude is not None
    for user, (pool, hidden) in enumerate(zip(rows.pools, holdout.exclude, strict=True)):
        assert not np.isin(pool, hidden).any()
        wanted = np.isin(pool, holdout.relevant[user]).astype(int)
        assert rows.labels[rows.users == user].tolist() == wanted.tolist()
    again = holdout.with_repeats()
    assert again.exclude is None
    assert draw(holdout, config=CONFIG.model_copy(update={"users": 2})).trial.user_ids == sorted(
        draw(holdout, config=CONFIG.model_copy(update={"users": 2})).trial.user_ids, key=holdout.trial.user_ids.index
    )


def test_the_command_registers_a_blend_with_its_verdict(
    orders_snapshot: Snapshot, base: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--set", "rounds=[3]", "--set", "rows_in_leaf=5", "--base", base.path, "-o", tmp_path / "out"]
    done = recsys(capsys, "train", "recommend-blender", orders_snapshot.path, *options, "--json")
    assert done.code == 0, done.err
    tables = done.report["stages"]["tables"]
    assert [one["table"] for one in tables] == ["repeats-excluded", "repeats-allowed"]
    bundle = Bundle.open(tmp_path / "out")
    policy = bundle.manifest.policy
    assert policy["blend"] == [one["table"] for one in tables if one["on"]]
    assert policy["repeat_order"][0] in {"repeat", "own-history-frequency", "own-history-recency", "item-knn"}
    info = bundle.manifest.components["recommend_blender"]
    assert isinstance(info, ComponentInfo)
    assert info.metrics["validation/repeats-allowed.repeat.ndcg@20"] > 0
    place = bundle.component("recommend_blender")
    assert place is not None
    own = CandidateBlender.load(place)
    assert own.settings.sources == ("item-knn", "repeat", "popularity", "own-history-frequency", "own-history-recency")
    assert set(own.settings.learned_over) == {COMPONENTS[name] for name in ("item-knn", "repeat", "popularity")}
    assert RecommendBlenderStage.component in bundle.manifest.components


def test_a_model_without_recommenders_is_told_so(orders_snapshot: Snapshot, capsys: pytest.CaptureFixture[str]) -> None:
    done = recsys(capsys, "train", "recommend-blender", orders_snapshot.path)
    assert done.code == 1
    assert "a model with recommenders" in done.err


def test_text_neighbours_are_a_source_where_the_model_has_a_text_encoder(
    orders_snapshot: Snapshot, base: Bundle, tiny_backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Told by the model's own vectors, in training and in the index; another encoder leaves the blend out."""
    encoder = tmp_path / "text_encoder"
    TextEncoder(load_backbone(tiny_backbone), max_length=16).save(encoder)
    TextTokenizer.load(tiny_backbone).save(encoder)
    parts = components_of(base) | {"text_encoder": (encoder, ComponentInfo(name="text_encoder"))}
    whole = bundle_of(tmp_path / "whole", "recommender", parts, shop="small")
    options = ["--set", "rounds=[3]", "--set", "rows_in_leaf=5", "--base", whole.path, "-o", tmp_path / "out"]
    done = recsys(capsys, "train", "recommend-blender", orders_snapshot.path, *options, "--json")
    assert done.code == 0, done.err
    bundle = Bundle.open(tmp_path / "out")
    own = CandidateBlender.load(bundle.path / "recommend_blender")
    assert "text" in own.settings.sources
    assert own.settings.learned_over["text_encoder"] == bundle.manifest.components["text_encoder"].digest
    assert "text" not in bundle.manifest.policy["repeat_order"]
    catalogue = orders_snapshot.catalogue()
    build_index(catalogue, search=None, recommender=bundle, folder=tmp_path / "index", shop="small", backbone="")
    opened = open_index(tmp_path / "index", settings=Settings(home=tmp_path, tracking_uri=""))
    near = opened.recommendations.ladder.text
    assert near is not None
    assert opened.manifest.stages["text"] == "bundle, exact"
    known = open_sources(orders_snapshot, base=whole, wanted=None, catalogue=catalogue, work=tmp_path / "w")
    histories = Holdout.read(orders_snapshot, catalogue=catalogue, part="validation").trial.histories
    for served, learned in zip(near.recommend(histories, k=5), known["text"].recommend(histories, k=5), strict=True):
        np.testing.assert_array_equal(served.positions, learned.positions)
    found, why = find_blends(bundle, catalogue, recommenders=known)
    assert (set(found), why) == ({"repeats-excluded", "repeats-allowed"}, "")
    parts = components_of(bundle)
    (encoder / "note.md").write_text("other bytes")
    parts["text_encoder"] = (encoder, ComponentInfo(name="text_encoder"))
    other = bundle_of(tmp_path / "other", "recommender", parts, shop="small")
    assert find_blends(other, catalogue, recommenders=known)[1].startswith("text_encoder changed since")
