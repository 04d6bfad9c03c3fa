"""Off-policy estimates on the sample shop, where the chance of every click is known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from feature_store.snapshot import Snapshot, build_snapshot
from feature_store.sources.sample.outcomes import click_chances
from feature_store.sources.sample.world import World
from feature_store.sources.sample.write import write_sample
from recsys.bundle.manifest import RECOMMENDER
from recsys.engine.build import build_index
from recsys.engine.engine import Engine
from recsys.engine.ladder import Ladder
from recsys.errors import UsageError
from recsys.metrics.off_policy import Estimates, check_overlap, estimate
from recsys.registry.client import Registry
from recsys.retrieval.each_user import moments
from recsys.retrieval.order import nothing
from recsys.settings import Settings, load_settings
from recsys.types import Candidates, PositionHistories
from tests.bundles import bundle_of, components_in
from tests.command import recsys
from tests.training.commands import client, runs
from training.evaluate.off_policy.logged import Logged, read_appeal, read_logged
from training.evaluate.off_policy.measure import LOGGED, check_random, measure_off_policy
from training.evaluate.off_policy.target import choices, rank_lists, read_histories
from training.item_knn import ItemKnnConfig, fit_item_knn
from training.popularity import PopularityConfig, fit_popularity

Floats = NDArray[np.float64]
WORLD = World(products=300, users=500, seed=5)
PARTS = ["train", "validation"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("off-policy")


@pytest.fixture(scope="module")
def snapshot(place: Path) -> Snapshot:
    """Half of the days are the test part, so that there are some thousand places in random order."""
    write_sample(place / "shop", products=WORLD.products, users=WORLD.users, seed=WORLD.seed)
    return build_snapshot(place / "shop", out=place / "snapshot", split="time", options={"test_days": "150"})


@pytest.fixture(scope="module")
def logged(snapshot: Snapshot) -> Logged:
    return read_logged(snapshot, split="test", policy="shuffled")


@pytest.fixture(scope="module")
def chances(snapshot: Snapshot, logged: Logged) -> Floats:
    """float64 [places]: how likely the product that stood there is clicked once looked at."""
    shown = snapshot.impressions("test").drop_nulls("user_id").filter(pl.col("policy") == "shuffled")
    known = shown.sort("user_id", "list_id", "slot").join(
        click_chances(WORLD), on=["list_id", "product_id"], how="left", maintain_order="left"
    )
    assert known["position"].to_list() == logged.positions.tolist()
    assert known["chance"].null_count() == 0
    return known["chance"].to_numpy()


@pytest.fixture(scope="module")
def bundle(place: Path, snapshot: Snapshot) -> Path:
    fit_popularity(snapshot, parts=PARTS, config=PopularityConfig(half_life_days=0), folder=place / "popularity")
    fit_item_knn(snapshot, parts=PARTS, config=ItemKnnConfig(), folder=place / "item_knn")
    components = components_in(place, "popularity", "item_knn", parts=PARTS)
    return bundle_of(place / "bundle", RECOMMENDER, components, shop=snapshot.manifest.shop).path


@pytest.fixture(scope="module")
def repeating(place: Path, snapshot: Snapshot, bundle: Path) -> Path:
    """The bundle with another order of recommenders where bought products may come back."""
    components = components_in(place, "popularity", "item_knn", parts=PARTS)
    policy = {"repeat_order": ["own-history-recency", "item-knn"]}
    return bundle_of(place / "repeating", RECOMMENDER, components, shop=snapshot.manifest.shop, policy=policy).path


@pytest.fixture(scope="module")
def engine(place: Path, snapshot: Snapshot, bundle: Path) -> Engine:
    from recsys.bundle.read import Bundle

    build_index(
        snapshot.catalogue(),
        search=None,
        recommender=Bundle.open(bundle),
        folder=place / "index",
        shop=snapshot.manifest.shop,
        backbone="",
    )
    return Engine.open(place / "index", settings=Settings(home=place, tracking_uri=""))


def estimates(snapshot: Snapshot, logged: Logged, ranks: NDArray[np.int64]) -> Estimates:
    appeal = read_appeal(snapshot, split="test", products=WORLD.products)[logged.positions]
    weights, placed = choices(ranks, logged.offsets, appeal=appeal)
    assert check_overlap(weights, logged.clusters, seed=0).refused == ""
    return estimate(
        logged.clicked,
        weights,
        predicted=logged.looked * appeal,
        expected=logged.looked * placed,
        clusters=logged.clusters,
        seed=0,
    )


def truth(logged: Logged, ranks: NDArray[np.int64], chances: Floats) -> float:
    """Clicks per product shown if the lists had stood in the order of the ranks."""
    return float((logged.looked * choices(ranks, logged.offsets, appeal=chances)[1]).mean())


def test_what_was_logged(logged: Logged, chances: Floats) -> None:
    assert set(logged.sizes.tolist()) <= set(range(2, 7))
    assert logged.counts["lists"] == len(logged.users) > 700
    assert logged.counts["clicks"] == logged.clicked.sum()
    first = logged.looked[logged.offsets[:-1]]
    assert (first == 1.0).all(), "the first place is always looked at"
    expected = logged.looked * chances
    spread = np.sqrt((expected * (1 - expected)).sum())
    assert abs(logged.clicked.sum() - expected.sum()) < 4 * spread


def test_every_estimate_covers_the_truth_of_orders_good_and_bad(
    snapshot: Snapshot, logged: Logged, chances: Floats
) -> None:
    appeal = read_appeal(snapshot, split="test", products=WORLD.products)[logged.positions]
    orders = {"best": -chances, "worst": chances, "by appeal": -appeal, "same for all": np.zeros(len(chances))}
    found = {}
    for name, scores in orders.items():
        ranks = np.unique(scores, return_inverse=True)[1].astype(np.int64)
        found[name] = truth(logged, ranks, chances)
        for kind, interval in estimates(snapshot, logged, ranks)._asdict().items():
            assert interval.low <= found[name] <= interval.high, (name, kind)
    assert found["worst"] < found["same for all"] < found["by appeal"] < found["best"]


def test_self_normalised_and_doubly_robust_are_narrower(snapshot: Snapshot, logged: Logged, chances: Floats) -> None:
    ranks = np.unique(-chances, return_inverse=True)[1].astype(np.int64)
    width = {name: row.high - row.low for name, row in estimates(snapshot, logged, ranks)._asdict().items()}
    assert width["snips"] < width["ips"]
    assert width["dr"] < width["ips"]


def test_an_order_that_tells_nothing_apart_earns_what_was_logged(snapshot: Snapshot, logged: Logged) -> None:
    found = estimates(snapshot, logged, np.zeros(len(logged.positions), dtype=np.int64))
    for interval in found:
        assert interval.mean == pytest.approx(logged.clicked.mean(), abs=2e-3)
    assert found.ips.mean == found.snips.mean == logged.clicked.mean()


def test_choices_by_hand() -> None:
    """Two lists: c a b of which a is best and b and c tie; d e in the order of the ranks."""
    ranks, appeal = np.array([7, 2, 7, 1, 3]), np.array([0.5, 0.9, 0.3, 0.2, 0.1])
    weights, placed = choices(ranks, np.array([0, 3, 5]), appeal=appeal)
    assert weights.tolist() == [0.0, 0.0, 1.5, 2.0, 2.0]
    assert placed.tolist() == pytest.approx([0.9, 0.4, 0.4, 0.2, 0.1])


def test_the_report_covers_the_truth_of_the_model(
    engine: Engine, snapshot: Snapshot, logged: Logged, chances: Floats
) -> None:
    found = measure_off_policy({"m/1": engine}, snapshot, split="test", logged_by="shuffled", seed=0)
    json.loads(json.dumps(found, allow_nan=False))
    assert set(found["systems"]) >= {"engine", "item-knn", "popularity"}
    histories, segments = read_histories(snapshot, engine.catalogue, split="test", logged=logged)
    options = {"histories": histories, "segments": segments, "products": WORLD.products}
    for name, ladder in {
        "engine": engine.recommendations.ladder,
        "popularity": Ladder(popularity=engine.recommendations.ladder.popularity),
    }.items():
        real = truth(logged, rank_lists(ladder, logged, **options), chances)
        row = found["systems"][name]
        assert row["verdict"] == "estimated"
        assert row["effective"] > 100
        assert row["weight"]["low"] <= 1.0 <= row["weight"]["high"]
        for interval in row["estimates"].values():
            assert interval["low"] <= real <= interval["high"]
    ranks = rank_lists(engine.recommendations.ladder, logged, **options)
    gain = truth(logged, ranks, chances) - float((logged.looked * chances).mean())
    gap = found["baselines"][LOGGED]["difference"]["clicks dr"]
    assert gap["low"] <= gain <= gap["high"]
    assert found["metrics"]["clicks dr"] == found["intervals"]["clicks dr"]["mean"]


def test_lists_in_blocks_get_the_same_ranks(
    engine: Engine, snapshot: Snapshot, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    histories, segments = read_histories(snapshot, engine.catalogue, split="test", logged=logged)
    ladder = engine.recommendations.ladder
    options = {"histories": histories, "segments": segments, "products": WORLD.products}
    appeal = np.random.default_rng(0).random(len(logged.positions))
    whole = choices(rank_lists(ladder, logged, **options), logged.offsets, appeal=appeal)
    monkeypatch.setattr("training.evaluate.off_policy.target.LISTS_AT_ONCE", 37)
    parts = choices(rank_lists(ladder, logged, **options), logged.offsets, appeal=appeal)
    np.testing.assert_array_equal(whole[0], parts[0])


def test_lists_are_asked_for_when_they_were_shown(engine: Engine, snapshot: Snapshot, logged: Logged) -> None:
    times = snapshot.impressions("test").filter(pl.col("policy") == "shuffled").drop_nulls("user_id")
    shown = times.group_by("user_id", "list_id").agg(pl.col("timestamp").min()).sort("user_id", "list_id")
    expected = shown.filter(pl.col("list_id").is_in(logged_lists(times).implode()))["timestamp"].dt.timestamp("us")
    asked: list[int] = []

    class Recorder:
        name = "recorder"

        def recommend(self, histories: PositionHistories, **given: Any) -> list[Candidates]:
            asked.extend(moments(histories, until=0).tolist())
            return [nothing(self.name)] * len(histories)

    histories, segments = read_histories(snapshot, engine.catalogue, split="test", logged=logged)
    ladder = Ladder(personal=(Recorder(),))
    rank_lists(ladder, logged, histories=histories, segments=segments, products=WORLD.products)
    known = np.diff(histories.offsets)[logged.users] > 0
    assert asked == np.array(expected)[known].tolist()
    assert len(set(asked)) > 500


def logged_lists(shown: pl.DataFrame) -> pl.Series:
    """The lists of more than one product, none of them twice."""
    sizes = shown.group_by("list_id").agg(pl.len(), distinct=pl.col("position").n_unique())
    return sizes.filter((pl.col("len") > 1) & (pl.col("len") == pl.col("distinct")))["list_id"]


@pytest.mark.parametrize("policy", ["lexical", "popularity"])
def test_a_policy_whose_order_is_not_random_is_refused(snapshot: Snapshot, policy: str) -> None:
    ordered = read_logged(snapshot, split="test", policy=policy)
    appeal = read_appeal(snapshot, split="test", products=WORLD.products)[ordered.positions]
    with pytest.raises(UsageError, match="well-liked products stand higher"):
        check_random(ordered, appeal, policy=policy, seed=0)


def test_an_ordered_log_states_wrong_chances(snapshot: Snapshot, engine: Engine) -> None:
    """Beside the check of the order: what the model would do stands there more often than chance has it."""
    ordered = read_logged(snapshot, split="test", policy="popularity")
    histories, segments = read_histories(snapshot, engine.catalogue, split="test", logged=ordered)
    ladder = Ladder(popularity=engine.recommendations.ladder.popularity)
    ranks = rank_lists(ladder, ordered, histories=histories, segments=segments, products=WORLD.products)
    weights, _ = choices(ranks, ordered.offsets, appeal=np.zeros(len(ranks)))
    assert "does not choose with the chances" in check_overlap(weights, ordered.clusters, seed=0).refused


def test_too_few_lists_are_refused_in_the_report(engine: Engine, place: Path) -> None:
    short = build_snapshot(place / "shop", out=place / "short", split="time", options={"test_days": "4"})
    found = measure_off_policy({"m/1": engine}, short, split="test", logged_by="shuffled", seed=0)
    assert found["verdict"].startswith("refused: poor overlap")
    assert set(found["metrics"].values()) == {None}
    assert found["baselines"][LOGGED]["difference"] == {"clicks dr": None}


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    return recsys(capsys, "evaluate", *arguments, "--task", "off-policy")


def test_the_command(repeating: Path, snapshot: Snapshot, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model against itself earns the same, also one that orders otherwise where bought products may come back."""
    options = ("--logged-by", "shuffled", "--json", "--out", place / "out", "--against", repeating)
    done = run(capsys, repeating, snapshot.path, *options)
    assert done.code == 0
    found = done.report
    assert found["protocol"].startswith("off-policy, time, test part")
    assert json.loads((place / "out" / "report.json").read_text()) == found
    assert found["against"] in found["systems"]
    same = found["baselines"][found["against"]]["difference"]["clicks dr"]
    assert (same["mean"], same["low"], same["high"]) == (0.0, 0.0, 0.0)
    assert found["systems"][found["against"]] == found["systems"]["engine"]
    shown = run(capsys, repeating, snapshot.path, "--logged-by", "shuffled").out
    assert "as logged" in shown
    assert "clicks snips" in shown


