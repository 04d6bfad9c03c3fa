"""Runs say what was learned from what, leave nothing outside the home folder, and fail in one line."""

import errno
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from sqlalchemy.exc import OperationalError

from recsys.errors import StorageError, TrackingError
from recsys.server import explain, metric_name, prepare, speaking, stored_name
from recsys.settings import Settings, load_settings
from recsys.tracking import Tracker, blocks, flat, folder_name

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home with its tables made, for all tests of this file that only add runs."""
    home = tmp_path_factory.mktemp("home of ünit")
    with Tracker(load_settings(home=home)).run("first", name="makes the tables"):
        pass
    return home


@pytest.fixture
def installation(shared_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Its settings, from a working folder that must stay empty."""
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    monkeypatch.chdir(cwd)
    yield load_settings(home=shared_home)
    assert list(cwd.iterdir()) == []
    assert "MLFLOW_TRACKING_URI" not in os.environ


def client(settings: Settings) -> MlflowClient:
    return MlflowClient(tracking_uri=settings.tracking_uri)


def test_a_run_says_what_was_learned_from_what(
    installation: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from matplotlib.figure import Figure

    (tmp_path / "report.json").write_text("{}")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner.txt").write_text("inner")
    params = {"learning": {"rate": 0.1, "steps": [1, 2]}, "long": "x" * 900} | {
        f"p{number}": number for number in range(120)
    }
    with Tracker(installation).run("acme/als", name="als", params=params, tags={"stage": "als"}) as run:
        for epoch, value in enumerate((0.1, 0.3)):
            run.metrics({"ndcg@10": value, "loss": 1 - value}, step=epoch)
        run.tags({"note": "fine"})
        run.artifact(tmp_path / "report.json")
        run.artifact(tmp_path / "folder", folder="more")
        run.figure(Figure(), "curves.png")
        run.dataset(name="acme", digest="5" * 64, source="/data/snapshots/5", profile={"products": 3})
    found = client(installation).get_run(run.id)
    assert found.info.status == "FINISHED"
    assert found.data.params["learning.rate"] == "0.1"
    assert len(found.data.params["long"]) == 500
    assert len(found.data.params) == 123
    assert found.data.metrics == {"ndcg_at_10": 0.3, "loss": 0.7}
    history = client(installation).get_metric_history(run.id, "ndcg_at_10")
    assert [(point.step, point.value) for point in history] == [(0, 0.1), (1, 0.3)]
    assert found.data.tags["stage"] == "als"
    assert found.data.tags["note"] == "fine"
    assert len(found.data.tags["mlflow.source.git.commit"]) >= 7
    assert found.data.tags["version.torch"]
    data = found.inputs.dataset_inputs[0].dataset
    assert (data.name, data.digest, json.loads(data.profile)) == ("acme", "5" * 36, {"products": 3})
    assert json.loads(data.source) == {"uri": "/data/snapshots/5", "snapshot": "5" * 64}
    listed = {file.path for file in client(installation).list_artifacts(run.id)}
    assert listed == {"report.json", "more", "curves.png"}
    assert found.info.artifact_uri.startswith((installation.artifacts / "acme-als").as_uri())
    assert (installation.artifacts / "acme-als" / run.id / "artifacts" / "more" / "inner.txt").read_text() == "inner"
    assert capsys.readouterr() == ("", "")


def test_no_experiment_points_into_the_working_folder(installation: Settings) -> None:
    places = [found.artifact_location for found in client(installation).search_experiments()]
    assert len(places) >= 2
    assert all(place.startswith(installation.artifacts.as_uri()) for place in places)


def test_a_run_that_breaks_is_marked_as_failed(installation: Settings) -> None:
    with pytest.raises(ZeroDivisionError), Tracker(installation).run("breaks", name="one") as run:
        run.metrics({"share": 1 / 0})
    assert client(installation).get_run(run.id).info.status == "FAILED"
    with pytest.raises(KeyboardInterrupt), Tracker(installation).run("breaks", name="two") as run:
        raise KeyboardInterrupt
    assert client(installation).get_run(run.id).info.status == "KILLED"


def test_a_run_is_continued(installation: Settings) -> None:
    tracker = Tracker(installation)
    with tracker.run("goes on", name="one") as first:
        first.metrics({"loss": 2.0}, step=0)
    with tracker.run("goes on", name="one", run_id=first.id) as second:
        second.metrics({"loss": 1.0}, step=1)
        assert client(installation).get_run(first.id).info.status == "RUNNING"
    assert second.id == first.id
    assert len(client(installation).get_metric_history(first.id, "loss")) == 2


def test_a_deleted_experiment_is_one_line(installation: Settings) -> None:
    with Tracker(installation).run("deleted", name="one"):
        pass
    found = client(installation).get_experiment_by_name("deleted")
    assert found is not None
    client(installation).delete_experiment(found.experiment_id)
    again = Tracker(installation).run("deleted", name="two")
    with pytest.raises(TrackingError, match=f"mlflow experiments restore -x {found.experiment_id}"), again:
        pass


def test_processes_that_come_first_together_share_one_database(tmp_path: Path) -> None:
    code = """
from recsys.settings import load_settings
from recsys.tracking import Tracker
with Tracker(load_settings()).run("same", name="one") as run:
    run.metrics({"loss": 1.0})
"""
    environment = os.environ | {"RECSYS_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error::UserWarning", "-c", code],
            env=environment,
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    assert [(process.communicate()[0], process.returncode) for process in processes] == [("", 0)] * 2
    settings = load_settings(home=tmp_path / "home")
    found = client(settings).get_experiment_by_name("same")
    assert found is not None
    assert len(client(settings).search_runs([found.experiment_id])) == 2
    assert list(cwd.iterdir()) == []


def test_a_database_whose_maker_was_killed_is_made_anew(tmp_path: Path) -> None:
    """SIGKILL while MLflow makes its tables must not leave a home that no command can use again."""
    settings = load_settings(home=tmp_path)
    program = """
import os, signal, sqlalchemy
from recsys.settings import load_settings
from recsys.tracking import Tracker

made = []
@sqlalchemy.event.listens_for(sqlalchemy.Engine, "after_cursor_execute")
def die(connection, cursor, statement, parameters, context, executemany):
    made.append(statement)
    if sum("CREATE TABLE" in statement for statement in made) > 8:
        os.kill(os.getpid(), signal.SIGKILL)

with Tracker(load_settings()).run("first", name="never opened"):
    pass
"""
    environment = {**os.environ, "RECSYS_HOME": str(tmp_path)}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == -9
    assert (tmp_path / "mlflow.db").stat().st_size
    with Tracker(settings).run("second", name="works"):
        pass
    with Tracker(settings).run("second", name="and stays") as run:
        assert len(client(settings).search_runs([client(settings).get_run(run.id).info.experiment_id])) == 2


@pytest.mark.parametrize("keep", [0.5, None])
def test_a_damaged_database_is_one_line(shared_home: Path, tmp_path: Path, keep: float | None) -> None:
    whole = (shared_home / "mlflow.db").read_bytes()
    (tmp_path / "mlflow.db").write_bytes(b"no database" if keep is None else whole[: int(len(whole) * keep)])
    with pytest.raises(TrackingError, match=r"mlflow\.db is damaged \(.*backup"):
        prepare(load_settings(home=tmp_path))


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_a_server_that_is_down_is_one_line(tmp_path: Path, scheme: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    settings = load_settings(home=tmp_path, tracking_uri=f"{scheme}://ada:secret@127.0.0.1:{port}")
    with pytest.raises(TrackingError, match="no MLflow server answers") as caught, Tracker(settings).run("x", name="x"):
        pass
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "***" in str(caught.value)


def test_a_server_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.server.SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        settings = load_settings(home=tmp_path, tracking_uri=f"http://127.0.0.1:{mute.getsockname()[1]}")
        with pytest.raises(TrackingError, match="timed out"), Tracker(settings).run("x", name="x"):
            pass


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("(sqlite3.OperationalError) database or disk is full"),
    ],
)
def test_a_full_disk_is_told_apart(tmp_path: Path, error: Exception) -> None:
    assert isinstance(explain(error, settings=load_settings(home=tmp_path), step="log"), StorageError)


