"""Every way in which a shop can be wrong ends in one clear line or in the quarantine, through the command line."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from feature_store.config import load_config
from tests.command import Done, recsys
from tests.shops import FORMATS, small_tables, write_shop

Tables = dict[str, pl.DataFrame]
FAR = datetime.now(UTC) + timedelta(days=400)


def edit(tables: Tables, name: str, *changes: pl.Expr) -> Tables:
    return tables | {name: tables[name].with_columns(*changes)}


def first(column: str, value: object, dtype: pl.DataType | type[pl.DataType] = pl.String) -> pl.Expr:
    """Put a value into the first row alone."""
    return pl.when(pl.int_range(pl.len()) == 0).then(pl.lit(value, dtype=dtype)).otherwise(pl.col(column)).alias(column)


def one_line(done: Done, *, code: int, says: str) -> None:
    assert done.code == code
    assert len(done.lines) == 1, done.err
    assert done.lines[0].startswith("error: ")
    assert done.lines[0].count(";") >= 2
    assert says in done.lines[0]


WHOLE: dict[str, tuple[Callable[[Tables], Tables], str]] = {
    "no products": (lambda t: {"users": t["users"]}, "has no table products"),
    "no queries": (lambda t: {"products": t["products"], "judgments": t["judgments"]}, "no table queries"),
    "no title": (lambda t: t | {"products": t["products"].drop("title")}, "has no column title"),
    "no timestamp": (lambda t: t | {"events": t["events"].drop("timestamp")}, "has no column timestamp"),
    "no grade": (lambda t: t | {"judgments": t["judgments"].drop("grade")}, "has no column grade"),
    "empty products": (lambda t: t | {"products": t["products"].head(0)}, "has no rows"),
    "empty events": (lambda t: t | {"events": t["events"].head(0)}, "has no rows"),
    "price as words": (
        lambda t: edit(t, "products", pl.lit("cheap").alias("price")),
        "no value of price can be read (first: cheap)",
    ),
    "type of no event": (lambda t: edit(t, "events", pl.lit("bought").alias("event_type")), "impression, view, click"),
    "no time zone": (
        lambda t: edit(t, "events", pl.col("timestamp").dt.replace_time_zone(None)),
        "no timestamp has a time zone",
    ),
    "grades as words": (lambda t: edit(t, "judgments", pl.lit("good").alias("grade")), "expected numbers"),
    "all products unknown": (
        lambda t: edit(t, "events", pl.lit("x").alias("product_id")),
        "rows break the contract",
    ),
    "all grades too high": (lambda t: edit(t, "judgments", pl.lit(9.0).alias("grade")), "x grade above 3"),
    "all in the future": (lambda t: edit(t, "events", pl.lit(FAR).alias("timestamp")), "x timestamp in the future"),
    "all users alike": (lambda t: edit(t, "users", pl.lit("u").alias("user_id")), "29 x user_id twice"),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("command", ["validate", "features"])
def test_a_table_that_fails_as_a_whole(
    name: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, says = WHOLE[name]
    shop = write_shop(tmp_path / "shop", change(small_tables()))
    one_line(recsys(capsys, command, shop), code=1, says=says)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize(
    "name", ["no title", "empty products", "price as words", "no time zone", "all grades too high", "type of no event"]
)
def test_the_same_in_other_formats(name: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change, says = WHOLE[name]
    shop = write_shop(tmp_path / "shop", change(small_tables()), kind=kind)
    one_line(recsys(capsys, "validate", shop), code=1, says=says)


def twice(tables: Tables, name: str) -> Tables:
    return tables | {name: pl.concat([tables[name], tables[name].head(1)])}


ROWS: dict[str, tuple[Callable[[Tables], Tables], str, str]] = {
    "id missing": (lambda t: edit(t, "products", first("product_id", None)), "products", "product_id missing"),
    "title blank": (lambda t: edit(t, "products", first("title", "  ")), "products", "title empty"),
    "price below 0": (
        lambda t: edit(t, "products", first("price", -1.0, pl.Float64)),
        "products",
        "price below the least allowed",
    ),
    "product twice": (lambda t: twice(t, "products"), "products", "product_id twice"),
    "user twice": (lambda t: twice(t, "users"), "users", "user_id twice"),
    "query twice": (lambda t: twice(t, "queries"), "queries", "query_id twice"),
    "long id": (lambda t: edit(t, "users", first("user_id", "u" * 200)), "users", "user_id longer than 120 characters"),
    "unknown product": (lambda t: edit(t, "events", first("product_id", "x")), "events", "product unknown"),
    "no product": (lambda t: edit(t, "events", first("product_id", None)), "events", "product id missing"),
    "no time": (
        lambda t: edit(t, "events", first("timestamp", None, pl.Datetime("us", "UTC"))),
        "events",
        "timestamp missing",
    ),
    "future": (
        lambda t: edit(t, "events", first("timestamp", FAR, pl.Datetime("us", "UTC"))),
        "events",
        "timestamp in the future",
    ),
    "odd type": (lambda t: edit(t, "events", first("event_type", "bought")), "events", "event_type unreadable"),
    "nothing bought": (
        lambda t: edit(t, "events", first("event_type", "purchase"), first("quantity", -3.0, pl.Float64)),
        "events",
        "purchase quantity not above 0",
    ),
    "grade too high": (lambda t: edit(t, "judgments", first("grade", 3.5, pl.Float64)), "judgments", "grade above 3"),
    "grade below 0": (
        lambda t: edit(t, "judgments", first("grade", -1.0, pl.Float64)),
        "judgments",
        "grade below the least allowed",
    ),
    "judged unknown": (lambda t: edit(t, "judgments", first("product_id", "x")), "judgments", "product unknown"),
    "query unknown": (lambda t: edit(t, "judgments", first("query_id", "x")), "judgments", "query unknown"),
}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", ROWS)
def test_a_bad_row_is_set_aside_with_its_reason(
    name: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, table, reason = ROWS[name]
    shop = write_shop(tmp_path / "shop", change(small_tables()), kind=kind)
    done = recsys(capsys, "validate", shop, "--json", "--quarantine", tmp_path / "aside.parquet")
    assert done.code == 0, done.err
    found = {one["table"]: one for one in done.report["tables"]}[table]
    assert found["reasons"][reason] == 1
    assert found["kept"] + found["quarantined"] == found["rows"]
    aside = pl.read_parquet(tmp_path / "aside.parquet").filter(pl.col("table") == table, pl.col("reason") == reason)
    assert aside.height == 1
    assert isinstance(json.loads(aside["values"][0]), dict)
    one_line(recsys(capsys, "validate", shop, "--strict"), code=1, says=f"1 x {reason}")


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_nan_is_a_missing_number_in_every_format_and_counted(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row stays where the number may be missing, and is set aside for lacking it where it may not."""
    tables, nan = small_tables(), float("nan")
    deviation = pl.when(pl.int_range(pl.len()) < 3).then(pl.lit(nan)).otherwise(pl.lit(0.5)).alias("rater_sd")
    judgments = tables["judgments"].with_columns(deviation, first("grade", nan, pl.Float64))
    shop = write_shop(tmp_path / "shop", tables | {"judgments": judgments}, kind=kind)
    done = recsys(capsys, "validate", shop, "--json")
    assert done.code == 0, done.err
    found = {one["table"]: one["reasons"] for one in done.report["tables"]}["judgments"]
    assert found == {"grade missing": 1}
    counts = {name: count for name, count in done.report["counts"].items() if name.endswith("_nan")}
    assert counts == {"judgments_rater_sd_nan": 3, "judgments_grade_nan": 1}
    people = recsys(capsys, "validate", shop)
    assert "judgments rater sd nan: 3" in people.out
    assert recsys(capsys, "features", shop, "-o", tmp_path / "snapshot").code == 0
    kept = pl.read_parquet(tmp_path / "snapshot" / "judgments.parquet")["rater_sd"]
    assert (kept.null_count(), kept.is_nan().sum(), kept.len()) == (2, 0, judgments.height - 1)


