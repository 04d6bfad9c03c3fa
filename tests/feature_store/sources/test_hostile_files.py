"""Raw files as a hostile hand leaves them: no line makes an import fail with a trace, none is lost in silence."""

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from tests.command import recsys
from tests.feature_store.sources.raw_files import RAW, write

ODD = {
    "a number that no float holds": '"price": ' + "9" * 400,
    "a count that 64 bits don't hold": '"rating_number": ' + "9" * 30,
    "a count as text": '"rating_number": "12"',
    "a count with a fraction": '"rating_number": 1.5',
    "half a character": r'"description": "a \ud800 b"',
    "half a character in details": r'"details": {"\ud800": "\ud801"}',
    "NUL": r'"description": "a\u0000b"',
    "a number for a list": '"images": 5, "categories": 5, "category": 5, "imageURL": 5',
    "true for a list": '"images": true, "categories": true, "category": true',
    "numbers in lists": '"imageURLHighRes": [5], "images": [5], "categories": [5], "category": [5]',
    "an object for text": '"description": {"a": 1}, "store": {"a": 1}, "brand": {"a": 1}',
    "NaN": '"average_rating": NaN, "rating_number": NaN, "price": NaN',
}
DEEP = "[" * 100_000


@pytest.mark.parametrize("name", ["amazon-2014", "amazon-2018", "amazon-2023"])
def test_odd_values_become_missing_ones_and_the_product_stays(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, shop = RAW[name](tmp_path / "raw"), tmp_path / "shop"
    meta = next(raw.glob("meta_*.gz"))
    lines = gzip.decompress(meta.read_bytes()).decode()
    for place, odd in enumerate(ODD.values()):
        lines += f'{{"asin": "odd{place}", "parent_asin": "odd{place}", "title": "half \\ud800", {odd}}}\n'
    lines += '{"asin": 12, "parent_asin": 12, "title": "a number for an id"}\n'
    lines += '{"asin": ["x"], "parent_asin": {"x": 1}, "title": "no id"}\n' + DEEP + "\n"
    meta.write_bytes(gzip.compress(lines.encode()))
    done = recsys(capsys, "import", name, raw, shop, "--json")
    assert done.code == 0, done.err
    products = pl.read_parquet(shop / "products.parquet")
    odd_ones = products.filter(pl.col("product_id").str.starts_with("odd").fill_null(value=False))
    assert odd_ones.height == len(ODD)
    assert set(odd_ones["title"]) == {"half \ufffd"}
    assert "12" in products["product_id"]
    assert products["unreadable_line"].drop_nulls().to_list()[-1] == DEEP[:500]


def test_instants_that_no_calendar_holds_are_set_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw, shop = RAW["movielens"](tmp_path / "raw"), tmp_path / "shop"
    ratings = next(raw.rglob("ratings.csv"))
    film = ratings.read_text().splitlines()[1].split(",")[1]
    odd = ("18446744073709", "9223372036854775807", "1e300", "nan", "inf", "-1e15", "soon", "")
    ratings.write_text(ratings.read_text() + "".join(f"9,{film},5.0,{time}\n" for time in odd))
    done = recsys(capsys, "import", "movielens", raw, shop, "--json")
    assert done.code == 1 or done.report["validation"]["tables"]
    times = pl.read_parquet(shop / "events.parquet").filter(pl.col("user_id") == "9")["timestamp"]
    assert times.null_count() == len(odd)


def test_what_is_hidden_beside_raw_files_is_no_raw_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw, shop = RAW["amazon-2018"](tmp_path / "raw"), tmp_path / "shop"
    write(raw / "__MACOSX" / "meta_All_Beauty.json", "\x00\x05")
    write(raw / "._All_Beauty_5.json", "\x00\x05")
    write(raw / ".trash" / "All_Beauty.json", "\x00\x05")
    done = recsys(capsys, "import", "amazon-2018", raw, shop, "--json")
    assert done.code == 0, done.err
    assert set(json.loads((shop / "import.json").read_text())["files"]) == {
        "meta_All_Beauty.json.gz",
        "All_Beauty_5.json.gz",
    }


def test_files_of_one_name_in_two_folders_are_both_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw, shop = RAW["amazon-2023"](tmp_path / "raw"), tmp_path / "shop"
    RAW["amazon-2023"](raw / "again")
    assert recsys(capsys, "import", "amazon-2023", raw, shop).code == 0
    assert len(json.loads((shop / "import.json").read_text())["files"]) == 4


@pytest.mark.parametrize("out", ["raw", "raw/shop", "."])
def test_raw_files_and_shop_stay_apart(
    out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    RAW["wands"](tmp_path / "raw")
    before = sorted(tmp_path.rglob("*"))
    done = recsys(capsys, "import", "wands", "raw", out)
    assert (done.code, len(done.lines)) == (2, 1)
    assert "lie in one another" in done.err
    assert sorted(tmp_path.rglob("*")) == before


def test_what_a_person_changed_in_an_import_is_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, shop = RAW["wands"](tmp_path / "raw"), tmp_path / "shop"
    assert recsys(capsys, "import", "wands", raw, shop).code == 0
    assert recsys(capsys, "import", "wands", raw, shop).code == 0
    write(shop / "users.csv", "user_id\nu1\n")
    done = recsys(capsys, "import", "wands", raw, shop)
    assert (done.code, len(done.lines)) == (2, 1)
    (shop / "users.csv").unlink()
    config = (shop / "shop.toml").read_text() + "[quality]\npsi = 1.0\n"
    (shop / "shop.toml").write_text(config)
    done = recsys(capsys, "import", "wands", raw, shop)
    assert (done.code, len(done.lines)) == (2, 1)
    assert (shop / "shop.toml").read_text() == config


DAMAGED = (
    ("retailrocket", "category_tree.csv", b"\xff\n"),
    ("retailrocket", "category_tree.csv", b'"1,2\n'),
    ("online-retail", "Online Retail.xlsx", None),
    ("instacart", "aisles.csv", b"\xff,\xff\n"),
    ("movielens", "ratings.csv", b"1,2,3,4,5,6\n"),
    ("amazon-2014", "meta_Beauty.json.gz", None),
    ("amazon-2018", "All_Beauty_5.json.gz", None),
    ("amazon-2023", "meta_All_Beauty.jsonl.gz", None),
)


@pytest.mark.parametrize(("name", "file", "added"), DAMAGED)
def test_damaged_files_are_one_line_and_leave_nothing(
    name: str, file: str, added: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bytes that are no UTF-8, quotes that stay open, rows too long; where nothing is added, the file was cut."""
    raw = RAW[name](tmp_path / "raw")
    place = next(raw.rglob(file))
    content = place.read_bytes()
    place.write_bytes(content[: len(content) // 2] if added is None else content + added)
    done = recsys(capsys, "import", name, raw, tmp_path / "shop")
    assert (done.code, len(done.lines)) == (1, 1)
    assert "can't be read" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


COLUMNS = (
    ("wands", "product.csv", "product_description", "\t"),
    ("hm", "articles.csv", "detail_desc", ","),
    ("hm", "transactions_train.csv", "sales_channel_id", ","),
    ("instacart", "aisles.csv", "aisle", ","),
    ("instacart", "order_products__train.csv", "add_to_cart_order", ","),
    ("retailrocket", "item_properties_part2.csv", "property", ","),
)


@pytest.mark.parametrize(("name", "file", "column", "separator"), COLUMNS)
def test_a_column_that_is_missing_is_named_with_its_file(
    name: str, file: str, column: str, separator: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = RAW[name](tmp_path / "raw")
    place = next(raw.rglob(file))
    header, rest = place.read_text().split("\n", 1)
    names = [f"{one}_" if one == column else one for one in header.split(separator)]
    place.write_text(separator.join(names) + "\n" + rest)
    done = recsys(capsys, "import", name, raw, tmp_path / "shop")
    assert (done.code, len(done.lines)) == (1, 1)
    assert f"{file} has no column {column} " in done.err


@pytest.mark.parametrize("name", ["amazon-2014", "amazon-2018", "amazon-2023"])
def test_a_mark_of_utf_8_and_line_ends_of_windows_cost_no_product(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = RAW[name](tmp_path / "raw")
    meta = next(raw.glob("meta_*.gz"))
    assert recsys(capsys, "import", name, raw, tmp_path / "plain").code == 0
    lines = gzip.decompress(meta.read_bytes()).replace(b"\n", b"\r\n")
    meta.write_bytes(gzip.compress(b"\xef\xbb\xbf" + lines))
    assert recsys(capsys, "import", name, raw, tmp_path / "marked").code == 0
    plain, marked = (pl.read_parquet(tmp_path / shop / "products.parquet") for shop in ("plain", "marked"))
    assert marked.equals(plain)
