"""From an answer over HTTP to the gate: what is served is logged, replayed, kept, and decides what may be promoted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from feature_store.online.watch import Watch
from feature_store.online_features.reading import Read
from feature_store.point_in_time.definitions import Entity
from feature_store.served_log.log import ServedLog
from recsys import ledger
from recsys.errors import StorageError
from recsys.settings import Settings, load_settings
from serving.online import OnlineDesk
from serving.server import open_desk, open_served
from serving.telemetry import Telemetry
from tests.command import recsys
from tests.event_logs import row
from tests.feature_store.point_in_time.test_records import dated_tables
from tests.recsys.registry.conftest import MakeVersion, installation, make_bundle, make_version  # noqa: F401
from tests.serving.conftest import Shelf, serving_at
from tests.serving.test_online import wait_for
from tests.shops import write_shop

pytestmark = pytest.mark.usefixtures("own_handlers")

ASKED: dict[Entity, list[Any]] = {
    "product": [f"p{number:02d}" for number in range(20)] + ["nothing"],
    "user": [f"u{number:02d}" for number in range(20)],
    "user_product": [["u01", "p01"], ["u02", "p05"]],
    "query": ["Blue sofa", "lamp"],
    "follow": [["p01", "p04"]],
}


@contextmanager
def service(
    settings: Settings, folder: Path, *, share: float | None = 1.0
) -> Iterator[tuple[httpx.Client, OnlineDesk]]:
    """The service as `recsys serve --log-features` makes it, over a fake index."""
    shelf = Shelf(folder / "indexes")
    shelf.publish("first")
    online = OnlineDesk(Watch())

    def desk(telemetry: Telemetry) -> Any:
        made = open_desk(settings, shop="small", telemetry=telemetry, online=online)
        online.served = open_served(settings, shop="small", share=share, telemetry=telemetry)
        return made

    with serving_at(shelf.live(), desk=desk, online=online) as client:
        yield client, online


def ask(client: httpx.Client) -> None:
    for entity, keys in ASKED.items():
        assert client.post("/v1/features", json={"entity": entity, "keys": keys}).status_code == 200


def send(client: httpx.Client, first: int, count: int) -> None:
    now = datetime.now(UTC) - timedelta(seconds=2)
    rows = [
        row(
            number,
            timestamp=now.isoformat(),
            query="blue sofa" if number % 2 else None,
            product_id=f"p{number % 9:02d}",
        )
        for number in range(first, first + count)
    ]
    assert client.post("/v1/events", json={"events": rows}).json()["accepted"] == count


def told(client: httpx.Client, line: str) -> Callable[[], bool]:
    return lambda: line in client.get("/metrics").text.splitlines()


@pytest.fixture
def home(installation: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:  # noqa: F811
    monkeypatch.setenv("RECSYS_HOME", str(installation.home))
    return load_settings()


@pytest.fixture
def shop(tmp_path: Path, home: Settings, capsys: pytest.CaptureFixture[str]) -> Path:
    shop = write_shop(tmp_path / "shop", dated_tables(), toml='name = "small"\n')
    assert recsys(capsys, "table", "publish", shop).code == 0
    return shop


def parity(capsys: pytest.CaptureFixture[str], shop: Path, *more: str) -> Any:
    assert recsys(capsys, "events", "compact", shop).code == 0
    return recsys(capsys, "table", "parity", shop, *more)


def test_a_share_in_shop_toml_needs_no_flag(
    shop: Path, home: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with service(home, tmp_path, share=None) as (client, _):
        ask(client)
        (shop / "shop.toml").write_text('name = "small"\n[online]\nlog_share = 1\n')
        assert recsys(capsys, "table", "publish", shop).code == 0
        ask(client)
        keys = sum(map(len, ASKED.values()))
        wait_for(told(client, f'recsys_served_rows_total{{result="kept"}} {float(keys)}'))


def test_from_the_answer_to_the_gate(
    shop: Path,
    home: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    make_version: MakeVersion,  # noqa: F811
) -> None:
    make_version("1", shop="small", alias="challenger")
    make_version("2", shop="small")
    version = "models:/small.product-search/"
    assert recsys(capsys, "review", version + "1", "--json").report["parity"] is None
    assert "parity: not measured" in recsys(capsys, "review", version + "1").out
    with service(home, tmp_path) as (client, online):
        ask(client)
        send(client, 0, 50)
        ask(client)
        wait_for(told(client, "recsys_online_events_total 50.0"))
        ask(client)
        keys = sum(map(len, ASKED.values()))
        wait_for(told(client, f'recsys_served_rows_total{{result="kept"}} {3.0 * keys}'))
        at = {"keys": ["p01"], "at": "2999-01-01T00:00:00Z"}
        assert client.post("/v1/features", json=at).status_code == 200, "of an instant to come nothing is logged"
        measured = parity(capsys, shop, "--json")
        assert (measured.code, measured.report["failed"]) == (0, [])
        left = sum(measured.report["left_out"].values())
        assert measured.report["rows"] + left == 3 * keys
        assert measured.report["rows"] >= 2 * keys
        assert {one["share"] for one in measured.report["features"]} == {1.0}
        first = recsys(capsys, "promote", version + "1", "--json")
        assert first.code == 0
        assert "parity: every feature reaches 99.9%" in recsys(capsys, "review", version + "1").out

        assert online.features is not None
        true = online.features.read

        def wrong(entity: Entity, keys: Any, *, now: int | None = None) -> Read:
            found = true(entity, keys, now=now)
            return found._replace(values=found.values + np.float32(1)) if entity == "query" else found

        online.features.read = wrong  # type: ignore[method-assign]
        ask(client)
        wait_for(told(client, f'recsys_served_rows_total{{result="kept"}} {4.0 * keys}'))
    low = parity(capsys, shop)
    assert low.code == 1
    assert "below 99.9%: query_searches_7d" in low.out.replace("\n", " ")
    assert parity(capsys, shop, "--no-fail").code == 0
    refused = recsys(capsys, "promote", version + "2")
    assert (refused.code, refused.out, len(refused.lines)) == (1, "", 1)
    for said in ("query_searches_7d ", "expected at least 99.9% equal values", "--no-parity REASON"):
        assert said in refused.err
    assert "query_searches_7d" in recsys(capsys, "review", version + "2", "--json").report["parity"]["low"]
    assert recsys(capsys, "promote", version + "2", "--bootstrap", "--no-parity", "x").code == 2
    assert recsys(capsys, "promote", version + "2", "--no-parity", " ").code == 1
    done = recsys(capsys, "promote", version + "2", "--no-parity", "queries are not read", "--reason", "+.02", "--json")
    assert done.report["step"]["reason"] == "+.02; without parity: queries are not read"
    assert ledger.read(home.ledger)[-1].reason == "+.02; without parity: queries are not read"
    assert recsys(capsys, "rollback", "small.product-search").code == 0, "going back is always allowed"


def test_only_a_share_is_logged_and_only_what_was_asked_for(shop: Path, home: Settings, tmp_path: Path) -> None:
    with service(home, tmp_path, share=0.5) as (client, _):
        for number in range(60):
            body = {"keys": [f"p{number % 40:02d}"], "features": ["product_buyers_90d", "product_views_7d"]}
            assert client.post("/v1/features", json=body).status_code == 200
    log = ServedLog(home.served("small"))
    assert 15 < len(log.rows(since=0)) < 45
    (kind,) = log.kinds().values()
    assert [*kind.features] == ["product_buyers_90d", "product_views_7d"]
    log.close()


def test_a_log_that_fails_fails_no_request(shop: Path, home: Settings, tmp_path: Path) -> None:
    home.served("small").parent.mkdir()
    home.served("small").write_bytes(b"nonsense" * 1_000)
    with service(home, tmp_path) as (client, _):
        ask(client)
        keys = sum(map(len, ASKED.values()))
        wait_for(told(client, f'recsys_served_rows_total{{result="failed"}} {float(keys)}'))
        assert client.get("/health/ready").status_code == 200


def test_a_full_disk_fails_no_request(shop: Path, home: Settings, tmp_path: Path) -> None:
    with service(home, tmp_path) as (client, online):
        assert online.served is not None

        def full(*_: object, **__: object) -> int:
            raise StorageError("the disk is full", expected="room", action="free space")

        whole, online.served.served.append = online.served.served.append, full  # type: ignore[method-assign]
        ask(client)
        keys = float(sum(map(len, ASKED.values())))
        wait_for(told(client, f'recsys_served_rows_total{{result="failed"}} {keys}'))
        online.served.served.append = whole  # type: ignore[method-assign]
        ask(client)
        wait_for(told(client, f'recsys_served_rows_total{{result="kept"}} {keys}'))


def test_options_that_do_not_fit(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (("--as-of", "2025-01-01"), "--as-of without --log"),
        (("--log", shop / "x.jsonl", "--since", "2025-01-01"), "--since with --log"),
        ((), "no served features are logged"),
    ):
        done = recsys(capsys, "table", "parity", shop, *words)
        assert (done.code, len(done.lines), said in done.err) == (2, 1, True), done.err
    assert recsys(capsys, "serve", "--log-features", "2").code == 2