def test_text_that_is_no_time_or_has_no_zone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = small_tables()
    text = tables["events"]["timestamp"].dt.to_string("%Y-%m-%dT%H:%M:%SZ").to_list()
    text[0], text[1], text[2] = "2025-02-01T10:00:00", "yesterday", "2025-02-01 11:00:00+01:00"
    shop = write_shop(
        tmp_path / "shop", tables | {"events": tables["events"].with_columns(timestamp=pl.Series(text))}, kind="csv"
    )
    reasons = {one["table"]: one["reasons"] for one in recsys(capsys, "validate", shop, "--json").report["tables"]}
    assert reasons["events"] == {"timestamp unreadable": 1, "timestamp without time zone": 1}


def test_the_shops_own_time_zone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = small_tables()
    naive = edit(tables, "events", pl.col("timestamp").dt.convert_time_zone("Europe/Berlin").dt.replace_time_zone(None))
    toml = 'timezone = "Europe/Berlin"\n[judgments]\nmax_grade = 3\n'
    shop = write_shop(tmp_path / "shop", naive, toml=toml)
    same = write_shop(tmp_path / "same", tables)
    made = [recsys(capsys, "features", one, "--json").report["files"]["interactions"]["digest"] for one in (shop, same)]
    assert made[0] == made[1]


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_truncated_parquet_file(keep: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = write_shop(tmp_path / "shop", small_tables())
    file = shop / "events.parquet"
    file.write_bytes(file.read_bytes()[: int(keep * file.stat().st_size)])
    one_line(recsys(capsys, "validate", shop), code=1, says="events.parquet can't be read")


def test_a_changed_byte_in_a_parquet_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = write_shop(tmp_path / "shop", small_tables())
    file = shop / "products.parquet"
    content = bytearray(file.read_bytes())
    content[10:200] = bytes(190)
    file.write_bytes(bytes(content))
    done = recsys(capsys, "validate", shop)
    one_line(done, code=1, says="products.parquet can't be read")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("products.csv", b'product_id,title\n1,"never closed\n2,x\n'),
        ("products.csv", b"product_id,title\n1,x,too many\n"),
        ("products.csv", b"product_id,title\n1,\xff\xfe\n"),
        ("products.jsonl", b'{"product_id": 1, "title": "x"}\n{"product_id": \n'),
        ("products.parquet", b"this is no parquet file at all"),
    ],
)
def test_files_that_are_not_what_they_say(
    name: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    one_line(recsys(capsys, "validate", tmp_path), code=1, says=f"{name} can't be read")


def test_a_csv_as_spreadsheets_write_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A byte-order mark, CRLF, quoted line breaks and an empty last line are no mistakes."""
    text = '\ufeffproduct_id,title,price\r\n007,"two\r\nlines",1.5\r\n008,"a ""quoted"" word",\r\n'
    (tmp_path / "products.csv").write_bytes(text.encode())
    done = recsys(capsys, "features", tmp_path, "--json")
    assert done.code == 0, done.err
    frame = pl.read_parquet(Path(done.report["snapshot"]) / "catalogue.parquet")
    assert frame.select("product_id", "title", "price").rows() == [
        ("007", "two\r\nlines", 1.5),
        ("008", 'a "quoted" word', None),
    ]


def test_a_csv_without_a_byte(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "products.csv").write_bytes(b"")
    one_line(recsys(capsys, "validate", tmp_path), code=1, says="has no rows")


@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize("command", ["validate", "features"])
def test_a_csv_that_names_a_column_twice(
    parts: bool, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In whichever part file it stands; quotes, a byte order mark and Polars's name for the second change nothing."""
    place = tmp_path / "products" if parts else tmp_path
    place.mkdir(exist_ok=True)
    if parts:
        (place / "a.csv").write_text("product_id,title,brand\np,sofa,x\n")
    file = place / ("b.csv" if parts else "products.csv")
    file.write_text('product_id,title,"title",title_duplicated_0\nq,sofa,lamp,mug\n', encoding="utf-8-sig")
    given = ["-o", tmp_path / "snapshot"] if command == "features" else []
    one_line(
        recsys(capsys, command, tmp_path, *given),
        code=1,
        says=f"{file} names several columns `title` (columns 2, 3); expected each column's name once",
    )


def test_a_csv_with_columns_of_no_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Spreadsheets put commas behind a table."""
    (tmp_path / "products.csv").write_text("product_id,title,,\np,sofa,,\n")
    assert recsys(capsys, "validate", tmp_path).code == 0


def test_one_table_in_two_formats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = write_shop(tmp_path / "shop", small_tables())
    small_tables()["products"].write_csv(shop / "products.csv")
    one_line(recsys(capsys, "validate", shop), code=1, says="products.parquet and products.csv")


def test_an_empty_folder_of_part_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = write_shop(tmp_path / "shop", {"products": small_tables()["products"]})
    (shop / "events").mkdir()
    one_line(recsys(capsys, "validate", shop), code=1, says="holds no data file")


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("name = ", "is no TOML"),
        (f"name = {'9' * 5000}", "shop.toml can't be read: a whole number of more than 4300 digits"),
        (f"name = {'[' * 3000}", "shop.toml can't be read: too many brackets within brackets"),
        ("colour = 1", "`colour`"),
        ('name = "a b"', "`name`"),
        ('timestamps = "sometimes"', "`timestamps`"),
        ("[judgments]\nmax_grade = 0", "`judgments.max_grade`"),
        ("[weights]\nwish = 1.0", "`weights.wish"),
        ("[lists.shape]\nper_brand = 0", "`lists.shape.per_brand`"),
        ("[lists]\nmagic = true", "`lists.magic`"),
        ('timezone = "Mars/Base"', "`timezone`"),
        ("[quality]\npsi = 0", "`quality.psi`"),
        ("[quality]\nhue = 1", "`quality.hue`"),
        ('[event_types]\nbought = "sold"', "`event_types.bought`"),
        ('[columns.events]\ntimestamp = "when"', "no column when"),
        ('[columns.products]\ntitle = "description"', "has both title and description"),
    ],
)
def test_shop_toml_gone_wrong(toml: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = write_shop(tmp_path / "shop", small_tables(), toml=toml)
    one_line(recsys(capsys, "validate", shop), code=1, says=says)


def test_shop_toml_that_links_to_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = write_shop(tmp_path / "shop", small_tables())
    (shop / "shop.toml").unlink(missing_ok=True)
    (shop / "shop.toml").symlink_to(tmp_path / "nowhere")
    one_line(recsys(capsys, "validate", shop), code=1, says=f"shop.toml is a link to {tmp_path / 'nowhere'}")


def test_a_mark_before_shop_toml_is_passed_over(tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "shop", small_tables(), toml='\ufeffname = "sofas"\n')
    assert load_config(shop).name == "sofas"


def test_wrong_usage_has_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = write_shop(tmp_path / "shop", small_tables())
    order = write_shop(tmp_path / "order", small_tables(), toml='timestamps = "order"\n')
    one_line(recsys(capsys, "validate", tmp_path / "nowhere"), code=2, says="is no folder")
    one_line(recsys(capsys, "features", shop, "--split", "by-luck"), code=2, says="by-luck")
    one_line(recsys(capsys, "features", shop, "--set", "fold"), code=2, says="--set fold")
    one_line(recsys(capsys, "features", shop, "--set", "fold=7"), code=2, says="fold")
    one_line(recsys(capsys, "features", shop, "--as-of", "soon"), code=2, says="--as-of soon")
    for moment in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):  # no years of UTC
        one_line(recsys(capsys, "features", shop, "--as-of", moment), code=2, says=f"--as-of {moment}")
    one_line(recsys(capsys, "table", "read", shop, "product", "p", "--at", "soon"), code=2, says="--at soon")
    one_line(recsys(capsys, "table", "parity", shop, "--since", "soon"), code=2, says="--since soon")
    one_line(recsys(capsys, "features", order, "--as-of", "2025-03-01"), code=2, says="--as-of")
    one_line(recsys(capsys, "features", order, "--split", "time"), code=2, says="only order")


def test_doctor_of_before_anything_was_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known_at = pl.lit(datetime(2025, 1, 1, tzinfo=UTC))
    shop = write_shop(tmp_path / "shop", {"products": small_tables()["products"].with_columns(known_at=known_at)})
    done = recsys(capsys, "doctor", shop, "--as-of", "0001-01-01", "--json")
    assert done.code == 0, done.err
    assert any("brand is filled for 0%" in line for line in done.report["advice"])


def test_machines_get_the_error_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = recsys(capsys, "validate", tmp_path, "--json")
    assert done.code == 1
    assert done.report["error"]["type"] == "ShopError"
    assert set(done.report["error"]) == {"type", "found", "expected", "action"}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_column_called_row_is_kept_like_any_other(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = small_tables()
    named = tables | {"products": tables["products"].with_columns(pl.lit("x").alias("row"))}
    shop = write_shop(tmp_path / "shop", named, kind=kind)
    report = recsys(capsys, "validate", shop, "--json").report
    (told,) = (one for one in report["tables"] if one["table"] == "products")
    assert (told["kept"], told["quarantined"]) == (tables["products"].height, 0)
    assert "row (given)" in told["unknown_columns"]


def test_text_that_is_not_utf8_names_the_encoding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "products.csv").write_bytes("product_id,title\np1,Stühle\n".encode("latin-1"))
    one_line(recsys(capsys, "validate", tmp_path / "shop"), code=1, says="encoded as UTF-8")


@pytest.mark.parametrize(("sign", "word"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_other_separators_than_commas_are_told(
    sign: str, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shop(tmp_path / "shop", {}, toml="")
    (tmp_path / "shop" / "products.csv").write_text(f"product_id{sign}title\n1{sign}a lamp, blue\n")
    done = recsys(capsys, "validate", tmp_path / "shop")
    assert (done.code, len(done.lines)) == (1, 1)
    assert f"is separated by {word}" in done.err
