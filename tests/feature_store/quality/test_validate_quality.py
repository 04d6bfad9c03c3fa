"""What `recsys validate` says beyond the contract: drift, volume, freshness, references, repeats, damaged texts."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from feature_store.quality.encoding import TROUBLES
from tests.command import Done, recsys
from tests.shops import START, small_tables, write_shop

Tables = dict[str, pl.DataFrame]
NAME = 'name = "busy"\n[judgments]\nmax_grade = 3\n'
DAYS = 60


def busy_tables(*, days: int = DAYS, factor: float = 1.0, price: float = 1.0) -> Tables:
    """The small shop with 120 events a day from START on, `factor` times as many in the last ten days.

    Args:
        days: how many days.
        factor: how the last ten days differ.
        price: what all prices are multiplied by.
    """
    tables = small_tables()
    rows = []
    for day in range(days):
        count = int(120 * factor) if day >= DAYS - 10 else 120
        rows += [
            {
                "user_id": f"u{(step * 7 + day) % 30:02d}",
                "product_id": f"p{(step * 11 + day) % 40:02d}",
                "timestamp": START + timedelta(days=day, minutes=step * 1_430 // count),
                "event_type": ("view", "view", "view", "purchase")[step % 4],
                "quantity": 1.0,
                "order_id": f"o{day}-{step}" if step % 4 == 3 else None,
            }
            for step in range(count)
        ]
    products = pl.concat(
        tables["products"].with_columns(pl.format(f"{{}}-{copy}", "product_id").alias("product_id"))
        for copy in range(1, 8)
    )
    products = pl.concat([tables["products"], products]).with_columns(pl.col("price") * price)
    return tables | {"products": products, "events": pl.DataFrame(rows)}


def checked(capsys: pytest.CaptureFixture[str], shop: Path, *options: object) -> dict[str, Any]:
    done = recsys(capsys, "validate", shop, "--json", *options)
    assert done.code == 0, done.err
    quality: dict[str, Any] = done.report["quality"]
    return quality


def warned(quality: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["check"], one["about"]) for one in quality["warnings"]]


def with_snapshot(
    capsys: pytest.CaptureFixture[str], base: Path, tables: Tables, *options: str, toml: str = NAME
) -> Path:
    """A shop of which a snapshot stands in RECSYS_HOME."""
    shop = write_shop(base / "shop", tables, toml=toml)
    assert recsys(capsys, "features", shop, *options).code == 0
    return shop


def test_the_same_tables_have_not_moved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = with_snapshot(capsys, tmp_path, busy_tables())
    quality = checked(capsys, shop, "--strict")
    assert quality["warnings"] == []
    assert {(one["table"], one["column"]) for one in quality["drift"]} >= {
        ("products", "price"),
        ("products", "brand"),
        ("products", "title (characters)"),
        ("judgments", "grade"),
        ("events", "event_type"),
        ("events", "user known"),
    }
    assert {one["psi"] for one in quality["drift"]} == {0.0}
    assert {one["factor"] for one in quality["volume"]} == {1.0}


def test_without_a_snapshot_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = write_shop(tmp_path / "shop", busy_tables(), toml=NAME)
    assert checked(capsys, shop)["not_compared"] == {"all": "no earlier snapshot of this shop"}
    assert "no earlier snapshot of this shop" in recsys(capsys, "validate", shop).out
    other = write_shop(tmp_path / "other", busy_tables(), toml='name = "other"\n')
    recsys(capsys, "features", other)
    assert checked(capsys, shop)["snapshot"] is None


def test_a_nameless_shop_is_known_by_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = with_snapshot(capsys, tmp_path, busy_tables(), toml="")
    assert checked(capsys, shop)["snapshot"] is not None
    assert checked(capsys, write_shop(tmp_path / "twin", busy_tables(), toml=""))["snapshot"] is None


def test_an_event_of_the_year_one_is_told_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = small_tables()
    first = pl.when(pl.int_range(pl.len()) == 0).then(datetime(1, 1, 1, tzinfo=UTC)).otherwise("timestamp")
    events = tables["events"].with_columns(first.alias("timestamp"))
    shop = write_shop(tmp_path / "shop", tables | {"events": events}, toml=NAME)
    assert recsys(capsys, "validate", shop, "--page", tmp_path / "page.html").code == 0
    assert "0001-01-01: 1" in (tmp_path / "page.html").read_text()


def test_prices_that_doubled_are_drift_and_strict_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_snapshot(capsys, tmp_path, busy_tables())
    shop = write_shop(tmp_path / "shop", busy_tables(price=2.0), toml=NAME)
    quality = checked(capsys, shop)
    assert warned(quality) == [("drift", "products.price")]
    found = next(one for one in quality["drift"] if one["column"] == "price" and one["table"] == "products")
    assert found["exceeded"] == ["psi", "js", "ks"]
    strict = recsys(capsys, "validate", shop, "--strict")
    assert (strict.code, len(strict.lines)) == (1, 1)
    assert "drift: products.price: PSI" in strict.err
    assert "set the limits of [quality] in shop.toml" in strict.err
    assert "warning: drift: products.price: PSI" in recsys(capsys, "validate", shop).out
    wide = NAME + "[quality]\npsi = 99.0\njs = 1.0\nks = 1.0\n"
    assert warned(checked(capsys, write_shop(tmp_path / "shop", busy_tables(price=2.0), toml=wide), "--strict")) == []


def test_a_column_that_comes_or_goes_is_drift(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_snapshot(capsys, tmp_path, busy_tables())
    tables = busy_tables()
    shop = write_shop(tmp_path / "shop", tables | {"products": tables["products"].drop("price", "brand")}, toml=NAME)
    quality = checked(capsys, shop)
    assert warned(quality) == [("drift", "products.price"), ("drift", "products.brand")]
    assert quality["warnings"][0]["found"] == "has values on one side alone"


def test_new_events_are_compared_with_the_last_days(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A snapshot as of day 50; since then five times as many events, all at other hours, none of them a purchase."""
    until = (START + timedelta(days=DAYS - 10)).date().isoformat()
    shop = with_snapshot(capsys, tmp_path, busy_tables(), "--as-of", until)
    assert warned(checked(capsys, shop, "--strict")) == []
    tables = busy_tables(factor=5.0)
    late = pl.col("timestamp") >= START + timedelta(days=DAYS - 10)
    at_three = pl.col("timestamp").dt.truncate("1d").dt.offset_by("3h") + pl.duration(
        milliseconds=pl.int_range(pl.len())
    )
    events = tables["events"].with_columns(
        pl.when(late).then(pl.lit("view")).otherwise("event_type").alias("event_type"),
        pl.when(late).then(at_three).otherwise("timestamp"),
    )
    shop = write_shop(tmp_path / "shop", tables | {"events": events}, toml=NAME)
    quality = checked(capsys, shop)
    assert set(warned(quality)) == {
        ("drift", "events.event_type"),
        ("drift", "events.hour (UTC)"),
        ("volume", "events a day: view"),
        ("volume", "events a day: purchase"),
        ("freshness", "events of type purchase"),
    }
    rates = {one["of"]: one for one in quality["volume"]}
    assert rates["events a day: purchase"]["before"] == pytest.approx(30, rel=0.05)
    assert rates["events a day: purchase"]["now"] == 0
    assert rates["events a day: view"]["factor"] == pytest.approx(600 / 90, rel=0.15)


