"""Log lines hold no query and no id, whatever fails, unless somebody switches that on."""

import logging

import pytest

from recsys.logs import setup_logging

pytestmark = pytest.mark.usefixtures("own_handlers")


GIVEN = ("SECRET-USER", "SECRET-QUERY")


def fail(user: str, query: str) -> None:
    try:
        {}[user]
    except KeyError as error:
        raise ValueError(f"no answer to {query}") from error


def logged(capsys: pytest.CaptureFixture[str]) -> str:
    setup_logging()
    try:
        fail(*GIVEN)
    except ValueError as error:
        logging.getLogger("serving").error("the route failed", exc_info=error)
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
    return capsys.readouterr().err


def test_the_texts_of_errors_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    told = logged(capsys)
    assert "SECRET" not in told
    assert told.count("in fail\n") == 4
    assert told.count("KeyError (its text is left out; RECSYS_LOG_PERSONAL=1 shows it)") == 2
    assert told.count("ValueError (its text is left out") == 2
    assert told.index("KeyError") < told.index("ValueError")
    assert "the route failed" in told


def test_they_are_shown_where_somebody_switches_that_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSYS_LOG_PERSONAL", "1")
    told = logged(capsys)
    assert "no answer to SECRET-QUERY" in told
    assert "SECRET-USER" in told


def test_a_line_without_an_error_is_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging()
    logging.getLogger("serving").info("index %s answers", "abc")
    assert capsys.readouterr().err.endswith("INFO serving index abc answers\n")
