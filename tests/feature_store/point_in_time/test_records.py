"""An online record gives the bits that a training row at the same instant gets, however it came about."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.point_in_time.definitions import ENTITIES
from feature_store.point_in_time.engine import compute
from feature_store.point_in_time.records import RecordFolder, write_records
from feature_store.point_in_time.streams import shop_streams
from feature_store.point_in_time.survey import Survey
from feature_store.point_in_time.table import build_table
from feature_store.point_in_time.tallies import Record, Seen, add, forget, needs, read
from feature_store.point_in_time.values import VALUES
from feature_store.validate import clean_shop
from recsys.settings import load_settings
from tests.command import recsys
from tests.feature_store.point_in_time.reference import Happened, worth
from tests.feature_store.point_in_time.test_engine import ASKED, answer, asked, happened, stream
from tests.shops import START, small_tables, write_shop


def as_seen(event: Happened) -> Seen:
    values = {measure.value for feature in ASKED for measure in feature.measures} - {"one"}
    whole: dict[str, int | str] = {}
    for name in values:
        value = worth(event, name)
        if value is not None:
            whole[name] = value if isinstance(value, str) else round(value * VALUES[name].scale)
    return Seen(event.time, max(event.time + 1, event.known or 0), event.kind, whole)


@settings(max_examples=40)
@given(st.lists(happened, max_size=40), st.lists(asked, min_size=1, max_size=6), st.booleans())
def test_a_record_that_grew_event_by_event_is_the_training_row(
    events: list[Happened], rows: Sequence[tuple[str | None, str | None, str | None, int]], tidy: bool
) -> None:
    rows = sorted(rows, key=lambda row: row[3])
    offline = answer(rows, events)
    seen = sorted(((as_seen(event), event) for event in events), key=lambda one: one[0].start)
    frame = stream(events)["events"].frame
    survey = Survey.of(frame, {measure for feature in ASKED for measure in feature.measures})
    for entity in ("user", "product", "user_product", "query", "query_product"):
        features = [feature for feature in ASKED if feature.entity == entity]
        wanted = needs(features)
        kept: dict[tuple[object, ...], Record] = {}
        waiting = list(seen)
        for number, row in enumerate(rows):
            while waiting and waiting[0][0].start <= row[3]:
                record, event = waiting.pop(0)
                key = key_of(entity, (event.user, event.product, event.query))
                add(kept.setdefault(key, {}), record, wanted)
            key = key_of(entity, row[:3])
            if None in key:
                continue
            if tidy and key in kept:
                forget(kept[key], wanted, now=row[3])
            for feature in features:
                prior = 0.0
                if getattr(feature.of, "strength", 0):
                    prior = float(survey.rate(feature.of, pl.Series([row[3]]).to_numpy())[0])  # type: ignore[arg-type]
                online = read(kept.get(key, {}), feature, now=row[3], prior=prior)
                assert online == offline[feature.name][number], feature.name


def key_of(entity: str, parts: tuple[object, ...]) -> tuple[object, ...]:
    named = dict(zip(("user_id", "product_id", "query"), parts, strict=True))
    return tuple(named[column] for column in ENTITIES[entity])  # type: ignore[index]


@pytest.fixture(scope="module")
def dated_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("dated") / "shop", dated_tables())


def dated_tables() -> dict[str, pl.DataFrame]:
    """The small shop with prices since when, grades since when, queries in its events, and late events."""
    tables = small_tables()
    since = [START - timedelta(days=10), START + timedelta(days=20), START + timedelta(days=60)]
    products = pl.concat(
        tables["products"].with_columns(
            pl.col("price") * (1 + number * 0.25), valid_from=pl.lit(at), known_at=pl.lit(at + timedelta(days=number))
        )
        for number, at in enumerate(since)
    )
    events = (
        tables["events"]
        .with_row_index("n")
        .with_columns(
            known_at=pl.when(pl.col("n") % 7 == 0)
            .then(pl.col("timestamp") + timedelta(days=2))
            .otherwise(pl.col("timestamp")),
            query=pl.when(pl.col("n") % 2 == 0).then(pl.lit(" Blue  SOFA")),
            price=pl.lit(10.0),
        )
    )
    judged = tables["judgments"].with_row_index("n")
    judgments = judged.with_columns(judged_at=pl.lit(START) + pl.duration(days=pl.col("n") % 80)).drop("n")
    return tables | {"products": products, "events": events.drop("n"), "judgments": judgments}


def test_records_of_a_shop_serve_what_its_table_holds(dated_shop: Path, tmp_path: Path) -> None:
    at = START + timedelta(days=70)
    now = at + timedelta(days=3, hours=5)
    kept = write_records(dated_shop, out=tmp_path / "records", as_of=at, settings=load_settings())
    assert kept.left_out == {}
    folder = RecordFolder(tmp_path / "records")
    rows = pl.DataFrame(
        {
            "user_id": [f"u{number:02d}" for number in range(30)],
            "product_id": [f"p{number:02d}" for number in range(30)],
            "query": ["blue sofa"] * 30,
            "timestamp": [now] * 30,
        },
        schema_overrides={"timestamp": pl.Datetime("us", "UTC")},
    )
    with TemporaryDirectory() as staging:
        clean = clean_shop(dated_shop, staging=Path(staging), as_of=at)
        streams = shop_streams(clean.tables)
        offline = compute(rows, folder.features, streams, staging=Path(staging))
    names: dict[str, int] = {}
    for entity, columns in ENTITIES.items():
        if entity == "follow":
            continue
        for number, key in enumerate(rows.select(columns).iter_rows()):
            for name, value in folder.values(entity, key, now=now).items():
                drifts = name.endswith("_rate_28d") or name.endswith("_rate_90d")  # their prior is of another midnight
                assert value == (pytest.approx(offline[name][number], abs=0.2) if drifts else offline[name][number]), (
                    name
                )
                names[name] = names.get(name, 0) + (value not in (None, 0.0))
    assert len(names) > 50
    for name in ("product_price", "product_price_change_28d", "query_product_grade", "user_mean_price"):
        assert names[name] > 0, name


def test_a_shop_s_prices_as_they_were_known(dated_shop: Path, tmp_path: Path) -> None:
    """Prices changed on day 20 (known on day 21) and on day 60 (known on day 62)."""
    days = [20.5, 21, 21.5, 48, 50, 61, 62]
    rows = pl.DataFrame(
        {"product_id": ["p10"] * len(days), "timestamp": [START + timedelta(days=day) for day in days]},
        schema_overrides={"timestamp": pl.Datetime("us", "UTC")},
    )
    rows.write_parquet(tmp_path / "rows.parquet")
    only = ("product_price", "product_price_change_28d")
    built = build_table(
        dated_shop,
        rows=tmp_path / "rows.parquet",
        out=tmp_path / "table",
        only=only,
        as_of=None,
        settings=load_settings(),
    )
    table = pl.read_parquet(built.folder / "*.parquet")
    assert table["product_price"].to_list() == [20.0, 25.0, 25.0, 25.0, 25.0, 25.0, 30.0]
    # 28 days before day 48 it was known to be 20, before day 50 to be 25
    assert table["product_price_change_28d"].to_list() == [0.0, 0.25, 0.25, 0.25, 0.0, 0.0, pytest.approx(0.2)]


def test_the_command(dated_shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = recsys(capsys, "table", "records", dated_shop, "-o", tmp_path / "records", "--json").report
    assert report["keys"]["user"] == 30
    assert set(report["keys"]) == set(ENTITIES)
    assert "query_product_grade" in report["features"]
    done = recsys(capsys, "table", "records", dated_shop, "-o", tmp_path / "records")
    assert (done.code, "features: " in done.out) == (0, True)
    done = recsys(capsys, "table", "records", dated_shop, "-o", dated_shop)
    assert "holds other files" in done.err
