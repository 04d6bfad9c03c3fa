"""The event log on a PostgreSQL server: what every log does, and what a server alone can get wrong."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from feature_store.event_log.opening import open_log
from feature_store.event_log.postgres import PostgresLog
from feature_store.event_log.writer import Writer
from recsys.errors import StorageError, UsageError
from recsys.settings import load_settings
from tests.command import recsys
from tests.event_logs import check_event_log, events, ids, row
from tests.postgres import cluster, free_port
from tests.shops import small_tables, write_shop

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with cluster("shop", fsync=True) as port:
        yield f"postgresql://shop@127.0.0.1:{port}/shop"


@pytest.fixture
def make(url: str, request: pytest.FixtureRequest) -> Iterator[Callable[..., PostgresLog]]:
    """Logs of a shop that is this test's own."""
    made: list[PostgresLog] = []

    def one(**options: Any) -> PostgresLog:
        made.append(PostgresLog(url, shop=request.node.name[-40:], **options))
        return made[-1]

    yield one
    for log in made:
        log.close()


def test_what_every_log_does(make: Callable[..., PostgresLog], tmp_path: Path) -> None:
    check_event_log(make, tmp_path / "shop")


def test_a_commit_waits_for_the_disk_though_the_server_says_otherwise(
    make: Callable[..., PostgresLog], url: str
) -> None:
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("ALTER ROLE shop SET synchronous_commit = off")
        log = make()
        log.append(events(1))
        assert log._connected().execute("SHOW synchronous_commit").fetchone() == ("on",)
        assert log._connected().execute("SHOW fsync").fetchone() == ("on",)
        server.execute("ALTER ROLE shop RESET synchronous_commit")


def test_numbers_ascend_as_commits_do(make: Callable[..., PostgresLog]) -> None:
    """A reader behind eight writers never meets a number below one that it has seen."""
    logs = [make() for _ in range(9)]
    logs[0].head()

    def send(writer: int) -> int:
        return sum(sum(logs[writer].append(events(*range(start, start + 5)))) for start in range(0, 100, 5))

    with ThreadPoolExecutor(8) as pool:
        work = [pool.submit(send, writer) for writer in range(8)]
        seen, reached = [], 0
        while not all(one.done() for one in work):
            found = [one.number for one in logs[8].read(after=reached, until=10**9)]
            seen += found
            reached = found[-1] if found else reached
        seen += [one.number for one in logs[8].read(after=reached, until=10**9)]
    assert sum(one.result() for one in work) == 100
    assert len(seen) == 100
    assert sorted(ids(logs[0])) == sorted(f"e{number}" for number in range(100))


def test_a_connection_that_breaks_is_one_line_and_the_next_call_connects_again(
    make: Callable[..., PostgresLog], url: str
) -> None:
    log = make()
    log.append(events(1))
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    with pytest.raises(StorageError, match=r"the event log at 127.0.0.1:\d+/shop fails"):
        log.append(events(2))
    assert log.append(events(1, 2)) == [False, True]


def test_a_server_that_is_not_there_is_one_line() -> None:
    with pytest.raises(StorageError, match="expected a server that answers") as told:
        PostgresLog(f"postgresql://shop:secret@127.0.0.1:{free_port()}/shop", shop="s").append(events(1))
    assert "secret" not in str(told.value)


def test_a_log_is_masked_in_one_way(make: Callable[..., PostgresLog]) -> None:
    make(mask="a").append(events(1))
    with pytest.raises(UsageError, match="masked with another key"):
        make(mask="b").append(events(2))


def test_it_stands_behind_a_writer(make: Callable[..., PostgresLog]) -> None:
    log = make()
    writer = Writer(log)
    answers = [writer.submit(events(number, 0)) for number in range(1, 50)]
    assert sum(sum(one.result(60)) for one in answers) == 50
    writer.close()


def test_shops_do_not_meet_and_the_commands_take_the_address(
    url: str, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSYS_EVENT_LOG", url)
    file = tmp_path / "day.csv"
    file.write_text("event_id,user_id,product_id,timestamp,event_type\n1,u1,p01,2025-03-30T10:00:00Z,view\n")
    for name in ("one", "two-2"):
        shop = write_shop(tmp_path / name, {"products": small_tables()["products"]}, toml=f'name = "{name}"\n')
        assert recsys(capsys, "events", "append", shop, file, "--json").report["accepted"] == 1
        assert recsys(capsys, "events", "compact", shop, "--json").report["events"] == 1
    log = open_log(load_settings(), shop="one")
    assert log.append(events(5, **row(5))) == [True]
    log.close()
    assert not load_settings().events("one").exists()
