"""What every test may count on: state below tmp_path, and a shop small enough to check by hand."""

import logging
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that wait for one another cost more than such small matrices
settings.register_profile("shop", deadline=None)  # a busy machine is no failure
settings.load_profile("shop")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what tests told by `record_property("told", line)`: what a worker prints itself is not shown."""
    for report in terminalreporter.getreports("passed"):
        for name, line in report.user_properties:
            if name == "told":
                terminalreporter.write_line(f"{report.nodeid}: {line}")


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes state anywhere else."""
    monkeypatch.setenv("RECSYS_HOME", str(tmp_path / "recsys-home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def own_handlers() -> Iterator[None]:
    """What a command has set up for its own output does not outlive the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session", autouse=True)
def _tables_made_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A home without a database gets a copy of MLflow's empty tables: to make them anew takes two seconds each time.

    Commands in a process of their own, and a home whose maker was killed, still make them.
    """
    from recsys.registry.client import Registry
    from recsys.server import database_file, first_use
    from recsys.settings import Settings

    @cache
    def empty() -> Path:
        home = tmp_path_factory.mktemp("tables")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", "")  # the test's own comes back
            patch.setattr("recsys.registry.client.first_use", first_use)
            Registry(Settings(home=home, tracking_uri=f"sqlite:///{home / 'mlflow.db'}")).versions("none")
        with closing(sqlite3.connect(home / "mlflow.db")) as database, database:
            database.execute("DELETE FROM experiments")  # the first one says where its home is
        return home / "mlflow.db"

    @contextmanager
    def with_tables(settings: Settings) -> Iterator[None]:
        file = database_file(settings)
        if file is not None and not file.exists():
            copy = Path(shutil.copyfile(empty(), tmp_path_factory.mktemp("copy") / "mlflow.db"))
            with suppress(FileExistsError):  # another thread was first
                os.link(copy, file)
            copy.unlink()
        with first_use(settings):
            yield

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recsys.registry.client.first_use", with_tables)
        patch.setattr("recsys.tracking.first_use", with_tables)
        yield


@pytest.fixture(scope="session")
def small_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop of 40 products, 30 users, 12 queries over 90 days; read only."""
    from tests.shops import write_small_shop

    return write_small_shop(tmp_path_factory.mktemp("shop") / "small")


@pytest.fixture(scope="session")
def small_snapshot(small_shop: Path, tmp_path_factory: pytest.TempPathFactory):  # noqa: ANN201
    """The small shop's snapshot by time (28 + 28 days); read only."""
    from feature_store.snapshot import build_snapshot

    return build_snapshot(small_shop, out=tmp_path_factory.mktemp("snapshot") / "small")


@pytest.fixture(scope="session")
def ordered_snapshot(small_shop: Path, tmp_path_factory: pytest.TempPathFactory):  # noqa: ANN201
    """The small shop's snapshot by leave-one-out; read only."""
    from feature_store.snapshot import build_snapshot

    return build_snapshot(small_shop, out=tmp_path_factory.mktemp("snapshot") / "ordered", split="leave-one-out")
