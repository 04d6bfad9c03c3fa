"""The moment that recommendations are for: asked for over HTTP and on the command line, else the clock's."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import pytest

from recsys.engine.build import build_index
from recsys.engine.current import set_current
from recsys.engine.engine import Engine
from recsys.engine.ladder import Ladder
from recsys.engine.manifest import IndexManifest
from recsys.engine.policy import RecommendPolicy
from recsys.engine.recommend import Recommendations
from recsys.engine.search import Search
from recsys.errors import UsageError
from recsys.retrieval.each_user import moments
from recsys.settings import Settings
from recsys.types import EVENT_CODES, Candidates, Histories, Mask, PositionHistories, Positions
from serving.live import LiveIndex
from serving.moments import START, asked_moment, microseconds, parse_moment, usual_moment
from serving.opening import open_engine
from tests.serving.conftest import Shelf, catalogue

PRODUCTS, HOUR = 24, 3_600_000_000
BOUGHT = datetime(2026, 3, 1, 8, tzinfo=UTC)
NOW = datetime(2026, 3, 20, 15, 30, tzinfo=UTC)


def clock() -> int:
    return microseconds(NOW)


class ByHour:
    """Brings the product that has the number of the hour, and those behind it."""

    name = "by-hour"

    def recommend(
        self,
        histories: PositionHistories,
        *,
        k: int,
        allowed: Mask | None = None,
        exclude: Sequence[Positions] | None = None,
    ) -> list[Candidates]:
        """The product of the hour first."""
        hidden = exclude or [np.zeros(0, dtype=np.int64)] * len(histories)
        lists = []
        for moment, out in zip(moments(histories, until=0), hidden, strict=True):
            order = (np.arange(PRODUCTS) + moment // HOUR) % PRODUCTS
            kept = order[~np.isin(order, out)][:k].astype(np.int64)
            lists.append(Candidates(kept, -np.arange(len(kept), dtype=np.float32), self.name))
        return lists


class Buyer:
    """Everyone bought p015 and p003."""

    def read(self, user_ids: Sequence[str]) -> Histories:
        users = len(user_ids)
        return Histories(
            offsets=np.arange(users + 1) * 2,
            product_ids=("p015", "p003") * users,
            timestamps=np.full(2 * users, microseconds(BOUGHT)),
            event_types=np.full(2 * users, EVENT_CODES["purchase"], dtype=np.int8),
            segments=("",) * users,
        )

    def known(self, user_ids: Sequence[str]) -> Mask:
        return np.ones(len(user_ids), dtype=np.bool_)


@pytest.fixture(scope="module")
def engine() -> Engine:
    products = catalogue(PRODUCTS)
    return Engine(
        manifest=IndexManifest(shop="sample", catalogue_digest="c", products=PRODUCTS),
        catalogue=products,
        finder=cast("Search", None),
        recommendations=Recommendations(products, Ladder(personal=(ByHour(),)), (), RecommendPolicy(repeats=True)),
        histories=Buyer(),
        now=clock,
    )


@pytest.fixture(scope="module")
def asked(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    from tests.serving.conftest import serving_at

    shelf = Shelf(tmp_path_factory.mktemp("shelf") / "indexes")
    shelf.publish("first")
    live = LiveIndex(shelf.indexes, open_engine=lambda folder: engine)
    live.refresh()
    with serving_at(live, clock=clock) as client:
        yield client


def first(client: httpx.Client, **body: Any) -> tuple[str, str]:
    answer = client.post("/v1/recommend", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["hits"][0]["product_id"], answer.json()["at"]


SHOPPERS: list[dict[str, Any]] = [
    {"user_id": "u"},
    {"events": [{"product_id": "p001"}]},
    {"user_id": "u", "events": [{"product_id": "p001"}]},
]


@pytest.mark.parametrize("shopper", SHOPPERS)
def test_the_moment_that_is_asked_for_else_now(asked: httpx.Client, shopper: dict[str, Any]) -> None:
    assert first(asked, **shopper) == ("p015", "2026-03-20T15:30:00Z")
    assert first(asked, **shopper, at="2026-03-21T02:10:00+01:00") == ("p001", "2026-03-21T01:10:00Z")
    assert first(asked, **shopper, at="2026-03-20T23:59:59Z") == ("p023", "2026-03-20T23:59:59Z")


def test_nobody_is_asked_for_before_the_newest_event(asked: httpx.Client) -> None:
    assert first(asked, user_id="u", at="2026-01-01T20:00:00Z") == ("p008", "2026-03-01T08:00:00Z")
    assert first(asked, events=[{"product_id": "p001"}], at="2026-01-01T20:00:00Z")[0] == "p020"


def test_bought_products_come_back_by_the_moment(asked: httpx.Client) -> None:
    """Bought on 1 March at 8: gone for 19 days and a half, until the evening of the 20th."""
    shape = {"return_days": 19.5}
    assert first(asked, user_id="u", repeats=False, shape=shape)[0] == "p016"
    assert first(asked, user_id="u", repeats=False, shape=shape, at="2026-03-21T15:00:00Z")[0] == "p015"


def test_calls_that_share_a_batch_keep_their_moments(asked: httpx.Client, engine: Engine) -> None:
    hours = [f"2026-03-22T{hour:02}:00:00Z" for hour in range(24)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda at: first(asked, user_id="u", at=at)[0], hours))
    assert found == [f"p{hour:03}" for hour in range(24)]
    at = [microseconds(NOW + timedelta(hours=3)), None, microseconds(NOW)]
    together = engine.recommend(["a", "b", "c"], at=at, k=3)
    alone = [engine.recommend([user], at=[moment], k=3)[0] for user, moment in zip("abc", at, strict=True)]
    assert together == alone
    assert [answer.at for answer in together] == [at[0], clock(), clock()]
    with pytest.raises(UsageError, match="2 users and 1 moments"):
        engine.recommend(["a", "b"], at=[5])


@pytest.mark.parametrize("at", ["1969-12-31T23:00:00Z", "0001-01-01T00:00:00+14:00", "2027-06-01T00:00:00Z"])
def test_a_moment_far_from_now_is_refused(asked: httpx.Client, at: Any) -> None:
    answer = asked.post("/v1/recommend", json={"user_id": "u", "at": at})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["expected"] == "a moment from 1970-01-01 to 2027-03-21, 366 days from now"


@pytest.mark.parametrize("at", [0, 1_735_084_800, 9e12, "1735084800", "2026-03-21T15:00:00", "noon", True])
def test_what_is_no_moment_with_a_zone_is_refused(asked: httpx.Client, at: Any) -> None:
    answer = asked.post("/v1/recommend", json={"user_id": "u", "at": at})
    assert answer.status_code == 422, answer.text
    assert "with its zone, as 2026-03-01T12:00:00Z" in str(answer.json()["error"])


def test_a_shop_without_a_calendar_has_no_moments(engine: Engine) -> None:
    orders = replace(engine, now=None)
    assert orders.recommend(["u"], k=1)[0].at is None
    with pytest.raises(UsageError, match="in a shop without a calendar"):
        orders.recommend(["u"], at=[clock()])


@pytest.fixture
def shell(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., dict[str, Any]]:
    from tests.command import recsys

    monkeypatch.setattr("serving.opening.open_live", lambda settings, *, shop: engine)
    monkeypatch.setattr("serving.moments.wall_clock", clock)

    def run(*arguments: str, code: int = 0) -> dict[str, Any]:
        done = recsys(capsys, "recommend", *arguments, "--json")
        assert done.code == code, done.err
        return cast("dict[str, Any]", json.loads(done.out))

    return run


def test_the_command_asks_for_a_moment(shell: Callable[..., dict[str, Any]]) -> None:
    for shopper in (("u",), ("--viewed", "p001"), ("u", "--viewed", "p001")):
        told = shell(*shopper, "--at", "2026-03-21T02:10:00+01:00")
        assert (told["hits"][0]["product_id"], told["at"]) == ("p001", "2026-03-21T01:10:00Z")
        assert shell(*shopper)["hits"][0]["product_id"] == "p015"


@pytest.mark.parametrize(
    ("at", "found"),
    [
        ("noon", "--at noon"),
        ("2026-03-01", "--at 2026-03-01, a time without its zone"),
        ("2026-03-01T12:00:00", "--at 2026-03-01T12:00:00, a time without its zone"),
        ("2062-03-01T12:00:00Z", "at 2062-03-01T12:00:00+00:00"),
    ],
)
def test_the_command_refuses_what_is_no_moment(shell: Callable[..., dict[str, Any]], at: str, found: str) -> None:
    assert shell("u", "--at", at, code=2)["error"]["found"] == found


def test_a_shop_of_late_goes_by_the_clock_and_one_that_stands_still_by_its_last_moment() -> None:
    late, old = NOW - timedelta(days=30), NOW - timedelta(days=31)
    assert usual_moment(late, clock=clock) is clock
    assert usual_moment(NOW + timedelta(hours=9), clock=clock) is clock
    assert usual_moment(old, clock=clock) == microseconds(old)
    assert usual_moment(None, clock=clock) is None
    assert asked_moment(None, clock=clock) is None
    assert asked_moment(START, clock=clock) == 0
    assert parse_moment(None) is None


def test_an_opened_index_goes_by_the_clock(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, tracking_uri="")
    folder = settings.index("sample") / "one"
    build_index(catalogue(4), search=None, recommender=None, folder=folder, shop="sample", backbone="")
    for until, expected in ((NOW - timedelta(days=1), clock), (None, None)):
        set_current(settings.index("sample"), folder, until=until)
        assert open_engine(folder, settings=settings, shop="sample", clock=clock).now is expected
