"""The gate is a pure function of what is kept: below 99.9 % nothing is promoted, whatever else is there."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import LowParityError, RegistryError
from recsys.parity import LEAST, KeptParity, named_shares, read_parity, refuse_low
from recsys.settings import load_settings


def kept(**shares: float) -> KeptParity:
    features = [{"name": name, "share": share} for name, share in shares.items()]
    return KeptParity.of({"at": "2026-11-30T02:00:00+00:00", "rows": 1000, "features": features})


def test_one_feature_below_is_enough() -> None:
    refuse_low(None)
    refuse_low(kept(a=1.0, b=0.999))
    with pytest.raises(LowParityError) as refused:
        refuse_low(kept(a=1.0, c=0.998999, b=0.5))
    assert str(refused.value) == (
        "served features were not those known then: b 50.000%, c 99.899% of 1,000 rows (2026-11-30T02:00:00+00:00); "
        "expected at least 99.9% equal values for each feature; mend the online side, let the service log requests and "
        "run `recsys table parity SHOP` again, or promote with --no-parity REASON"
    )
    assert kept(a=1.0, b=0.5).as_json()["low"] == ["b"]


@given(st.dictionaries(st.text(min_size=1), st.floats(0, 1)))
def test_it_refuses_exactly_below(shares: dict[str, float]) -> None:
    low = {name for name, share in shares.items() if share < LEAST}
    assert set(kept(**shares).low) == low
    assert all("99.900%" not in named_shares({name: shares[name]}) for name in low if "99.9" not in name)


@pytest.mark.parametrize("share", [float("nan"), 1.5, -0.1, "x", None])
def test_what_is_no_share_is_no_parity(share: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        kept(a=share)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"at": 1, "rows": 2, "features": [1]}', "\udcff"])
def test_what_is_damaged_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    settings = load_settings(home=tmp_path)
    assert read_parity(settings, shop="small") is None
    file = settings.parity("small")
    file.parent.mkdir()
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(RegistryError, match=r"small\.json can't be read"):
        read_parity(settings, shop="small")
    file.write_text(json.dumps({"at": "x", "rows": 3, "features": [{"name": "a", "share": 1}], "more": 0}))
    assert read_parity(settings, shop="small") == KeptParity("x", 3, {"a": 1.0})
