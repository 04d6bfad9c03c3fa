"""A shop's features.toml: one definition gives the table's value, the online value and the page; mistakes are told."""

import shutil
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from feature_store.online_features.opening import open_features
from feature_store.online_features.state import ABOUT, About
from feature_store.point_in_time.defaults import DEFAULTS
from feature_store.point_in_time.definitions import Entity, Rate
from feature_store.point_in_time.own import MOST, definitions_of, read, write
from feature_store.point_in_time.page import page
from feature_store.point_in_time.records import RecordFolder, instant
from recsys.errors import UsageError
from recsys.settings import load_settings
from tests.command import recsys
from tests.feature_store.point_in_time.test_engine import ASKED
from tests.feature_store.point_in_time.test_records import dated_tables
from tests.shops import START, write_shop

NOW = START + timedelta(days=110, hours=5)
OWN = """
[user_interest_400d]
about = "Views | cart additions in 400 days."
entity = "user"
kind = "total"
measure = { kinds = ["view", "add_to_cart"] }
window = "400d"

[product_sales_per_view]
about = "What a view brings in."
entity = "product"
kind = "rate"
top = { kinds = ["purchase"], value = "spent" }
bottom = { kinds = ["view"] }
strength = 2.5

[product_viewers_200d]
about = "Different users who viewed it."
entity = "product"
kind = "distinct"
measure = { kinds = ["view"], value = "user" }
window = "4800h"

[user_product_days_since_first]
about = "Days since they first met."
entity = "user_product"
kind = "age"
measure = {}
end = "first"

[product_price_change_90d]
about = "Its price against that of 90 days before."
entity = "product"
kind = "change"
measure = { stream = "prices", value = "price" }
window = "90d"

[product_last_seen_at]
about = "The price when it was viewed last."
entity = "product"
kind = "latest"
measure = { kinds = ["view"], value = "price" }

[query_products_judged]
about = "How many products were judged for it."
entity = "query"
kind = "distinct"
measure = { stream = "judgments", value = "product" }

[product_grade_200d]
about = "Its mean grade for whatever query, drawn towards the shop's."
entity = "product"
kind = "rate"
top = { stream = "judgments", value = "grade" }
bottom = { stream = "judgments" }
window = "200d"
strength = 3

[follow_days_since]
about = "Days since it was viewed after the other."
entity = "follow"
kind = "age"
measure = { stream = "follows" }
"""
KEYS: dict[Entity, tuple[str, ...]] = {
    "user": ("u01",),
    "product": ("p17",),
    "user_product": ("u01", "p17"),
    "query": ("blue sofa",),
    "follow": ("p12", "p17"),
}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    tables = dated_tables()
    views = tables["events"].filter(pl.col("event_type") == "view").head(2)
    hours = pl.int_range(pl.len())
    moments = {
        name: pl.lit(START + timedelta(days=80)) + pl.duration(hours=hours) for name in ("timestamp", "known_at")
    }
    after = views.with_columns(pl.Series("product_id", ["p12", "p17"]), user_id=pl.lit("u09"), **moments)
    tables["events"] = pl.concat([tables["events"], after], how="vertical_relaxed")
    shop = write_shop(tmp_path / "shop", tables, toml="[online]\nlog_share = 0.25\n")
    (shop / "features.toml").write_text(OWN)
    return shop


