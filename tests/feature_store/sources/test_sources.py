"""Each public data set from a few rows in its original format to a shop that holds."""

import importlib.util
import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from feature_store.sources.esci import GRADES as ESCI_GRADES
from feature_store.sources.registry import PUBLIC_SETS
from feature_store.sources.wands import GRADES as WANDS_GRADES
from tests.command import Done, recsys
from tests.feature_store.sources import raw_files
from tests.feature_store.sources.raw_files import RAW, RETAIL, RETAIL_NAMES, write


def imported(capsys: pytest.CaptureFixture[str], name: str, base: Path, *options: str) -> tuple[Done, Path]:
    raw = base / "raw"
    RAW[name](raw)
    done = recsys(capsys, "import", name, raw, base / "shop", "--json", *options)
    assert done.code == 0, done.err
    return done, base / "shop"


def rows(shop: Path, table: str, *columns: str) -> list[tuple[object, ...]]:
    return pl.read_parquet(shop / f"{table}.parquet").select(columns).rows()


@pytest.mark.parametrize("name", PUBLIC_SETS)
def test_every_set_becomes_a_shop_that_the_other_commands_read(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done, shop = imported(capsys, name, tmp_path)
    source = PUBLIC_SETS[name]
    settings = tomllib.loads((shop / "shop.toml").read_text())
    text = (shop / "shop.toml").read_text()
    assert settings["name"] == name
    assert source.licence in text
    assert source.documentation in text
    assert done.report["rows"] == {
        table: pl.read_parquet(shop / f"{table}.parquet").height for table in done.report["rows"]
    }
    made = json.loads((shop / "import.json").read_text())
    assert made["state"] == source.state
    assert all(len(file["sha256"]) == 64 and file["bytes"] > 0 for file in made["files"].values())
    assert recsys(capsys, "doctor", shop, "--json").report["tiers"][0]["found"] > 0
    assert recsys(capsys, "features", shop, "--json", "-o", tmp_path / "snapshot").code == 0
    again = recsys(capsys, "import", name, tmp_path / "raw", shop, "--json")
    assert (again.code, json.loads((shop / "import.json").read_text())) == (0, made)


def test_nothing_claims_to_have_seen_the_originals() -> None:
    assert not any(one.verified for one in PUBLIC_SETS.values())
    assert all(one.state.startswith("written from its documentation (https://") for one in PUBLIC_SETS.values())
    assert all(one.licence and one.instructions and one.link.startswith("https://") for one in PUBLIC_SETS.values())


def test_wands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done, shop = imported(capsys, "wands", tmp_path)
    assert WANDS_GRADES == {"Exact": 2.0, "Partial": 1.0, "Irrelevant": 0.0}
    assert rows(shop, "judgments", "query_id", "product_id", "grade") == [
        ("0", "1", 2.0),
        ("0", "0", 0.0),
        ("1", "0", 1.0),
    ]
    first, second = pl.read_parquet(shop / "products.parquet").rows(named=True)
    assert first["category"] == "Furniture > Bedroom Furniture > Beds"
    assert json.loads(first["attributes"]) == {
        "overallwidth-sidetoside": "64.7",
        "dsprimaryproductstyle": ["modern", "rustic"],
    }
    assert (first["rating"], first["rating_count"]) == (4.5, 15)
    assert (second["title"], second["attributes"], second["rating"]) == ('chair, "oak" 18" tall', None, None)
    assert tomllib.loads((shop / "shop.toml").read_text())["judgments"]["max_grade"] == 2
    assert "grades: Exact 2, Partial 1, Irrelevant 0" in done.report["notes"]


def test_esci_has_one_mapping_of_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of the labels, by equal steps; printed, in shop.toml and in the manifest."""
    assert ESCI_GRADES == {"E": 3.0, "S": 2.0, "C": 1.0, "I": 0.0}
    _, shop = imported(capsys, "esci", tmp_path)
    assert dict(rows(shop, "judgments", "esci_label", "grade")) == ESCI_GRADES  # type: ignore[arg-type]
    told = "grades: Exact 3, Substitute 2, Complement 1, Irrelevant 0"
    assert told in (shop / "shop.toml").read_text()
    assert told in json.loads((shop / "import.json").read_text())["notes"]
    people = recsys(capsys, "import", "esci", tmp_path / "raw", shop)
    assert told in people.out
    assert tomllib.loads((shop / "shop.toml").read_text())["judgments"]["max_grade"] == 3


@pytest.mark.parametrize(
    ("options", "products", "judgments"),
    [
        ((), {"B01", "B02", "B03", "B04", "B05"}, 4),
        (("--set", "edition=small"), {"B01", "B02", "B03", "B04", "B05"}, 4),
        (("--set", "locale=es"), {"B01"}, 1),
        (("--set", "locale=all"), {"us:B01", "us:B02", "us:B03", "us:B04", "us:B05", "es:B01"}, 5),
    ],
)
def test_esci_by_marketplace_and_edition(
    options: tuple[str, ...], products: set[str], judgments: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done, shop = imported(capsys, "esci", tmp_path, *options)
    assert {one for (one,) in rows(shop, "products", "product_id")} == products
    assert done.report["rows"]["judgments"] == judgments
    texts = dict(rows(shop, "products", "product_id", "description"))
    if "B02" in products:
        assert texts["B02"] == "<p>seven</p>\nfast"
        assert texts["B03"] is None


def test_amazon_2014_reads_literals_and_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done, shop = imported(capsys, "amazon-2014", tmp_path)
    columns = ("product_id", "title", "category", "price", "brand")
    assert rows(shop, "products", *columns)[:2] == [
        ("0000031852", "Girl's Ballet & Tutu", "Sports & Outdoors > Other Sports > Dance", 3.17, "Coxlures"),
        ("B002", "Lamp", None, None, None),
    ]
    assert rows(shop, "products", "product_id", "unreadable_line")[2] == (None, "{'asin': __import__('os').getcwd()}")
    reasons = {one["table"]: one["reasons"] for one in done.report["validation"]["tables"]}
    assert reasons["products"] == {"product_id missing": 1}
    assert rows(shop, "events", "user_id", "timestamp", "event_type", "value")[0] == (
        *("A2", datetime(2009, 9, 13, tzinfo=UTC), "purchase", 5.0),
    )


def test_amazon_2014_full_reviews_are_literals_too_and_ratings_have_no_header(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = raw_files.amazon_2014(tmp_path / "raw")
    strict = recsys(capsys, "import", "amazon-2014", raw, tmp_path / "strict").code
    (raw / "reviews_Beauty_5.json.gz").unlink()
    loose = "{'reviewerID': 'A2', 'asin': 'B002', 'helpful': [0, 0], 'overall': 4.0, 'unixReviewTime': 1252800000}\n"
    write(raw / "reviews_Beauty.json", loose)
    assert recsys(capsys, "import", "amazon-2014", raw, tmp_path / "loose").code == strict == 0
    (raw / "reviews_Beauty.json").unlink()
    write(raw / "ratings_Beauty.csv", "A2,B002,4.0,1252800000\n")
    assert recsys(capsys, "import", "amazon-2014", raw, tmp_path / "ratings").code == 0
    found = [
        rows(tmp_path / name, "events", "user_id", "product_id", "timestamp", "value") for name in ("loose", "ratings")
    ]
    assert found[0] == found[1] == [("A2", "B002", datetime(2009, 9, 13, tzinfo=UTC), 4.0)]


def test_amazon_2018(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done, shop = imported(capsys, "amazon-2018", tmp_path)
    assert rows(shop, "products", "product_id", "title", "category", "price", "image_url", "description")[:3] == [
        ("B1", "Cream", "Beauty > Skin & Care", 1012.99, None, "soft\n50 ml"),
        ("B2", None, None, None, None, None),
        ("B3", "Soap", "Beauty", None, "https://e.com/3.jpg", None),
    ]
    reasons = {one["table"]: one["reasons"] for one in done.report["validation"]["tables"]}
    assert reasons["products"] == {"product_id twice": 1, "title missing": 1}
    assert reasons["events"] == {"product unknown": 1}
    assert rows(shop, "events", "timestamp", "verified")[0] == (datetime(2015, 9, 20, tzinfo=UTC), "true")


def test_amazon_2023(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, shop = imported(capsys, "amazon-2023", tmp_path)
    assert rows(shop, "products", "product_id", "category", "price", "brand", "rating", "rating_count") == [
        ("P1", "All Beauty", 12.5, "Howard", 4.8, 10),
        ("P2", "Beauty > Masks", None, None, None, None),
        ("P3", "Beauty", None, None, None, None),
    ]
    first = pl.read_parquet(shop / "products.parquet").row(0, named=True)
    assert (first["description"], first["attributes"]) == ("d1\nd2\nf1", '{"Color": "blue"}')
    assert first["image_url"] == "https://e.com/l.jpg"
    assert rows(shop, "events", "product_id", "timestamp", "asin")[0] == (
        *("P1", datetime(2020, 5, 5, 14, 8, 48, 923_000, tzinfo=UTC), "V1"),
    )
    raw = tmp_path / "raw"
    (raw / "All_Beauty.jsonl").unlink()
    write(raw / "All_Beauty.csv", "user_id,parent_asin,rating,timestamp\nAG,P1,5.0,1588687728923\n")
    assert recsys(capsys, "import", "amazon-2023", raw, tmp_path / "ratings").code == 0
    assert rows(tmp_path / "ratings", "events", "user_id", "product_id", "timestamp", "value") == [
        ("AG", "P1", datetime(2020, 5, 5, 14, 8, 48, 923_000, tzinfo=UTC), 5.0)
    ]


def test_online_retail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done, shop = imported(capsys, "online-retail", tmp_path)
    columns = ("user_id", "product_id", "timestamp", "event_type", "order_id", "quantity")
    found = rows(shop, "events", *columns)
    assert found[0] == ("17850", "85123A", datetime(2010, 12, 1, 8, 26, tzinfo=UTC), "purchase", "536365", 6.0)
    summer = datetime(2011, 7, 1, 8, 41, tzinfo=UTC)
    assert found[3] == ("17850", "85123A", summer, "cancel", "C536379", 1.0)
    assert found[5][0] is None
    assert rows(shop, "products", "product_id", "title", "price", "service") == [
        ("71053", "white metal lantern", 3.39, False),
        ("85123A", "WHITE HANGING HEART", 2.95, False),
        ("POST", "POSTAGE", 18.0, True),
    ]
    assert any("POST (POSTAGE)" in note for note in done.report["notes"])
    reasons = {one["table"]: one["reasons"] for one in done.report["validation"]["tables"]}
    assert reasons["events"] == {"purchase quantity not above 0": 1}
    assert rows(shop, "users", "user_id", "country") == [("12583", "France"), ("17850", "United Kingdom")]


@pytest.mark.parametrize("clock", ["%Y-%m-%d %H:%M:%S", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M"])
def test_online_retail_as_csv_by_any_clock(clock: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """UCI's own CSV has the month first; days above 12 tell which is which."""
    late = ("536400", "71053", "white metal lantern", 1, "2011-11-25 10:00:00", 3.39, 17850.0, "United Kingdom")
    frame = pl.DataFrame([*RETAIL, late], schema=list(RETAIL_NAMES), orient="row", strict=False)
    written = frame.with_columns(pl.col("InvoiceDate").str.to_datetime().dt.to_string(clock))
    (tmp_path / "raw").mkdir()
    written.write_csv(tmp_path / "raw" / "data.csv")
    assert recsys(capsys, "import", "online-retail", tmp_path / "raw", tmp_path / "shop").code == 0
    _, original = imported(capsys, "online-retail", tmp_path / "excel")
    columns = ("user_id", "product_id", "timestamp", "event_type", "order_id", "quantity", "price")
    assert rows(tmp_path / "shop", "events", *columns)[:-1] == rows(original, "events", *columns)


def test_the_second_edition_counts_days_in_both_sheets_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, shop = imported(capsys, "online-retail-ii", tmp_path)
    orders = [order for (order,) in rows(shop, "events", "order_id")]
    assert orders == ["489434", *(line[0] for line in RETAIL)]


def test_an_excel_file_without_its_reader_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = importlib.util.find_spec
    monkeypatch.setattr(
        "feature_store.sources.online_retail.find_spec", lambda name: None if name == "fastexcel" else known(name)
    )
    raw = RAW["online-retail"](tmp_path / "raw")
    done = recsys(capsys, "import", "online-retail", raw, tmp_path / "shop")
    assert (done.code, len(done.lines)) == (1, 1)
    assert "pip install 'shoprank[excel]'" in done.err


def test_instacart_only_orders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, shop = imported(capsys, "instacart", tmp_path)
    assert rows(shop, "events", "user_id", "product_id", "timestamp", "order_id") == [
        ("1", "7", 10_001, "20"),
        ("1", "1", 10_002, "20"),
        ("1", "7", 20_001, "21"),
    ]
    assert rows(shop, "products", "title", "category") == [
        ("Cookies, choc", "snacks > cookies cakes"),
        ("Salt", "pantry"),
    ]
    assert tomllib.loads((shop / "shop.toml").read_text())["timestamps"] == "order"
    split = recsys(capsys, "features", shop, "--json").report["split"]
    assert split["kind"] == "leave-one-out"


def test_retailrocket(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, shop = imported(capsys, "retailrocket", tmp_path)
    assert rows(shop, "products", "product_id", "title", "category", "in_stock") == [
        ("248676", "product 248676", "5 > 213 > 1016", False),
        ("355908", "product 355908", None, None),
        ("9", "product 9", "5 > 213", None),
    ]
    kinds = rows(shop, "events", "event_type", "order_id")
    assert kinds == [("view", None), ("add_to_cart", None), ("purchase", "4000")]
    assert rows(shop, "events", "timestamp")[0] == (datetime(2015, 6, 2, 5, 2, 12, 117_000, tzinfo=UTC),)


def test_a_category_tree_that_closes_a_circle_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = RAW["retailrocket"](tmp_path / "raw")
    write(raw / "category_tree.csv", "categoryid,parentid\n1016,213\n213,1016\n")
    assert recsys(capsys, "import", "retailrocket", raw, tmp_path / "shop").code == 0
    assert dict(rows(tmp_path / "shop", "products", "product_id", "category"))["248676"] == "213 > 1016"


def test_hm_keeps_the_leading_zero_and_equal_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, shop = imported(capsys, "hm", tmp_path)
    product = pl.read_parquet(shop / "products.parquet").row(0, named=True)
    assert (product["product_id"], product["group_id"], product["title"]) == ("0108775015", "0108775", "Strap top")
    assert product["category"] == "Ladieswear > Womens Everyday Basics > Garment Upper body > Vest top"
    assert json.loads(product["attributes"])["colour"] == "Black"
    assert rows(shop, "events", "product_id", "timestamp") == [("0108775015", datetime(2018, 9, 20, tzinfo=UTC))] * 2
    assert rows(shop, "users", "user_id", "segment") == [("00dbacae", "ACTIVE"), ("0000423b", None)]
    assert "52043ee2" not in "".join(str(row) for row in rows(shop, "users", "user_id", "segment", "attributes"))


def test_movielens_in_both_forms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, shop = imported(capsys, "movielens", tmp_path)
    assert rows(shop, "products", "product_id", "title", "category") == [
        ("1", "Toy Story (1995)", "Adventure"),
        ("11", "American President, The (1995)", None),
    ]
    assert rows(shop, "events", "timestamp", "value")[0] == (datetime(2006, 5, 17, 15, 34, 4, tzinfo=UTC), 4.5)
    older = raw_files.movielens_1m(tmp_path / "older")
    assert recsys(capsys, "import", "movielens", older, tmp_path / "old").code == 0
    assert rows(tmp_path / "old", "products", "title", "category") == [
        ("Toy Story (1995)", "Animation"),
        ("Misérables, Les", "Drama"),
    ]
    assert rows(tmp_path / "old", "events", "user_id", "product_id", "timestamp", "value")[0] == (
        *("1", "73", datetime(2000, 12, 31, 22, 12, 40, tzinfo=UTC), 5.0),
    )
    write(older / "ml-1m" / "movies.dat", "1::Toy Story (1995)::Animation\n73::Misérables, Les::Drama\n")
    assert recsys(capsys, "import", "movielens", older, tmp_path / "utf8").code == 0
    assert rows(tmp_path / "utf8", "products", "title")[1] == ("Misérables, Les",)
    assert json.loads(str(rows(tmp_path / "old", "users", "attributes")[0][0])) == {
        "gender": "F",
        "age": "1",
        "occupation": "10",
    }


def test_own_columns_that_hold_nothing_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, shop = imported(capsys, "amazon-2018", tmp_path)
    assert pl.read_parquet_schema(shop / "products.parquet").keys().isdisjoint({"unreadable_line"})
    assert "verified" in pl.read_parquet_schema(shop / "events.parquet")
    raw = tmp_path / "raw"
    (raw / "All_Beauty_5.json.gz").unlink()
    write(raw / "All_Beauty.csv", "B1,U1,4.0,1442707200\n")
    assert recsys(capsys, "import", "amazon-2018", raw, tmp_path / "ratings").code == 0
    assert "verified" not in pl.read_parquet_schema(tmp_path / "ratings" / "events.parquet")
    assert rows(tmp_path / "ratings", "events", "product_id", "user_id", "value") == [("B1", "U1", 4.0)]


def refused(done: Done, *, code: int, says: str) -> None:
    assert done.code == code
    assert len(done.lines) == 1, done.err
    assert says in done.err
    assert done.err.count(";") >= 2


def test_wrong_usage_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = RAW["wands"](tmp_path / "raw")
    shop = tmp_path / "shop"
    refused(recsys(capsys, "import", "netflix", raw, shop), code=2, says="no data set `netflix`; expected one of wands")
    refused(recsys(capsys, "import", "wands", raw), code=2, says="too few arguments")
    refused(recsys(capsys, "import"), code=2, says="too few arguments")
    refused(recsys(capsys, "import", "wands", tmp_path / "nowhere", shop), code=2, says="is no folder")
    refused(
        recsys(capsys, "import", "wands", raw, shop, "--set", "locale=us"), code=2, says="wands has no option locale"
    )
    raw = RAW["esci"](tmp_path / "esci")
    refused(recsys(capsys, "import", "esci", raw, shop, "--set", "locale=fr"), code=2, says="one of us, es, jp, all")
    refused(
        recsys(capsys, "import", "hm", raw, "--download"), code=2, says="hm has no address that anyone may download"
    )
    refused(
        recsys(capsys, "import", "movielens", raw, "--download", "--set", "variant=x"), code=2, says="ml-25m, ml-32m"
    )
    write(shop / "letter.txt", "dear")
    refused(recsys(capsys, "import", "esci", raw, shop), code=2, says="holds other files")


def test_raw_files_that_are_missing_twice_or_of_another_edition_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, shop = RAW["wands"](tmp_path / "raw"), tmp_path / "shop"
    write(raw / "older" / "query.csv", "query_id\tquery\n")
    refused(recsys(capsys, "import", "wands", raw, shop), code=1, says="dataset/query.csv and older/query.csv")
    (raw / "older" / "query.csv").unlink()
    write(raw / "dataset" / "label.csv", "query_id,product_id,label\n0,1,Exact\n")
    refused(recsys(capsys, "import", "wands", raw, shop), code=1, says="label.csv has no column query_id")
    (raw / "dataset" / "label.csv").unlink()
    refused(recsys(capsys, "import", "wands", raw, shop), code=1, says="has no file label.csv")
    broken = RAW["amazon-2023"](tmp_path / "broken")
    write(broken / "All_Beauty.jsonl", '{"rating": 5.0, \n')
    refused(recsys(capsys, "import", "amazon-2023", broken, shop), code=1, says="can't be read")
    assert not shop.exists()


def test_the_list_for_people_and_machines(capsys: pytest.CaptureFixture[str]) -> None:
    listed = recsys(capsys, "import", "--list", "--json").report["sets"]
    assert {one["name"] for one in listed} == set(PUBLIC_SETS) == set(RAW)
    people = recsys(capsys, "import", "--list").out
    assert all(name in people for name in PUBLIC_SETS)
    assert "none on the original files" in people


def test_tests_write_what_they_say(tmp_path: Path) -> None:
    """The workbook by hand is one that its reader takes as Excel's own: numbers, dates and text."""
    raw = RAW["online-retail"](tmp_path)
    frame = pl.read_excel(raw / "Online Retail.xlsx", engine="calamine")
    assert frame.schema["InvoiceDate"] == pl.Datetime("ms")
    assert frame.schema["Quantity"].is_numeric()