def test_wrong_usage_is_one_line(
    bundle: Path, snapshot: Snapshot, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run(capsys, bundle, snapshot.path)
    assert (done.code, len(done.lines)) == (2, 1)
    assert "lexical (" in done.err
    assert "shuffled (" in done.err
    assert "no list of known users" in run(capsys, bundle, snapshot.path, "--logged-by", "nobody").err
    ordered = build_snapshot(place / "shop", out=place / "ordered", split="leave-one-out")
    done = run(capsys, bundle, ordered.path, "--logged-by", "shuffled")
    assert (done.code, len(done.lines)) == (2, 1)
    assert "split by leave-one-out" in done.err


def test_a_registered_version_keeps_what_was_found(snapshot: Snapshot, capsys: pytest.CaptureFixture[str]) -> None:
    assert recsys(capsys, "train", "popularity", snapshot.path, "--json").code == 0
    done = run(capsys, "models:/sample.recommender@challenger", snapshot.path, "--logged-by", "shuffled", "--json")
    assert done.code == 0, done.err
    (found,) = [one for one in runs() if one.data.tags["stage"] == "evaluate"]
    assert [file.path for file in client().list_artifacts(found.info.run_id)] == ["report.json"]
    version = Registry(load_settings()).resolve("models:/sample.recommender/1")
    key = f"evaluation/{snapshot.manifest.snapshot_id[:12]}/off-policy/test"
    assert version.metrics[f"{key}/clicks dr"] == pytest.approx(done.report["metrics"]["clicks dr"])
    assert recsys(capsys, "review", "models:/sample.recommender/1").code == 0
