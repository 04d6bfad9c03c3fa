"""What a person reads of a night."""

import pytest

from serving.report import show_nightly


def test_what_validate_warned_of_stands_in_the_nights_report(capsys: pytest.CaptureFixture[str]) -> None:
    warned = {"check": "volume", "about": "products", "found": "10 where 900 were", "limit": "quality.max_drop 0.2"}
    report = {"snapshot": "s", "trained": [], "models": {}, "index": {"live": True}, "seconds": 1.0, "stages": []}
    show_nightly(report | {"batch": None, "warnings": [warned]})
    assert "warning: volume: products: 10 where 900 were (quality.max_drop 0.2)" in capsys.readouterr().out
