"""A report of parity blocks by its shares, whatever it says of itself."""

import json
from pathlib import Path
from typing import Any

import pytest

from recsys.cli.parity import refuse_low_parity
from recsys.errors import RegistryError, UsageError


def report(file: Path, least: float, **shares: object) -> Path:
    """A report that finds nothing wrong with itself."""
    features = [{"name": name, "share": share} for name, share in shares.items()]
    file.write_text(json.dumps({"features": features, "least": least, "failed": [], "ok": True}))
    return file


@pytest.mark.parametrize("least", [0.0, 0.4, 0.999])
def test_a_lax_report_lets_nothing_through(tmp_path: Path, least: float) -> None:
    refuse_low_parity(None)
    refuse_low_parity(report(tmp_path / "good.json", least, a=1.0, b=0.999))
    with pytest.raises(RegistryError) as refused:
        refuse_low_parity(report(tmp_path / "low.json", least, a=1.0, b=0.5, c=0.998999))
    assert "b 50.000%, c 99.899%; expected at least 99.9% equal values" in str(refused.value)


def test_a_strict_report_stays_strict(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"b 99\.950%; expected at least 100\.0%"):
        refuse_low_parity(report(tmp_path / "strict.json", 1.0, a=1.0, b=0.9995))


@pytest.mark.parametrize(
    ("least", "shares"), [(0.9, {}), (0.9, {"a": float("nan")}), (0.9, {"a": 1.5}), (0.9, {"a": None}), (2.0, {"a": 1})]
)
def test_what_shows_no_shares_is_no_report(tmp_path: Path, least: float, shares: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected a report of"):
        refuse_low_parity(report(tmp_path / "odd.json", least, **shares))
