"""What `recsys validate` reads beside the shop and writes: other snapshots, the page, the quarantine."""

from pathlib import Path

import polars as pl
import pytest

from tests.command import recsys
from tests.feature_store.quality.test_validate_quality import NAME, busy_tables, checked
from tests.shops import small_tables, write_shop


def test_another_shop_s_snapshot_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_shop(tmp_path / "other", busy_tables(), toml='name = "other"\n')
    made = recsys(capsys, "features", other, "--json").report["snapshot"]
    shop = write_shop(tmp_path / "shop", busy_tables(), toml=NAME)
    done = recsys(capsys, "validate", shop, "--against", made)
    assert (done.code, len(done.lines)) == (1, 1)
    assert "is a snapshot of shop `other`; expected one of shop `busy`" in done.err


@pytest.mark.parametrize("damage", ["missing", "short", "altered"])
def test_a_damaged_snapshot_is_refused_by_name_and_passed_over_else(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = write_shop(tmp_path / "shop", busy_tables(), toml=NAME)
    made = Path(recsys(capsys, "features", shop, "--json").report["snapshot"])
    file = made / "catalogue.parquet"
    content = file.read_bytes()
    file.unlink()
    if damage != "missing":
        file.write_bytes(content[:-100] if damage == "short" else b"\0" * 8 + content[8:])
    done = recsys(capsys, "validate", shop, "--against", made)
    assert (done.code, len(done.lines)) == (1, 1)
    assert "catalogue.parquet is missing or altered" in done.err
    if damage != "altered":
        assert checked(capsys, shop)["snapshot"] is None


@pytest.mark.parametrize("option", ["--page", "--quarantine"])
@pytest.mark.parametrize("file", ["products.parquet", "shop.toml"])
def test_nothing_is_written_over_the_shop_s_own_files(
    option: str, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = write_shop(tmp_path / "shop", small_tables(), toml=NAME)
    before = (shop / file).read_bytes()
    done = recsys(capsys, "validate", shop, option, shop / "." / file)
    assert (done.code, len(done.lines)) == (2, 1)
    assert "is one of the shop's own files" in done.err
    assert (shop / file).read_bytes() == before


def test_only_an_older_quarantine_goes_where_nothing_is_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    products = small_tables()["products"]
    good = write_shop(tmp_path / "good", {"products": products})
    bad = write_shop(tmp_path / "bad", {"products": pl.concat([products, products.head(1)])})
    letter, file = tmp_path / "letter.txt", tmp_path / "set-aside.parquet"
    letter.write_text("dear")
    products.write_parquet(tmp_path / "other.parquet")
    for kept in (letter, tmp_path / "other.parquet"):
        assert recsys(capsys, "validate", good, "--quarantine", kept).code == 0
        assert kept.exists()
    assert recsys(capsys, "validate", bad, "--quarantine", file).code == 0
    assert pl.read_parquet(file).height == 1
    assert recsys(capsys, "validate", good, "--quarantine", file).code == 0
    assert not file.exists()
