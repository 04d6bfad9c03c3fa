"""Masked user ids: the same user everywhere, nobody without the key, and the same snapshot but for the names."""

import hashlib
import hmac
from pathlib import Path

import polars as pl
import pytest

from feature_store.checked import validate_shop
from feature_store.masking import Mask, key_file, load_mask, make_key
from feature_store.snapshot import build_snapshot
from recsys.errors import UsageError
from recsys.settings import load_settings
from tests.shops import FORMATS, small_tables, write_shop

TOML = 'name = "small"\n[judgments]\nmax_grade = 3\n'
MASKED = TOML + "[privacy]\nmask_users = true\n"
KEY = "k" * 32


def test_a_mask_is_the_first_half_of_an_hmac() -> None:
    """RFC 4231, test case 2."""
    assert Mask(b"Jefe")("what do ya want for nothing?") == "5bdcc146bf60754e6a042426089575c7"
    assert Mask(b"k")("ü") == hmac.new(b"k", "ü".encode(), hashlib.sha256).hexdigest()[:32]
    assert Mask(b"k").all(["a", "b", "a"]) == [Mask(b"k")("a"), Mask(b"k")("b"), Mask(b"k")("a")]
    assert "k" * 32 not in repr(Mask(b"k" * 32))
    assert len({Mask(key).fingerprint for key in (b"a", b"b")}) == 2


@pytest.mark.parametrize("kind", FORMATS)
def test_a_masked_shop_is_the_same_but_for_its_users_names(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSYS_MASK_KEY", KEY)
    tables = small_tables()
    tables["events"] = tables["events"].with_columns(
        user_id=pl.when(pl.int_range(pl.len()) % 10 == 0).then(None).otherwise(pl.col("user_id"))
    )
    plain = build_snapshot(write_shop(tmp_path / "plain", tables, toml=TOML, kind=kind))
    masked = build_snapshot(write_shop(tmp_path / "masked", tables, toml=MASKED, kind=kind))

    def hidden(frame: pl.DataFrame) -> pl.DataFrame:
        names = pl.col("user_id").map_elements(Mask(KEY.encode()), return_dtype=pl.String)
        return frame.with_columns(names).sort(pl.all(), nulls_last=True)

    for part in ("users", "interactions"):
        found, wanted = getattr(masked, part)(), getattr(plain, part)()
        assert found.sort(pl.all(), nulls_last=True).equals(hidden(wanted)), part


def test_ids_that_are_numbers_are_masked_as_the_text_they_are_read_as(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSYS_MASK_KEY", KEY)
    tables = small_tables()
    number = pl.col("user_id").str.slice(1).cast(pl.Float64)
    tables |= {
        "events": tables["events"].with_columns(number.alias("customer")).drop("user_id"),
        "users": tables["users"].with_columns(number.cast(pl.Int64)),
    }
    toml = MASKED + '[columns.events]\nuser_id = "customer"\n'
    snapshot = build_snapshot(write_shop(tmp_path / "shop", tables, toml=toml))
    expected = sorted(Mask(KEY.encode()).all([str(user) for user in range(30)]))
    assert snapshot.users()["user_id"].to_list() == expected
    assert snapshot.users()["segment"].null_count() == 0


def test_what_is_set_aside_is_masked_too(tmp_path: Path) -> None:
    tables = small_tables()
    tables["events"] = tables["events"].with_columns(
        user_id=pl.lit("SECRET"),
        product_id=pl.when(pl.int_range(pl.len()) == 0).then(pl.lit("?")).otherwise("product_id"),
    )
    shop = write_shop(tmp_path / "shop", tables, toml=MASKED)
    file = validate_shop(shop, settings=load_settings()).quarantine
    assert file is not None
    values = pl.read_parquet(file)["values"].to_list()
    assert len(values) == 1
    assert "SECRET" not in values[0]


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECSYS_MASK_KEY", raising=False)
    settings = load_settings(home=tmp_path)
    with pytest.raises(UsageError, match=r"there is no key in .*small.key"):
        load_mask(settings, shop="small", create=False)
    first = load_mask(settings, shop="small")
    file = key_file(settings, shop="small")
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(file.read_text().strip()) == 64
    assert load_mask(settings, shop="small", create=False) == first
    assert load_mask(settings, shop="other") != first
    make_key(file)
    assert load_mask(settings, shop="small") == first
    assert [path.name for path in file.parent.iterdir() if path.name.startswith(".")] == []
    monkeypatch.setenv("RECSYS_MASK_KEY", "short")
    with pytest.raises(UsageError, match="a key of 5 characters"):
        load_mask(settings, shop="small")