def test_too_few_new_events_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    until = (START + timedelta(days=DAYS - 1, hours=20)).isoformat()
    shop = with_snapshot(capsys, tmp_path, busy_tables(), "--as-of", until)
    quality = checked(capsys, shop)
    assert quality["not_compared"]["events"].endswith("events since the snapshot, at least 100 are compared")
    assert not [one for one in quality["drift"] if one["table"] == "events"]
    assert warned(quality) == []


def test_a_table_that_lost_its_rows_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_snapshot(capsys, tmp_path, busy_tables())
    tables = busy_tables()
    lost = tables | {"products": tables["products"].head(200), "judgments": tables["judgments"].head(20)}
    quality = checked(capsys, write_shop(tmp_path / "shop", lost, toml=NAME))
    volume = [one for one in warned(quality) if one[0] == "volume"]
    assert volume == [("volume", "products"), ("volume", "judgments")]
    assert "quality.max_drop 0.2" in recsys(capsys, "validate", tmp_path / "shop").out


def test_against_a_named_snapshot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = write_shop(tmp_path / "shop", busy_tables(), toml=NAME)
    recsys(capsys, "features", shop, "-o", tmp_path / "mine")
    report = recsys(capsys, "features", shop, "--split", "query-folds", "--json").report
    assert checked(capsys, shop)["snapshot"] == report["snapshot_id"]
    mine = json.loads((tmp_path / "mine" / "manifest.json").read_text())["snapshot_id"]
    assert checked(capsys, shop, "--against", tmp_path / "mine")["snapshot"] == mine
    done = recsys(capsys, "validate", shop, "--against", tmp_path / "nowhere")
    assert (done.code, len(done.lines)) == (1, 1)


