"""The recommendation protocols on a shop small enough to count by hand."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from feature_store.snapshot import Snapshot, build_snapshot
from recsys.bundle.manifest import RECOMMENDER
from recsys.engine.build import build_index
from recsys.engine.engine import Engine
from recsys.engine.ladder import Ladder
from recsys.errors import UsageError
from recsys.retrieval.each_user import moments
from recsys.retrieval.order import nothing
from recsys.settings import Settings
from recsys.types import Candidates, PositionHistories
from tests.bundles import bundle_of, components_in
from training.evaluate.baselines import LatestPopularity
from training.evaluate.measured import Measured
from training.evaluate.recommend import knowing, measure_recommend, protocol_name
from training.evaluate.trial import asker, read_trial

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START = datetime(2024, 1, 1, tzinfo=UTC)
BEST = ["a", "b", "c", "d"]


def shop(folder: Path, events: list[tuple[str, str, int, str]], *, order: bool) -> Path:
    """A shop of six products; an event is (user, product, day, type)."""
    folder.mkdir()
    pl.DataFrame({"product_id": list("abcdef"), "title": [f"thing {name}" for name in "abcdef"]}).write_parquet(
        folder / "products.parquet"
    )
    pl.DataFrame(
        {
            "user_id": [user for user, *_ in events],
            "product_id": [product for _, product, _, _ in events],
            "timestamp": [START + timedelta(days=day) for *_, day, _ in events],
            "event_type": [kind for *_, kind in events],
        },
        schema_overrides={"timestamp": pl.Datetime("us", "UTC")},
    ).write_parquet(folder / "events.parquet")
    (folder / "shop.toml").write_text('name = "toy"\n' + ('timestamps = "order"\n' if order else ""))
    return folder


def engine(snapshot: Snapshot, place: Path, *, parts: list[str]) -> Engine:
    """An engine whose only recommender is a fixed popularity: a, b, c, d."""
    (place / "popularity").mkdir()
    rows = {"segment": [""] * 4, "product_id": BEST, "score": [4.0, 3.0, 2.0, 1.0]}
    pl.DataFrame(rows, schema_overrides={"score": pl.Float32}).write_parquet(
        place / "popularity" / "popularity.parquet"
    )
    popularity = components_in(place, "popularity", parts=parts)
    bundle = bundle_of(place / "bundle", RECOMMENDER, popularity, shop="toy")
    build_index(snapshot.catalogue(), search=None, recommender=bundle, folder=place / "index", shop="toy", backbone="")
    return Engine.open(place / "index", settings=Settings(home=place, tracking_uri=""))


def buys(user: str, *products: str) -> list[tuple[str, str, int, str]]:
    return [(user, product, day, "purchase") for day, product in enumerate(products)]


def value(found: Measured, metric: str, user: str, system: str = "engine") -> float:
    return float(found.systems[system][metric][list(found.keys).index(user)])


@pytest.fixture
def in_order(tmp_path: Path) -> Snapshot:
    events = [*buys("u1", "f", "e", "a"), *buys("u2", "a", "b", "c"), *buys("u3", "a", "b", "f"), *buys("u4", "a")]
    return build_snapshot(shop(tmp_path / "shop", events, order=True), out=tmp_path / "snapshot")


def test_leave_one_out(in_order: Snapshot, tmp_path: Path) -> None:
    found = measure_recommend(
        engine(in_order, tmp_path, parts=["train"]), in_order, split="test", cuts=(1, 2), repeats=False
    )
    assert found.protocol.startswith("leave-one-out, test part, no refit, repeats excluded")
    assert found.keys == ["u1", "u2", "u3"]
    assert value(found, "recall@1", "u1") == 1.0
    assert value(found, "recall@1", "u2") == 1.0
    assert value(found, "recall@2", "u3") == 0.0
    assert set(found.systems) == {"engine", "popularity"}


def test_the_validation_event_is_history_in_the_test_and_target_in_the_validation(in_order: Snapshot) -> None:
    catalogue = in_order.catalogue()
    test, validation = (read_trial(in_order, catalogue, split=part) for part in ("test", "validation"))
    assert catalogue.ids(test.histories.of(1)) == ["a", "b"]
    assert catalogue.ids(test.relevant[1]) == ["c"]
    assert catalogue.ids(validation.histories.of(1)) == ["a"]
    assert catalogue.ids(validation.relevant[1]) == ["b"]
    assert test.histories.now is None, "an order is no calendar"


@pytest.fixture
def in_time(tmp_path: Path) -> Snapshot:
    events = [
        ("u1", "a", 0, "purchase"), ("u1", "e", 1, "view"), ("u1", "a", 95, "purchase"), ("u1", "b", 96, "purchase"),
        ("u1", "b", 97, "purchase"), ("u1", "e", 98, "view"),
        ("u2", "c", 2, "purchase"), ("u2", "c", 95, "purchase"),
        ("u3", "d", 1, "view"), ("u3", "d", 99, "purchase"),
        ("u4", "f", 60, "purchase"), ("u4", "a", 100, "purchase"), ("u4", "c", 100, "purchase"),
    ]  # fmt: skip
    return build_snapshot(shop(tmp_path / "shop", events, order=False), out=tmp_path / "snapshot", split="time")


def test_time_split_without_repeats(in_time: Snapshot, tmp_path: Path) -> None:
    answering = engine(in_time, tmp_path, parts=["train", "validation"])
    found = measure_recommend(answering, in_time, split="test", cuts=(2,), repeats=False)
    assert found.protocol.startswith("time, test part, refit, repeats excluded")
    assert found.keys == ["u1", "u2", "u4"]
    assert found.counts["users without a purchase before"] == 1
    assert found.counts["users with nothing relevant left"] == 1
    assert value(found, "recall@2", "u1") == 1.0
    assert value(found, "ndcg@2", "u1") == 1.0
    assert np.isnan(value(found, "recall@2", "u2"))
    assert value(found, "recall@2", "u4") == 0.5
    best = 1 + 1 / np.log2(3)
    assert value(found, "ndcg@2", "u4") == pytest.approx(1 / best)
    assert "popularity, last 28 days" in found.systems


def test_a_stock_encoder_that_learned_nothing_does_not_name_the_protocol(in_time: Snapshot, tmp_path: Path) -> None:
    answering = engine(in_time, tmp_path, parts=["train", "validation"])
    fitted = {"two_tower": ("train", "validation"), "text_encoder": ()}
    asked = replace(answering, recommendations=replace(answering.recommendations, learned_from=fitted))
    assert ", refit," in protocol_name(asked, "time", split="test", repeats=False, moments=True)
    asked = replace(answering, recommendations=replace(answering.recommendations, learned_from={"text_encoder": ()}))
    assert ", no refit," in protocol_name(asked, "time", split="test", repeats=False, moments=True)


@dataclass
class Recorder:
    """Remembers for when it was asked."""

    moments: list[int] = field(default_factory=list)
    name: str = "recorder"

    def recommend(self, histories: PositionHistories, **given: Any) -> list[Candidates]:
        """Nothing."""
        self.moments += moments(histories, until=0).tolist()
        return [nothing(self.name)] * len(histories)


def test_users_are_asked_at_the_moment_of_what_they_bought_first(in_time: Snapshot, tmp_path: Path) -> None:
    """u1 bought in the test part on days 95, 96 and 97, u2 on 95 and u4 on 100."""
    trial = read_trial(in_time, in_time.catalogue(), split="test")
    recorder = Recorder()
    list(asker(Ladder(personal=(recorder,)), trial, products=6, exclude=None)(np.array([2, 0, 1]), 3))
    asked = [EPOCH + timedelta(microseconds=moment) - START for moment in recorder.moments]
    assert asked == [timedelta(days=day) for day in (100, 95, 95)]
    found = measure_recommend(
        engine(in_time, tmp_path, parts=["train"]), in_time, split="test", cuts=(1,), repeats=True
    )
    assert found.protocol.endswith("ties averaged, asked at each user's own moment")
    events = [*buys("u1", "a", "b", "c"), *buys("u2", "b", "c", "d", "e")]
    left_out = build_snapshot(
        shop(tmp_path / "dated", events, order=False), out=tmp_path / "left", split="leave-one-out"
    )
    for part, days in (("validation", [1, 2]), ("test", [2, 3])):
        now = read_trial(left_out, left_out.catalogue(), split=part).histories.now
        assert [EPOCH + timedelta(microseconds=int(one)) - START for one in now] == [
            timedelta(days=day) for day in days
        ]


def test_time_split_with_repeats(in_time: Snapshot, tmp_path: Path) -> None:
    answering = engine(in_time, tmp_path, parts=["train", "validation"])
    found = measure_recommend(answering, in_time, split="test", cuts=(2,), repeats=True)
    assert value(found, "recall@2", "u1") == 1.0
    assert value(found, "recall@2", "u2") == 0.0
    assert value(found, "recall@2", "u2", system="own-history-frequency") == 1.0
    assert value(found, "recall@2", "u1", system="own-history-recency") == 0.5


def test_the_latest_popularity_counts_the_days_before_the_cut(in_time: Snapshot, tmp_path: Path) -> None:
    answering = engine(in_time, tmp_path, parts=["train"])
    found = measure_recommend(answering, in_time, split="test", cuts=(1,), repeats=False)
    assert value(found, "recall@1", "u1", system="popularity, last 28 days") == 0.0
    latest = LatestPopularity.fit(in_time, split="test", products=6)
    assert latest.purchases.tolist() == [0, 0, 0, 0, 0, 1]
    assert LatestPopularity.fit(in_time, split="validation", products=6).purchases.tolist() == [0] * 6


@pytest.mark.parametrize("at_once", [1, 2])
def test_users_who_are_read_in_blocks_are_the_same_users(
    at_once: int, in_time: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering = engine(in_time, tmp_path, parts=["train"])
    whole = read_trial(in_time, answering.catalogue, split="test")
    measured = measure_recommend(answering, in_time, split="test", cuts=(1, 2), repeats=True)
    for module in ("lists", "trial"):
        monkeypatch.setattr(f"training.evaluate.{module}.USERS", at_once)
    parts = read_trial(in_time, answering.catalogue, split="test")
    for name in ("offsets", "positions", "timestamps", "event_types"):
        one, other = getattr(parts.histories, name), getattr(whole.histories, name)
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    assert parts.histories.segments == whole.histories.segments == whole.segments
    assert parts.histories.attributes == whole.histories.attributes
    again = measure_recommend(answering, in_time, split="test", cuts=(1, 2), repeats=True)
    for system, metrics in measured.systems.items():
        for name, values in metrics.items():
            np.testing.assert_array_equal(again.systems[system][name], values)
    assert again.overall == measured.overall


def test_a_split_without_events_is_refused(tmp_path: Path) -> None:
    place = shop(tmp_path / "shop", buys("u1", "a", "b", "c"), order=True)
    folds = build_snapshot(place, out=tmp_path / "snapshot", split="query-folds")
    with pytest.raises(UsageError, match="split by query-folds"):
        measure_recommend(engine(folds, tmp_path, parts=["train"]), folds, split="test", cuts=(1,), repeats=False)


def test_hits_novelty_and_coverage(in_time: Snapshot, tmp_path: Path) -> None:
    answering = engine(in_time, tmp_path, parts=["train", "validation"])
    found = measure_recommend(answering, in_time, split="test", cuts=(2,), repeats=True)
    assert value(found, "hit_rate@2", "u1") == value(found, "recall@2", "u1") == 1.0
    assert value(found, "mrr@2", "u2") == value(found, "map@2", "u2") == 0.0
    assert found.overall["engine"]["coverage@2"] == pytest.approx(2 / 6), "a and b, of six products"
    shown = found.runs["engine"]
    assert [found.asked.catalogue.ids(shown[row][0]) for row in range(len(shown))] == [["a", "b"]] * len(found.keys)
    counts, users = knowing(in_time, split="test", products=6)
    surprise = -np.log2((counts[:2] + 1) / (users + 1))
    assert value(found, "novelty@2", "u1") == pytest.approx(surprise.mean())
