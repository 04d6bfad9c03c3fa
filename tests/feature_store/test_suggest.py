"""A starting shop.toml out of foreign tables, and what a person is told to look at."""

import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from feature_store.guessing import EVENTS, NAMES, guess_event_types
from feature_store.suggest import suggest
from recsys.types import EventType
from tests.command import recsys
from tests.shops import FORMATS, small_tables, write_shop

Tables = dict[str, pl.DataFrame]
THEIRS = {
    "products": {"product_id": "SKU ID", "title": "Product Name", "price": "price_eur", "brand": "Manufacturer"},
    "users": {"user_id": "CustomerID"},
    "events": {"user_id": "customer_id", "product_id": "item_id", "timestamp": "ts", "event_type": "action"},
    "queries": {"query_id": "qid", "query": "search_term"},
    "judgments": {"query_id": "qid", "product_id": "item_id", "grade": "relevance"},
}


def foreign(base: Path, *, kind: str = "parquet") -> Path:
    """The small shop under names of its own, without a shop.toml."""
    tables = {name: frame.rename(THEIRS[name]) for name, frame in small_tables().items()}
    action = pl.col("action").replace({"add_to_cart": "addToCart", "purchase": "Transaction", "view": "page_view"})
    shop = write_shop(base / "their shop", tables | {"events": tables["events"].with_columns(action)}, kind=kind)
    (shop / "shop.toml").unlink()
    return shop