def test_a_backfill_is_not_compared_with_what_came_later(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = with_snapshot(capsys, tmp_path, busy_tables())
    early = (START + timedelta(days=20)).isoformat()
    assert checked(capsys, shop, "--as-of", early)["snapshot"] is None
    report = recsys(capsys, "features", shop, "--as-of", early, "--json").report
    later = (START + timedelta(days=30)).isoformat()
    assert checked(capsys, shop, "--as-of", later)["snapshot"] == report["snapshot_id"]


def test_order_has_no_freshness_and_no_days(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toml = NAME.replace("\n[", '\ntimestamps = "order"\n[')
    quality = checked(capsys, with_snapshot(capsys, tmp_path, busy_tables(), toml=toml), "--strict")
    assert quality["freshness"] is None
    assert not [one for one in quality["volume"] if one["daily"]]
    assert not [one for one in quality["drift"] if "hour" in one["column"]]


def test_age_counts_from_as_of_and_warns_where_a_limit_is_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limited = NAME + "[quality]\nmax_age_days = 3\n"
    shop = write_shop(tmp_path / "shop", busy_tables(), toml=limited)
    last = busy_tables()["events"]["timestamp"].max()
    assert isinstance(last, datetime)
    soon, late = (last + timedelta(days=days) for days in (2, 4))
    fresh = checked(capsys, shop, "--as-of", soon.isoformat())
    assert fresh["freshness"]["age_days"] == pytest.approx(2.0)
    assert warned(fresh) == []
    assert warned(checked(capsys, shop, "--as-of", late.isoformat())) == [("freshness", "events")]
    assert ("freshness", "events") in warned(checked(capsys, shop))
    unlimited = write_shop(tmp_path / "free", busy_tables(), toml=NAME)
    assert warned(checked(capsys, unlimited)) == []


def test_a_kind_that_fell_silent_is_told_by_its_own_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = busy_tables()
    stops = START + timedelta(days=DAYS - 20)
    events = tables["events"].filter((pl.col("event_type") != "purchase") | (pl.col("timestamp") < stops))
    quality = checked(capsys, write_shop(tmp_path / "shop", tables | {"events": events}, toml=NAME))
    assert warned(quality) == [("freshness", "events of type purchase")]
    kinds = {one["event_type"]: one for one in quality["freshness"]["kinds"]}
    assert kinds["purchase"]["overdue"] == pytest.approx(20 * 30, rel=0.05)
    assert kinds["view"]["overdue"] == 0.0


def test_references_and_repeats_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = small_tables()
    events, judgments = tables["events"], tables["judgments"]
    foreign = events.head(4).with_columns(user_id=pl.lit("stranger"))
    asked = events.head(3).with_columns(pl.lit("q99").alias("query_id"), pl.lit("o1").alias("order_id"))
    nowhere = events.head(2).with_columns(product_id=pl.lit("nothing"))
    again = judgments.head(2).with_columns(pl.lit(3.0).alias("grade"))
    queries = pl.concat(
        [tables["queries"], pl.DataFrame({"query_id": ["q50", "q51"], "query": ["BLUE sofa ", "a word nobody typed"]})]
    )
    products = tables["products"].with_columns(
        pl.when(pl.col("product_id") == "p01").then(pl.lit("Blue sofa 0")).otherwise("title").alias("title")
    )
    new = tables | {
        "events": pl.concat([events, foreign, asked, nowhere, events.head(5)], how="diagonal"),
        "judgments": pl.concat([judgments, again, judgments.slice(2, 1)]),
        "queries": queries,
        "products": products,
    }
    quality = checked(capsys, write_shop(tmp_path / "shop", new))
    found = {(one["table"], one["rule"]): (one["rows"], one["of"], one["set_aside"]) for one in quality["references"]}
    held = events.height + 4 + 3 + 5
    assert found["events", "product unknown"] == (2, held + 2, True)
    assert found["events", "user not in users"] == (4, held, False)
    assert found["events", "query_id not in queries"] == (3, 3, False)
    assert found["events", "exact copy of another event"] == (5, held, False)
    assert found["judgments", "pair judged several times"] == (3, judgments.height, False)
    assert (
        found["judgments", "pair with several grades"][0]
        == again.filter(pl.col("grade") != judgments.head(2)["grade"]).height
    )
    assert found["queries", "text of another query, too"] == (2, 14, False)
    assert found["queries", "query without judgments"] == (2, 14, False)
    assert found["products", "title of another product, too"] == (2, 40, False)
    owners = asked.filter(pl.col("user_id").is_not_null())["user_id"].n_unique()
    assert found["events", "order of several users"] == (int(owners > 1), 1, False)
    known = set(events["product_id"])
    assert found["products", "product without events"][0] == 40 - len(known)
    assert ("references", "events") in warned(quality)


TEXTS = {
    "mojibake": ["CafÃ© crÃ¨me", "donâ€™t", "10 Â°C", "Ð¿Ñ€Ð¸Ð²ÐµÑ‚", "ï»¿first", "Ã¼ber", "MÃ\u00a0laga"],
    "replacement_characters": ["caf\ufffd"],
    "control_characters": ["line\u0007bell", "nul\u0000", "csi\u009b"],
    "html_entities": ["Black &amp; Decker", "caf&eacute;", "5&#8243; pipe", "&#x27;quoted&#x27;", "a&nbsp;b"],
}
FINE = [
    "SÃO PAULO",
    "Âge d'or",
    "Ñandú",
    "AT&T",
    "R&D; B&B",
    "tab\tand\nline",
    "Crème brûlée – 5 €",
    "ÅÄÖ",
    "Привет",
    "日本",
]


@pytest.mark.parametrize("trouble", TROUBLES)
def test_damaged_texts_are_found_and_fine_ones_are_not(trouble: str) -> None:
    texts = pl.Series(TEXTS[trouble])
    assert texts.str.contains(TROUBLES[trouble]).all()
    assert not pl.Series(FINE).str.contains(TROUBLES[trouble]).any()
    others = [text for name, some in TEXTS.items() if name != trouble for text in some]
    assert not pl.Series(others).str.contains(TROUBLES[trouble]).any() or trouble == "control_characters"


def damaged(base: Path) -> Path:
    tables = small_tables()
    place = pl.int_range(pl.len())
    products = tables["products"].with_columns(
        pl.when(place == 3)
        .then(pl.lit("SecretÃ© sofa"))
        .when(place == 5)
        .then(pl.lit("Lamp &amp; <b>Shade</b>"))
        .otherwise("title")
        .alias("title")
    )
    return write_shop(base / "damaged", tables | {"products": products})


def test_damaged_texts_are_counted_and_shown_on_the_page_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop, page = damaged(tmp_path), tmp_path / "page.html"
    done = recsys(capsys, "validate", shop, "--json", "--page", page)
    encoding = {
        (one["column"], one["trouble"]): (one["rows"], one["filled"]) for one in done.report["quality"]["encoding"]
    }
    assert encoding == {("title", "mojibake"): (1, 40), ("title", "html_entities"): (1, 40)}
    people = recsys(capsys, "validate", shop)
    assert "products.title: mojibake in 1 of 40 texts" in people.out
    for said in (done.out, done.err, people.out, people.err):
        assert "Secret" not in said
        assert "Shade" not in said
    text = page.read_text(encoding="utf-8")
    assert "SecretÃ© sofa" in text
    assert "&amp;amp; &lt;b&gt;Shade" in text
    assert "<b>Shade" not in text


def outside(text: str) -> list[str]:
    """Whatever a page would fetch or run."""
    return [mark for mark in ("<script", "http://", "https://", "src=", "@import", "url(", "<link") if mark in text]


def test_the_page_stands_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    until = (START + timedelta(days=DAYS - 10)).date().isoformat()
    with_snapshot(capsys, tmp_path, busy_tables(), "--as-of", until)
    tables = busy_tables(price=3.0)
    odd = tables["events"].head(3).with_columns(product_id=pl.lit("<i>x</i>"))
    shop = write_shop(tmp_path / "shop", tables | {"events": pl.concat([tables["events"], odd])}, toml=NAME)
    page = tmp_path / "page.html"
    report = recsys(capsys, "validate", shop, "--json", "--page", page).report
    assert report["page"] == str(page)
    text = page.read_text(encoding="utf-8")
    assert outside(text) == []
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    assert text.count("<svg") >= 5
    for words in ("products.price", "events: product unknown", "events a day: view", "Overdue", "PSI"):
        assert words in text
    bare = write_shop(tmp_path / "bare", {"products": small_tables()["products"]}, toml="")
    assert recsys(capsys, "validate", bare, "--page", tmp_path / "bare.html").code == 0
    assert "Not measured: there is no earlier snapshot" in (tmp_path / "bare.html").read_text(encoding="utf-8")


def test_the_sample_is_fit_for_strict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recsys(capsys, "sample", tmp_path / "sample", "--products", 80, "--users", 40)
    recsys(capsys, "features", tmp_path / "sample", "--as-of", "2024-11-15")
    done: Done = recsys(
        capsys, "validate", tmp_path / "sample", "--strict", "--as-of", datetime(2024, 12, 26, tzinfo=UTC).isoformat()
    )
    assert done.code == 0, done.err