def test_a_full_disk_while_the_tables_are_made_is_told(tmp_path: Path) -> None:
    full = OperationalError("DROP TABLE one", {}, Exception("database or disk is full"))
    with (
        pytest.raises(StorageError, match="could not open: the disk is full"),
        speaking(load_settings(home=tmp_path), step="open", failures=ValueError),
    ):
        raise full


def test_the_databases_own_traces_stay_out_of_the_log(tmp_path: Path) -> None:
    prepare(load_settings(home=tmp_path))
    assert not logging.getLogger("mlflow.store.db.utils").isEnabledFor(logging.ERROR)


def test_any_other_failure_is_one_short_line(tmp_path: Path) -> None:
    told = explain(RuntimeError("a\nb" * 500), settings=load_settings(home=tmp_path), step="log metrics")
    assert isinstance(told, TrackingError)
    assert "\n" not in str(told)
    assert len(str(told)) < 700


def test_mlflow_is_imported_by_nothing_before_the_first_run() -> None:
    doors = "recsys.tracking, recsys.registry.client, recsys.promotion"
    code = f"import sys, {doors}; sys.exit('mlflow.tracking' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_names_in_mlflow_and_back() -> None:
    assert stored_name("ndcg@10") == "ndcg_at_10"
    assert metric_name(stored_name("gain@5")) == "gain@5"
    assert flat({"a": {"b": {"c": 1}}, "d": 2}) == {"a.b.c": 1, "d": 2}
    assert folder_name("acme/als 2") == "acme-als-2"
    assert folder_name("..") == "run"
    assert [len(block) for block in blocks(list(range(5)), 2)] == [2, 2, 1]