@pytest.mark.parametrize("kind", FORMATS)
def test_foreign_headers_are_read_as_they_are_meant(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = foreign(tmp_path, kind=kind)
    report = recsys(capsys, "doctor", shop, "--suggest-config", "--json").report
    assert report["config"] == str(shop / "shop.toml")
    assert report["look_at"] == []
    settings = tomllib.loads((shop / "shop.toml").read_text())
    assert settings["columns"] == THEIRS
    assert settings["event_types"] == {"addToCart": "add_to_cart", "Transaction": "purchase", "page_view": "view"}
    assert (settings["name"], settings["currency"]) == ("their-shop", "EUR")
    assert settings["judgments"] == {"max_grade": 3}
    plain = write_shop(
        tmp_path / "plain", small_tables(), toml='name = "their-shop"\ncurrency = "EUR"\n[judgments]\nmax_grade = 3\n'
    )
    made = [recsys(capsys, "features", one, "--json").report["snapshot_id"] for one in (shop, plain)]
    assert made[0] == made[1]


def test_a_shop_toml_that_stands_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = write_shop(tmp_path / "shop", small_tables())
    before = (shop / "shop.toml").read_text()
    done = recsys(capsys, "doctor", shop, "--suggest-config")
    assert done.code == 0, done.err
    assert (shop / "shop.toml").read_text() == before
    assert 'name = "shop"' in (shop / "shop.suggested.toml").read_text()
    assert "shop.suggested.toml" in done.out
    assert "Highest tier" in done.out


def events(tables: Tables, *changes: pl.Expr) -> Tables:
    return {"products": tables["products"], "events": tables["events"].with_columns(*changes)}


def settings_of(base: Path, tables: Tables, *, kind: str = "parquet") -> tuple[dict[str, object], tuple[str, ...]]:
    shop = write_shop(base / "shop", tables, toml="", kind=kind)
    suggestion = suggest(shop)
    return tomllib.loads(suggestion.text), suggestion.open_points


@pytest.mark.parametrize("kind", FORMATS)
def test_ranks_only_order(kind: str, tmp_path: Path) -> None:
    ranks = pl.int_range(pl.len()).over("user_id").alias("timestamp")
    settings, points = settings_of(tmp_path, events(small_tables(), ranks), kind=kind)
    assert settings["timestamps"] == "order"
    assert points == ()


def test_ranks_that_were_written_as_time_only_order_too(tmp_path: Path) -> None:
    ranks = pl.int_range(pl.len()).over("user_id").cast(pl.Datetime("us", "UTC")).alias("timestamp")
    assert settings_of(tmp_path, events(small_tables(), ranks))[0]["timestamps"] == "order"


@pytest.mark.parametrize(
    ("unit", "word"), [("s", "seconds"), ("ms", "milliseconds"), ("us", "microseconds"), ("ns", "nanoseconds")]
)
def test_seconds_since_1970_are_told_and_not_guessed(unit: str, word: str, tmp_path: Path) -> None:
    numbers = pl.col("timestamp").dt.epoch(unit)  # type: ignore[arg-type]
    settings, points = settings_of(tmp_path, events(small_tables(), numbers))
    assert "timestamps" not in settings
    assert len(points) == 1
    assert word in points[0].split()


def test_times_that_no_calendar_holds_are_left_out_of_sight(tmp_path: Path) -> None:
    odd = pl.when(pl.int_range(pl.len()) == 0).then(pl.lit(9 * 10**18)).otherwise(pl.col("timestamp").dt.epoch("us"))
    tables = events(small_tables(), odd.cast(pl.Datetime("us", "UTC")).alias("timestamp"))
    assert settings_of(tmp_path, tables) == ({"name": "shop"}, ())
    ranks = pl.Series("timestamp", [float("nan"), float("inf"), 7.0]).cast(pl.Float64)
    few = {**tables, "events": small_tables()["events"].head(3).with_columns(ranks)}
    assert settings_of(tmp_path / "few", few)[0]["timestamps"] == "order"


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_times_without_a_zone_ask_for_one(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    naive = pl.col("timestamp").dt.replace_time_zone(None)
    if kind == "csv":
        naive = naive.dt.to_string("%Y-%m-%d %H:%M:%S")
    settings, points = settings_of(tmp_path, events(small_tables(), naive), kind=kind)
    assert settings["timezone"] == "UTC"
    assert "UTC is a guess" in points[0]
    aware = settings_of(tmp_path / "aware", events(small_tables()), kind=kind)
    assert aware[0] == {"name": "shop"}


def test_an_age_limit_is_set_where_events_are_new(tmp_path: Path) -> None:
    shift = datetime.now(UTC) - timedelta(hours=1) - small_tables()["events"]["timestamp"].max()  # type: ignore[operator]
    settings, _ = settings_of(tmp_path, events(small_tables(), pl.col("timestamp") + shift))
    assert settings["quality"] == {"max_age_days": 3}


def test_currencies(tmp_path: Path) -> None:
    products = small_tables()["products"]
    one = products.with_columns(pl.lit("SEK").alias("currency"))
    two = one.with_columns(pl.when(pl.col("price") > 20).then(pl.lit("NOK")).otherwise("currency").alias("currency"))
    assert settings_of(tmp_path / "one", {"products": one})[0]["currency"] == "SEK"
    assert "currency" not in settings_of(tmp_path / "two", {"products": two})[0]


def test_what_nothing_is_known_of_is_told(tmp_path: Path) -> None:
    tables = small_tables()
    odd = pl.when(pl.col("event_type") == "view").then(pl.lit("wishlisted")).otherwise("event_type").alias("event_type")
    settings, points = settings_of(tmp_path, events(tables, odd))
    assert settings == {"name": "shop"}
    assert points == ("events.parquet: event types nobody here knows: wishlisted",)
    bare = tables["products"].select(pl.col("product_id").alias("zzz"), pl.col("title").alias("yyy"))
    text = suggest(write_shop(tmp_path / "bare", {"products": bare}, toml="")).text
    assert "# LOOK AT: products.parquet: no column looks like product_id (found zzz, yyy)" in text
    assert "# LOOK AT: products.parquet: no column looks like title" in text


def test_a_name_that_fits_needs_values_that_fit(tmp_path: Path) -> None:
    """A column called `price` by another name counts only if it holds numbers; each column is used once."""
    products = small_tables()["products"].drop("price").with_columns(pl.lit("on request").alias("amount"))
    settings, _ = settings_of(tmp_path, {"products": products.rename({"title": "name"})})
    assert settings["columns"] == {"products": {"title": "name"}}


@pytest.mark.parametrize("code", ["title", "a b", 'quo"te', "ünïcode", "back\\slash", "\U0001f6cb", "\x7f", "\x1b"])
def test_odd_names_of_columns_survive(code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    products = small_tables()["products"].with_columns(pl.lit(1).alias(f"{code} "))
    shop = write_shop(tmp_path / "shop", {"products": products})
    (shop / "shop.toml").unlink()
    assert recsys(capsys, "doctor", shop, "--suggest-config").code == 0


def test_signs_that_toml_escapes_in_its_own_way_survive(tmp_path: Path) -> None:
    """A picture is one character, not two halves; DEL has to be escaped; a comment holds no control character."""
    tables = small_tables()
    named = tables["products"].rename({"title": "Product Name \U0001f6cb", "brand": "brand\x7f"})
    kinds = pl.lit("\U0001f6d2 add").alias("event_type")
    settings, _ = settings_of(tmp_path, events(tables | {"products": named}, kinds))
    assert settings["columns"] == {"products": {"title": "Product Name \U0001f6cb", "brand": "brand\x7f"}}
    assert settings["event_types"] == {"\U0001f6d2 add": "add_to_cart"}
    settings, points = settings_of(tmp_path / "odd", events(tables, pl.lit("a\x00\x1bb").alias("event_type")))
    assert settings == {"name": "shop"}
    assert "a\x00\x1bb" in points[0]


@pytest.mark.parametrize(
    ("grades", "best"), [((1.0, float("nan")), 1), ((1.0, float("inf")), 1), ((1_234_567.5, 1.0), 1_234_567.5)]
)
def test_the_best_grade_is_a_number_with_all_its_digits(grades: tuple[float, ...], best: float, tmp_path: Path) -> None:
    tables = small_tables()
    graded = tables["judgments"].head(len(grades)).with_columns(pl.Series("grade", grades))
    settings, _ = settings_of(tmp_path, tables | {"judgments": graded})
    assert settings["judgments"] == {"max_grade": best}


@pytest.mark.parametrize("grade", [0.0, -1.0, float("nan")])
def test_without_a_grade_above_zero_none_is_written(grade: float, tmp_path: Path) -> None:
    tables = small_tables()
    graded = tables["judgments"].with_columns(pl.lit(grade).alias("grade"))
    assert "judgments" not in settings_of(tmp_path, tables | {"judgments": graded})[0]


def test_a_folder_called_as_nameless_shops_are_gives_no_name(tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "default", {"products": small_tables()["products"]}, toml="")
    assert "name" not in tomllib.loads(suggest(shop).text)


def test_folders_that_hold_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_tables()["products"].write_csv(tmp_path / "artikel.csv")
    done = recsys(capsys, "doctor", tmp_path, "--suggest-config")
    assert (done.code, len(done.lines)) == (1, 1)
    assert "has no table (found artikel.csv)" in done.err
    assert recsys(capsys, "doctor", tmp_path / "nowhere", "--suggest-config").code == 2


def test_every_event_type_is_known_by_several_names() -> None:
    assert set(EVENTS) == {kind.value for kind in EventType}
    found, unknown = guess_event_types(["ADD-TO-CART", "Order", "view", "refund", "mystery"])
    assert found == {"ADD-TO-CART": "add_to_cart", "Order": "purchase", "refund": "cancel"}
    assert unknown == ["mystery"]
    told = [name for names in EVENTS.values() for name in names.split()]
    assert len(told) == len(set(told))
    assert set(NAMES) == {"products", "users", "events", "queries", "judgments"}


def test_doctor_tells_what_is_missing(small_shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiers = {one["name"]: one for one in recsys(capsys, "doctor", small_shop, "--json").report["tiers"]}
    assert tiers["personalised"]["missing"] == 500 - 30
    assert tiers["lexical"]["missing"] == 0
    assert "missing" in recsys(capsys, "doctor", small_shop).out