def test_table_store_records_and_page_agree(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [one.name for one in definitions_of(shop)[len(DEFAULTS) :]]
    assert len(names) == 9
    only, home = [part for name in names for part in ("--only", name)], ("--home", tmp_path / "home")
    rows = pl.DataFrame({"user_id": ["u01"], "product_id": ["p17"], "query": ["blue SOFA"], "timestamp": [NOW]})
    rows.write_parquet(tmp_path / "rows.parquet")
    table = ("table", "build", shop, "--rows", tmp_path / "rows.parquet", "-o", tmp_path / "table")
    assert recsys(capsys, *table, *only, *home).code == 0
    values = pl.read_parquet(tmp_path / "table" / "*.parquet")
    known = {name: values[name].item() for name in names}
    assert all(known[name] not in (None, 0.0) for name in names if name != "product_sales_per_view"), known

    assert recsys(capsys, "table", "publish", shop, *only, *home).code == 0
    read_at = ("--at", NOW.isoformat(), "--json", *home)
    online: dict[str, float | None] = {}
    for entity, key in KEYS.items():
        report = recsys(capsys, "table", "read", shop, entity, *key, *read_at).report
        online |= dict(zip(report["features"], report["values"][0], strict=True))
    assert online == known

    assert recsys(capsys, "table", "records", shop, "-o", tmp_path / "records", "--as-of", NOW, *only, *home).code == 0
    folder = RecordFolder(tmp_path / "records")
    kept = {name: one for entity, key in KEYS.items() for name, one in folder.values(entity, key, now=NOW).items()}
    assert kept == pytest.approx(known, rel=1e-6)

    values.write_parquet(tmp_path / "log.parquet")
    report = recsys(capsys, "table", "parity", shop, "--log", tmp_path / "log.parquet", "--json", *home).report
    assert {one["name"]: one["share"] for one in report["features"]} == dict.fromkeys(names, 1.0)

    listed = recsys(capsys, "table", "list", shop, "--page", tmp_path / "page.md", "--json").report["features"]
    assert [one["name"] for one in listed] == [*(one.name for one in DEFAULTS), *names]
    line = "| `user_interest_400d` | user_id | Views \\| cart additions in 400 days. | sum of events of type view, "
    for file in (tmp_path / "page.md", tmp_path / "table" / "features.md"):
        assert line + "add_to_cart, 400 days |" in file.read_text()
        assert "| price of the last of events of type view |" in file.read_text()
    assert "product_sales_per_view" in recsys(capsys, "table", "list", shop).out


def test_what_is_published_is_read_without_the_shop(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    assert recsys(capsys, "table", "publish", shop, "--home", home).code == 0
    shutil.rmtree(shop)
    online = open_features(load_settings(home=home), shop="")
    found = online.read("product", [("p17",)], now=instant(NOW))
    assert {"product_sales_per_view", "product_views_7d"} < set(found.names)
    (packed,) = online.store.read([ABOUT])
    assert packed is not None
    assert About.of(packed).log_share == 0.25


@pytest.mark.parametrize("feature", [*DEFAULTS, *ASKED], ids=lambda one: one.name)
def test_what_is_written_down_reads_back(feature) -> None:  # noqa: ANN001
    again = read(feature.name, write(feature))
    assert (again, again.version) == (feature, feature.version)


GOOD = 'about = "x"\nentity = "user"\nkind = "total"\nmeasure = {}\n'


RATE = '[u]\nabout = "x"\nentity = "user"\nkind = "rate"\ntop = {}\nbottom = {}\nstrength = 20\n'


def spoilt(part: str, other: str) -> str:
    """A file of one feature, in which something is written otherwise."""
    return "[user_x]\n" + GOOD.replace(part, other)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[user_x\n", "features.toml is no TOML"),
        (f"x = {'9' * 5000}", "features.toml can't be read: a whole number of more than 4300 digits"),
        (f"x = {'[' * 3000}", "features.toml can't be read: too many brackets within brackets"),
        ("user_x = 3\n", "feature `user_x`: Input should be a valid dictionary"),
        (f"[User]\n{GOOD}", "feature `User`: a name has small letters"),
        (f'["a\\nb\\u001b[2J"]\n{GOOD}', r"feature `a\nb\x1b[2J`: a name has small letters"),
        (f"[product_id]\n{GOOD}", "feature `product_id`: the name is taken"),
        (f"[user_views_7d]\n{GOOD}", "feature `user_views_7d`: the name is taken"),
        (f"[user_x]\n{GOOD}size = 3\n", "feature `user_x`: `size`: Extra inputs are not permitted"),
        (f"[user_x]\n{GOOD}end = 'last'\n", "end is unknown: kind total takes measure, window (optional)"),
        ("[user_x]\nabout = 'x'\nentity = 'user'\nkind = 'rate'\n", "top is missing: kind rate takes top, bottom"),
        (f"[user_x]\n{GOOD}window = '0d'\n", "`window`: String should match pattern"),
        (f"[user_x]\n{GOOD}window = '40000d'\n", "window 40000d is too long"),
        (spoilt('"x"', '""'), "about is one line"),
        (spoilt("total", "sum"), "`kind`: Input should be 'total', 'rate'"),
        (spoilt("user", "shop"), "`entity`: Input should be 'user', 'product'"),
        (spoilt("{}", '{ value = "number" }'), "`measure.value`: one of one, quantity"),
        (spoilt("{}", '{ value = "user" }'), "user is an id, which only distinct counts"),
        (spoilt("{}", '{ kinds = ["look"] }'), "events have types impression, view"),
        (spoilt("{}", '{ stream = "prices" }'), "prices have features of product, not user"),
        (RATE.replace("20", "nan"), "`strength`: Input should be a finite number"),
        (RATE.replace("20", "5e-324"), "`u`: strength 4.94066e-324 is not 0 or 1e-06 to 1e+12"),
        (RATE.replace("20", "1e308"), "strength 1e+308 is not 0 or 1e-06 to 1e+12"),
        (RATE.replace("20", "-1"), "strength -1 is not 0 or 1e-06 to 1e+12"),
        (RATE.replace("20", "9" * 4000), "`strength`: Input should be a valid number"),
        (RATE.replace("20", "true"), "`strength`: Input should be a valid number"),
        (RATE.replace("20", '"20"'), "`strength`: Input should be a valid number"),
        (spoilt('"x"', '" \u00a0 "'), "about is one line of 1 to 300 characters, not all blank"),
        (spoilt('"x"', '"\\u001b[31mred"'), "none a control character"),
        (spoilt('"x"', '"two\\u2028lines"'), "none a control character"),
        (spoilt("{}", '{ kinds = ["view", "click", "view"] }'), "`measure.kinds`: view stands there twice"),
        ("".join(f"[x{number}]\n{GOOD}" for number in range(MOST + 1)), f"{MOST + 1} features; expected at most"),
        ("[user_x]\nabout = '\udcff'\n", "features.toml is no TOML"),
    ],
    ids=lambda one: one[:24] if len(one) < 200 else "many",
)
def test_a_bad_file_is_one_line(content: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / "features.toml").write_bytes(content.encode("utf-8", "surrogateescape"))
    done = recsys(capsys, "table", "list", shop)
    assert (done.code, len(done.lines)) == (2, 1), done.err
    assert str(shop / "features.toml") in done.err
    assert words in done.err


def test_a_link_to_nothing_is_no_missing_file(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of a shop's own features went out of the store without a word."""
    (shop / "features.toml").unlink()
    (shop / "features.toml").symlink_to(tmp_path / "nowhere")
    for arguments in (("table", "list", shop), ("table", "publish", shop, "--home", tmp_path / "home")):
        done = recsys(capsys, *arguments)
        assert (done.code, len(done.lines)) == (2, 1), done.err
        assert f"features.toml is a link to {tmp_path / 'nowhere'}, where no file is" in done.err
    (shop / "features.toml").unlink()
    assert definitions_of(shop) == DEFAULTS


def test_a_mark_before_the_file_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "features.toml").write_text(f"\ufeff[user_x]\n{GOOD}")
    assert [one.name for one in definitions_of(tmp_path)[len(DEFAULTS) :]] == ["user_x"]


def test_every_command_says_so(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "features.toml").write_text(f"[user_views_7d]\n{GOOD}")
    rows = ("--rows", tmp_path / "rows.parquet")
    for arguments in (
        ("table", "build", shop, *rows, "-o", tmp_path / "out"),
        ("table", "records", shop, "-o", tmp_path / "out"),
        ("table", "publish", shop),
        ("table", "parity", shop),
        ("table", "parity", shop, "--log", tmp_path / "rows.parquet"),
        ("nightly", shop, "-o", tmp_path / "out"),
    ):
        done = recsys(capsys, *arguments, "--home", tmp_path / "home")
        assert (done.code, len(done.lines)) == (2, 1), done.err
        assert "features.toml: feature `user_views_7d`: the name is taken" in done.err
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="the name is taken"):
        definitions_of(shop)


@pytest.mark.parametrize("strength", ["0", "0.0", "1e-6", "20", "1e12"])
def test_a_strength_is_a_number(strength: str, tmp_path: Path) -> None:
    (tmp_path / "features.toml").write_text(RATE.replace("20", strength))
    of = definitions_of(tmp_path)[-1].of
    assert isinstance(of, Rate)
    assert of.strength == float(strength)


def test_words_are_words_on_the_page(tmp_path: Path) -> None:
    """A page of Markdown becomes one of HTML: no tag of a file's goes into it, and no pipe ends a cell."""
    about = r"A <script>alert(1)</script> & b \| c \ d"
    (tmp_path / "features.toml").write_text(spoilt('"x"', f"'{about}'"))
    feature = definitions_of(tmp_path)[-1]
    assert feature.about == about
    assert r"A &lt;script&gt;alert(1)&lt;/script&gt; &amp; b \\\| c \\ d |" in page([feature])
