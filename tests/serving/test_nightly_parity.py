"""What a night does with the features that services have served, with children and registry played by fakes."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from recsys.errors import LowParityError
from serving.report import show_parity
from tests.serving.fake_night import Night, new_night


@pytest.fixture
def night(tmp_path: Path) -> Night:
    return new_night(tmp_path)


def serve_features(night: Night, **report: Any) -> str:
    """Services of the shop have logged features; the replay reports so."""
    (night.home / "served").mkdir()
    (night.home / "served" / "sample.db").touch()
    (night.home / "reports").mkdir()
    (night.home / "reports" / "parity").write_text(json.dumps(report))
    return f"table parity {night.home / 'shop'} --no-fail --json"


def test_a_night_replays_what_services_served(night: Night, capsys: pytest.CaptureFixture[str]) -> None:
    assert night.run()["parity"] is None
    feature = {"name": "product_views_7d", "share": 0.5}
    command = serve_features(night, rows=7, least=0.999, failed=["product_views_7d"], features=[feature])
    for _ in range(2):  # it runs every night
        report = night.run()
        assert night.lines()[0] == command
        assert report["parity"]["rows"] == 7
    show_parity(report["parity"])
    assert capsys.readouterr().out == (
        "parity: product_views_7d 50.000% of 7 served rows as known then: promotion is refused\n"
    )
    show_parity(report["parity"] | {"failed": []})
    show_parity(report["parity"] | {"rows": 0})
    show_parity(None)
    assert capsys.readouterr().out.splitlines() == [
        "parity: every feature reaches 99.9% over 7 served rows",
        "parity: no served row could be compared; what was measured before goes on to count",
    ]
    assert night.run(night=date(2024, 3, 1))["parity"] is None, "of a night of the past nothing is served"


def test_a_replay_that_fails_keeps_no_night_from_its_end(night: Night, capsys: pytest.CaptureFixture[str]) -> None:
    serve_features(night)
    (night.home / "fails").mkdir()
    error = {"type": "StorageError", "found": "the served log fails", "expected": "a whole file", "action": "remove it"}
    (night.home / "fails" / "parity").write_text(json.dumps({"error": error}))
    report = night.run()
    assert report["batch"] == {"night": "2024-03-01", "rows": 7}
    show_parity(report["parity"])
    assert "parity: not measured, stage parity: the served log fails" in capsys.readouterr().out


def test_a_first_champion_waits_until_the_features_are_served_right(night: Night) -> None:
    def refuse(kind: str, *, shop: str, allowed: bool) -> None:
        raise LowParityError("product_views_7d 50.000%", expected="at least 99.9%", action="mend the online side")

    night.steps.bootstrap = refuse  # type: ignore[method-assign]
    report = night.run()
    for told in report["models"].values():
        assert told["champion"] is None
        assert told["step"].startswith("not promoted, product_views_7d 50.000%; expected at least 99.9%")
    assert night.steps.taken == []
    assert report["batch"] is not None
