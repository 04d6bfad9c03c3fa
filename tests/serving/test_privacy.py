"""What a service writes about itself: no query and no id stands in its log or its figures, whatever is asked."""

import json
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from feature_store.event_log.door import Door
from feature_store.event_log.sqlite import SqliteLog
from feature_store.event_log.writer import Writer
from feature_store.histories import HistoryTable
from feature_store.masking import Mask
from feature_store.online.lmdb import Holds, LmdbStore
from recsys.errors import StorageError, UsageError
from recsys.logs import setup_logging
from recsys.settings import load_settings
from serving.events import EventDesk
from serving.opening import stored_names
from tests.event_logs import row
from tests.serving.conftest import Shelf, serving_at

pytestmark = pytest.mark.usefixtures("own_handlers")

KEY = "k" * 32


class Failing:
    """Raises what it is asked, as an unexpected error might."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Any:
        raise self.error


def ask(client: httpx.Client) -> set[int]:
    """Every route, well and badly asked, with a text that no other line has."""
    secret = "SECRET-7f3a"
    bodies: list[tuple[str, Any]] = [
        ("search", {"query": secret}),
        ("search", {"query": secret, "k": secret}),
        ("search", {secret: secret}),
        ("rank", {"query": secret, "product_ids": [secret]}),
        ("recommend", {"user_id": secret}),
        ("recommend", {"user_id": secret, "shape": secret}),
        ("similar", {"product_id": secret}),
        ("rerank", {"query": secret, "documents": [secret]}),
        ("events", {"events": [row(user_id=secret, query=secret), {secret: secret}, secret]}),
        (f"absent-{secret}", {}),
    ]
    answers = [client.post(f"/v1/{route}?q={secret}", content=json.dumps(body)) for route, body in bodies]
    answers.append(client.post("/v1/search", content=f'{{"query": "{secret}'))
    return {answer.status_code for answer in answers}


@pytest.mark.parametrize(
    "fails", [None, ArithmeticError("no answer to SECRET-7f3a"), StorageError("disk", expected="", action="")]
)
def test_no_query_and_no_id_is_written(
    fails: Exception | None, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf(tmp_path / "indexes")
    shelf.publish("first")
    live = shelf.live()
    setup_logging(verbose=True)
    if fails is not None:
        live._engine = Failing(fails)
        monkeypatch.setattr("serving.telemetry.IndexCollector.collect", lambda _: [])
    desk = lambda telemetry: EventDesk(Door(), Writer(SqliteLog(tmp_path / "log.db")), telemetry)  # noqa: E731
    with serving_at(live, desk=desk) as client:
        client.headers["connection"] = "close"  # as the server does after a 500
        asked = ask(client)
        figures = client.get("/metrics").text
    assert asked >= ({200, 400, 404, 422} if fails is None else {500} if isinstance(fails, ArithmeticError) else {503})
    written = capfd.readouterr()
    assert "SECRET" not in written.err + written.out + figures
    assert ("failed" in written.err) == isinstance(fails, ArithmeticError)


def test_a_service_with_another_key_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every user would be unknown to it."""
    monkeypatch.setenv("RECSYS_MASK_KEY", KEY)
    settings = load_settings(home=tmp_path)
    assert stored_names(settings, shop="small") is None
    mask = Mask(KEY.encode())
    users = pl.DataFrame({"user_id": [mask("ann")], "segment": ["loyal"]})
    events = pl.DataFrame(
        schema={
            "user_id": pl.String,
            "product_id": pl.String,
            "timestamp": pl.Datetime("us", "UTC"),
            "event_type": pl.String,
        }
    )
    LmdbStore(settings.online("small"), holds=Holds(mask=mask.fingerprint)).materialise(HistoryTable.of(events, users))
    assert stored_names(settings, shop="small") == mask
    monkeypatch.setenv("RECSYS_MASK_KEY", "j" * 32)
    with pytest.raises(UsageError, match=f"expected those with fingerprint {mask.fingerprint}"):
        stored_names(settings, shop="small")
