"""Histories that a server has lost are told by the service that runs, by one that starts, and after a new index."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from redis import Redis

from feature_store import indexing
from feature_store.indexing import IndexOptions, index_shop
from feature_store.online.watch import Watch
from recsys.engine.current import current_index, set_current
from recsys.settings import Settings, load_settings
from serving.events import EventDesk
from serving.live import LiveIndex
from serving.online import OnlineDesk
from serving.opening import open_engine
from serving.server import open_desk
from serving.telemetry import Telemetry
from tests.feature_store.test_indexing import NoModels
from tests.redis_server import redis_server
from tests.serving.conftest import serving_at
from tests.shops import write_small_shop

pytestmark = pytest.mark.services

GONE = "the name of the histories is gone"
ANSWERS = {"histories": "answers", "features": "answers"}


@dataclass
class Host:
    """A serving host: its index, and services over it."""

    shop: Path
    settings: Settings
    time: list[float] = field(default_factory=lambda: [0.0])

    def index(self, settings: Settings) -> None:
        options = IndexOptions(out=None, models={}, dense_kind="auto", backbone="", live=True)
        index_shop(self.shop, as_of=None, options=options, settings=settings)

    @contextmanager
    def service(self) -> Iterator[tuple[LiveIndex, httpx.Client]]:
        """A service as `recsys serve` starts it, whose store may be asked again at once."""
        online = OnlineDesk(Watch(clock=self.later))

        def opened(folder: Path) -> object:
            return open_engine(folder, settings=self.settings, shop="small", watch=online.histories)

        def desk(telemetry: Telemetry) -> EventDesk:
            telemetry.online(online)
            return open_desk(self.settings, shop="small", telemetry=telemetry, online=online)

        live = LiveIndex(self.settings.index("small"), open_engine=opened)  # type: ignore[arg-type]
        live.refresh()
        with serving_at(live, desk=desk, online=online, interval=60) as client:
            yield live, client

    def later(self) -> float:
        self.time[0] += 2
        return self.time[0]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setattr(indexing, "Registry", NoModels)
    with redis_server(tmp_path) as address:
        settings = load_settings(home=tmp_path / "home", online_store=address)
        yield Host(write_small_shop(tmp_path / "shop"), settings)


def flush(host: Host) -> None:
    client = Redis.from_url(host.settings.online_store)
    client.flushall()
    client.close()


def histories(client: httpx.Client) -> object:
    told = client.get("/health/ready").json()["online"]["histories"]
    up = 'recsys_online_up{part="histories"} 1.0' in client.get("/metrics").text
    assert up == (told == "answers")
    return told if told == "answers" else told["found"].partition(": ")[2]


def recommend(client: httpx.Client) -> None:
    assert client.post("/v1/recommend", json={"user_id": "u03"}).status_code == 200


def test_histories_that_are_lost_stay_told(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.index(host.settings)
    with host.service() as (live, client), caplog.at_level(logging.WARNING):
        recommend(client)
        assert histories(client) == "answers"
        flush(host)
        recommend(client)
        assert histories(client) == GONE
        indexes = host.settings.index("small")
        set_current(indexes, current_index(indexes), until=datetime(2030, 1, 1, tzinfo=UTC))
        assert live.refresh(), "an index is loaded all the same"
        assert histories(client) == GONE
        recommend(client)
        assert histories(client) == GONE
        assert "histories answer again" not in caplog.text
        with host.service() as (_, started):
            assert histories(started) == GONE, "before anyone asks for a user"
            recommend(started)
            assert histories(started) == GONE
            host.index(host.settings)
            recommend(started)
            assert histories(started) == "answers"
        recommend(client)
        assert histories(client) == "answers"


def test_a_shop_that_put_no_histories_on_that_server_has_lost_none(host: Host) -> None:
    host.index(load_settings(home=host.settings.home, online_store=""))
    with host.service() as (_, client):
        recommend(client)
        assert client.get("/health/ready").json()["online"] == ANSWERS
        host.index(host.settings)
        flush(host)
        recommend(client)
        assert histories(client) == GONE, "though this service never saw them"
