"""Events from a stream of pieces, and what is done with them a block of users at a time."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_store.snapshot import Snapshot
from recsys.models.two_tower_config import FIRST
from recsys.types import EVENT_CODES
from training.two_tower.config import TwoTowerSettings
from training.two_tower.events import known_positions, known_users
from training.two_tower.flat import COLUMNS, KnownUsers, read_sequences
from training.two_tower.learn import training_batches
from training.two_tower.products import Products
from training.two_tower.read import once
from training.two_tower.sequences import Sequences, target_weights
from training.two_tower.windows import basket_starts

PRODUCTS = 9
ARRAYS = ("offsets", "rows", "event_types", "timestamps", "weights", "attributes")


def made_events(users: int, seed: int) -> pl.DataFrame:
    generator = np.random.default_rng(seed)
    sizes = generator.integers(1, 9, users)
    count = int(sizes.sum())
    owners = np.repeat(np.arange(users), sizes)
    moments = np.concatenate([np.sort(generator.integers(0, 6, size)) for size in sizes]) * 3_600_000_000
    kinds = generator.choice(["view", "add_to_cart", "purchase"], count)
    return pl.DataFrame(
        {
            "user_id": [f"u{owner:03d}" for owner in owners],
            "position": generator.integers(0, PRODUCTS, count),
            "timestamp": pl.Series(moments).cast(pl.Datetime("us", "UTC")),
            "event_type": pl.Series(kinds.tolist(), dtype=pl.Enum(list(EVENT_CODES))),
            "weight": generator.random(count) + 0.1,
        }
    )


def plain(events: pl.DataFrame) -> dict[str, list[object]]:
    """The arrays by their definition."""
    users = events["user_id"].to_list()
    starts = [place for place in range(len(users)) if place == 0 or users[place] != users[place - 1]]
    return {
        "offsets": [*starts, len(users)],
        "rows": [position + FIRST for position in events["position"].to_list()],
        "event_types": [EVENT_CODES[kind] for kind in events["event_type"].to_list()],
        "timestamps": events["timestamp"].dt.timestamp("us").to_list(),
        "weights": events["weight"].cast(pl.Float32).to_list(),
        "attributes": [[int(users[start][1:]) % 3, int(users[start][1:]) % 2] for start in starts],
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(seed=st.integers(0, 1000), users=st.integers(1, 8), piece=st.integers(1, 30))
def test_it_does_not_matter_where_the_stream_is_cut(tmp_path: Path, seed: int, users: int, piece: int) -> None:
    events = made_events(users, seed)
    pieces = [events.clear(), *events.iter_slices(piece), events.clear()]
    # every sixth user stands in no table: 0 of everything
    told = [user for user in range(users) if user % 6]
    codes = np.array([[user % 3, user % 2] for user in told], dtype=np.int64).reshape(len(told), 2)
    known = KnownUsers(pl.Series([f"u{user:03d}" for user in told], dtype=pl.String), codes)
    found = read_sequences(pieces, rows=np.arange(PRODUCTS) + FIRST, folder=tmp_path, known=known)
    assert {name: getattr(found, name).tolist() for name in ARRAYS} == plain(events)
    assert list(tmp_path.iterdir()) == []


def test_no_event_makes_no_user(tmp_path: Path) -> None:
    found = read_sequences([made_events(1, 0).clear()], rows=np.arange(PRODUCTS), folder=tmp_path)
    assert (len(found), len(found.rows)) == (0, 0)


def test_an_event_takes_17_bytes(tmp_path: Path) -> None:
    found = read_sequences([made_events(5, 0)], rows=np.arange(PRODUCTS), folder=tmp_path)
    assert sum(getattr(found, name).itemsize for name in ARRAYS[1:5]) == 17


def test_a_snapshot_streams_what_it_reads(small_snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feature_store.snapshot.ROWS", 7)
    whole = small_snapshot.interactions("train", "validation").filter(pl.col("user_id").is_not_null())
    pieces = list(known_users(small_snapshot, "train", "validation"))
    assert len(pieces) > 3
    assert pl.concat(pieces).equals(whole.select(COLUMNS))
    wanted = whole["position"].unique().sort().to_list()
    assert known_positions(small_snapshot, "train", "validation").tolist() == wanted


def whole_and_in_blocks(own: Sequences, monkeypatch: pytest.MonkeyPatch, *, config: TwoTowerSettings) -> Iterator[list]:  # type: ignore[type-arg]
    for block in (2_000_000, 5):
        for module in ("sequences", "data", "learn"):
            monkeypatch.setattr(f"training.two_tower.{module}.BLOCK", block)
        read = once(own, config=config)
        made = training_batches(read, products=Products(PRODUCTS), config=config)
        arrays = [tensor.numpy() for epoch in (0, 1) for rows in made.plan(epoch) for tensor in made.collate(rows)]
        counts = made.sampler.shares
        yield [*arrays, made.windows, counts, basket_starts(read), target_weights(read, repeats=False)]


@pytest.mark.parametrize("profile", ["sequence", "baskets"])
def test_blocks_of_users_make_the_batches_of_the_whole(
    profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TwoTowerSettings.model_validate({"profile": profile, "text": False, "batch_size": 8, "length": 4})
    config = config.resolved(basket=0.0)
    own = read_sequences([made_events(30, 1)], rows=np.arange(PRODUCTS) + FIRST, folder=tmp_path)
    one, other = whole_and_in_blocks(own, monkeypatch, config=config)
    assert len(one) == len(other)
    for first, second in zip(one, other, strict=True):
        np.testing.assert_array_equal(first, second)
