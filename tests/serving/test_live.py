"""Whatever a new index does when it is opened, the old one answers and the next one is taken."""

import logging
from typing import Any

import pytest

from recsys.errors import IndexMismatchError


@pytest.mark.parametrize("error", [KeyError("rows"), ZeroDivisionError("division by zero"), MemoryError()])
def test_any_failure_is_counted_and_told_in_one_line(
    shelf: Any, error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shelf.publish("first")
    live = shelf.live()
    answering = live.engine

    def fail(_: object) -> None:
        raise error

    shelf.publish("second")
    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr(live, "open_engine", fail)
        assert live.refresh() is False
    assert (live.engine, live.failures) == (answering, 1)
    assert isinstance(live.failure, IndexMismatchError)
    (line,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert type(error).__name__ in line
    assert "the old one stays" in line
    shelf.publish("third")
    assert live.refresh() is True
    assert live.failure is None
