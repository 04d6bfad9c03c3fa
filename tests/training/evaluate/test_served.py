"""Lists as they are served, on the shop of `test_recommend` with two brands: a, b and e, f are X, c and d are Y."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from feature_store.snapshot import Snapshot, build_snapshot
from recsys.bundle.manifest import RECOMMENDER
from recsys.engine.engine import Engine
from recsys.engine.policy import ListShape
from recsys.settings import Settings
from tests.bundles import bundle_of, components_in
from training.evaluate.recommend import measure_recommend
from training.evaluate.run import cached_index
from training.evaluate.served import SERVED

START = datetime(2024, 1, 1, tzinfo=UTC)
EVENTS = [
    ("u1", "f", 0),
    ("u4", "f", 60),
    ("u1", "b", 95),
    ("u4", "a", 100),
    ("u4", "c", 100),
    ("u5", "a", 1),
    ("u5", "d", 100),
]


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    folder = tmp_path / "shop"
    folder.mkdir()
    products = {"product_id": list("abcdef"), "title": [f"thing {name}" for name in "abcdef"], "brand": list("XXYYXX")}
    pl.DataFrame(products).write_parquet(folder / "products.parquet")
    pl.DataFrame(
        {
            "user_id": [user for user, *_ in EVENTS],
            "product_id": [product for _, product, _ in EVENTS],
            "timestamp": [START + timedelta(days=day) for *_, day in EVENTS],
            "event_type": ["purchase"] * len(EVENTS),
        },
        schema_overrides={"timestamp": pl.Datetime("us", "UTC")},
    ).write_parquet(folder / "events.parquet")
    (folder / "shop.toml").write_text('name = "toy"\n[lists.shape]\nper_brand = 1\n')
    return build_snapshot(folder, out=tmp_path / "snapshot", split="time")


@pytest.fixture
def engine(snapshot: Snapshot, tmp_path: Path) -> Engine:
    """As `recsys evaluate` opens it: a popularity of a, b, c, d, and the shop's own rules."""
    (tmp_path / "popularity").mkdir()
    rows = {"segment": [""] * 4, "product_id": list("abcd"), "score": [4.0, 3.0, 2.0, 1.0]}
    frame = pl.DataFrame(rows, schema_overrides={"score": pl.Float32})
    frame.write_parquet(tmp_path / "popularity" / "popularity.parquet")
    components = components_in(tmp_path, "popularity", parts=["train", "validation"])
    bundle = bundle_of(tmp_path / "bundle", RECOMMENDER, components, shop="toy")
    settings = Settings(home=tmp_path / "home", tracking_uri="")
    return Engine.open(cached_index(snapshot, bundle, version="v", settings=settings), settings=settings)


def shaped(engine: Engine, **shape: float | bool | None) -> Engine:
    own = engine.recommendations
    policy = own.policy.model_copy(update={"shape": ListShape.model_validate(shape)})
    return replace(engine, recommendations=replace(own, policy=policy))


def test_a_cap_shows_in_the_figures_of_the_served_list(engine: Engine, snapshot: Snapshot) -> None:
    """u4 bought a and c: of a, b, c, d the first two hold one of them, of the capped list a, c both."""
    found = measure_recommend(engine, snapshot, split="test", cuts=(1, 2), repeats=False)
    user = list(found.keys).index("u4")
    assert found.systems["engine"]["recall@2"][user] == 0.5
    assert found.systems[SERVED]["recall@2"][user] == 1.0
    assert found.systems[SERVED]["recall@1"][user] == found.systems["engine"]["recall@1"][user] == 0.5
    assert found.runs[SERVED][user][0].tolist() == [0, 2]
    assert found.subject == "engine"
    assert SERVED in found.baselines


def test_plain_lists_are_measured_once(engine: Engine, snapshot: Snapshot) -> None:
    found = measure_recommend(shaped(engine), snapshot, split="test", cuts=(2,), repeats=False)
    assert SERVED not in found.systems
    returning = shaped(engine, return_days=5.0)
    assert SERVED not in measure_recommend(returning, snapshot, split="test", cuts=(2,), repeats=True).systems


def test_what_may_come_back_comes_back(engine: Engine, snapshot: Snapshot) -> None:
    """u5 bought a three months before the cut."""
    for days, wanted in ((10.0, [0, 1, 2, 3]), (1000.0, [1, 2, 3])):
        returning = shaped(engine, return_days=days)
        found = measure_recommend(returning, snapshot, split="test", cuts=(4,), repeats=False)
        user = list(found.keys).index("u5")
        assert found.runs[SERVED][user][0].tolist() == wanted
        assert found.runs["engine"][user][0].tolist() == [1, 2, 3]


def test_rules_that_cannot_be_held_leave_the_served_list_out(
    engine: Engine, snapshot: Snapshot, caplog: pytest.LogCaptureFixture
) -> None:
    found = measure_recommend(shaped(engine, return_interval=1.0), snapshot, split="test", cuts=(2,), repeats=False)
    assert SERVED not in found.systems
    assert "return_interval without a recommender of repeat purchases" in caplog.text
    assert np.isfinite(found.systems["engine"]["recall@2"]).any()
