"""Which engine answers: every wrong word is one line, and a run without Ray needs none."""

import shutil
import socket
import sys
from pathlib import Path

import pytest

from feature_store.point_in_time import task
from tests.command import Done, recsys
from tests.feature_store.point_in_time.test_table import rows_until

pytestmark = pytest.mark.usefixtures("no_cluster_by_environment")


@pytest.fixture
def no_cluster_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def closed_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{one.getsockname()[1]}"


def build(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], *options: object) -> Done:
    rows = tmp_path / "rows.parquet"
    rows_until(60).write_parquet(rows)
    return recsys(capsys, "table", "build", shop, "--rows", rows, "-o", tmp_path / "table", *options)


@pytest.mark.parametrize(
    ("code", "words", "options"),
    [
        (2, "--engine ray with it", ["--ray-address", "auto"]),
        (2, "--engine ray with it", ["--ray-workers", "2"]),
        (2, "for the cluster at auto", ["--engine", "ray", "--ray-address", "auto", "--ray-workers", "2"]),
        (
            2,
            "HOST:PORT of one that this machine is a node of",
            ["--engine", "ray", "--ray-address", "ray://head:10001"],
        ),
        (2, "HOST:PORT of one that this machine is a node of", ["--engine", "ray", "--ray-address", "head"]),
        (1, "no Ray cluster answers at 127.0.0.1:99999", ["--engine", "ray", "--ray-address", "127.0.0.1:99999"]),
        (1, "no Ray cluster answers at [::1]:1 (", ["--engine", "ray", "--ray-address", "[::1]:1"]),
    ],
)
def test_a_wrong_word_is_one_line(
    code: int, words: str, options: list[str], small_shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = build(small_shop, tmp_path, capsys, *options)
    assert (done.code, len(done.lines)) == (code, 1)
    assert words in done.err
    assert not (tmp_path / "table").exists()


def test_a_cluster_that_is_gone_is_one_line_wherever_it_is_named(
    closed_port: str,
    small_shop: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named = build(small_shop, tmp_path, capsys, "--engine", "ray", "--ray-address", closed_port)
    monkeypatch.setenv("RAY_ADDRESS", closed_port)
    found = build(small_shop, tmp_path, capsys, "--engine", "ray")
    assert (named.code, len(named.lines), named.err) == (found.code, 1, found.err)
    assert named.code == 1
    assert f"no Ray cluster answers at {closed_port}" in named.err


def test_ray_that_is_not_installed_is_one_line(
    small_shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    done = build(small_shop, tmp_path, capsys, "--engine", "ray")
    assert (done.code, len(done.lines)) == (1, 1)
    assert "pip install 'shoprank[ray]'" in done.err
    local = build(small_shop, tmp_path, capsys, "--only", "user_views_7d")
    assert local.code == 0, local.err


@pytest.mark.cluster
@pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\.data\.context")  # of Ray's own defaults
def test_a_cluster_of_its_own_writes_the_bytes_of_the_local_engine_and_is_stopped(
    small_shop: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "RECORDS", 100)
    local = build(small_shop, tmp_path, capfd, "--json")
    there = files(tmp_path / "table")
    shutil.rmtree(tmp_path / "table")
    done = build(small_shop, tmp_path, capfd, "--json", "--engine", "ray", "--ray-workers", "3")
    assert (done.code, done.err) == (0, "")
    assert done.report["table_id"] == local.report["table_id"]
    assert done.report["computed"] == done.report["rows"]
    assert files(tmp_path / "table") == there
    import ray

    assert not ray.is_initialized()


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
