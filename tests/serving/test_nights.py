"""A night reads one index and one generation of histories to its end, whatever goes live meanwhile."""

from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from feature_store.histories import HistoryTable
from feature_store.online.lmdb import LmdbStore
from recsys.engine.current import set_current
from recsys.errors import ShopError
from recsys.settings import Settings
from serving import nights
from serving.batch import CHUNK
from serving.nights import write_night

USERS = [f"u{number:04}" for number in range(CHUNK + 10)]

NOBODY = pl.DataFrame(
    schema={
        "user_id": pl.String,
        "product_id": pl.String,
        "event_type": pl.String,
        "timestamp": pl.Datetime("us", "UTC"),
    }
)


def everyone_saw(product: str) -> HistoryTable:
    rows = {"user_id": USERS, "product_id": [product] * len(USERS), "event_type": ["view"] * len(USERS)}
    interactions = pl.DataFrame(rows).with_columns(timestamp=pl.lit(0).cast(pl.Datetime("us", "UTC")))
    return HistoryTable.of(interactions, pl.DataFrame({"user_id": USERS, "segment": [""] * len(USERS)}))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", tracking_uri="")


@pytest.fixture
def engine(settings: Settings, shelf: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    shelf.indexes = settings.index("sample")
    engine = shelf.open(shelf.publish("first"))
    monkeypatch.setattr(nights, "Engine", SimpleNamespace(open=lambda folder, **_: engine))
    return engine


def write(settings: Settings, out: Path, **options: Any) -> pl.DataFrame:
    told = write_night(settings, shop="sample", out=out, night=date(2024, 3, 1), k=1, repeats=None, **options)
    return pl.read_parquet(Path(told["path"]) / "*.parquet")


def test_what_goes_live_meanwhile_is_left_to_the_next_night(settings: Settings, engine: Any, tmp_path: Path) -> None:
    store = LmdbStore(settings.online("sample"))
    store.materialise(everyone_saw("p001"))
    engine.before = lambda: store.materialise(everyone_saw("p002"))
    first = write(settings, tmp_path / "out")
    assert dict(first["product_id"].value_counts().iter_rows()) == {"p001": len(USERS)}
    assert set(write(settings, tmp_path / "out")["product_id"]) == {"p002"}


def test_histories_that_were_set_aside_are_read_by_name(settings: Settings, engine: Any, tmp_path: Path) -> None:
    store = LmdbStore(settings.online("sample"))
    store.materialise(everyone_saw("p001"))
    aside = store.set_aside(everyone_saw("p002"))
    assert set(write(settings, tmp_path / "out", histories=aside)["product_id"]) == {"p002"}
    assert set(write(settings, tmp_path / "out")["product_id"]) == {"p001"}


@pytest.mark.parametrize("calendar", [True, False])
def test_a_night_is_for_its_newest_event_where_that_is_a_day(
    settings: Settings, shelf: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, calendar: bool
) -> None:
    """Times that only order, however much they look like days, are no moment."""
    shelf.indexes = settings.index("sample")
    folder = shelf.publish("first")
    engine, asked = shelf.open(folder), []
    set_current(shelf.indexes, folder, until=datetime(2024, 2, 29, tzinfo=UTC) if calendar else None)
    monkeypatch.setattr(nights, "Engine", SimpleNamespace(open=lambda folder, *, now, **_: asked.append(now) or engine))
    bought = pl.DataFrame({"user_id": ["u"], "product_id": ["p001"], "event_type": ["view"]})
    when = bought.with_columns(timestamp=pl.lit(datetime(2024, 2, 29, tzinfo=UTC)).cast(pl.Datetime("us", "UTC")))
    users = pl.DataFrame({"user_id": ["u"], "segment": [""]})
    LmdbStore(settings.online("sample")).materialise(HistoryTable.of(when, users))
    write(settings, tmp_path / "out")
    assert asked == [1_709_164_800_000_000 if calendar else None]


def test_a_shop_without_users_leaves_the_last_good_night(settings: Settings, engine: Any, tmp_path: Path) -> None:
    store = LmdbStore(settings.online("sample"))
    store.materialise(everyone_saw("p001"))
    before = write(settings, tmp_path / "out")
    store.materialise(HistoryTable.of(NOBODY, pl.DataFrame(schema={"user_id": pl.String, "segment": pl.String})))
    with pytest.raises(ShopError, match="no user in the histories of the shop `sample`; expected the table users"):
        write(settings, tmp_path / "out")
    assert pl.read_parquet(tmp_path / "out" / "2024-03-01" / "*.parquet").equals(before)
