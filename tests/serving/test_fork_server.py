"""Commands in forks of a process that has imported what is slow: what they say, how they end, what they may rely on."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from recsys.cli.table import COMMANDS
from serving.fork_server import NEEDS, THREADED
from serving.processes import ForkedProcess

ROOT = Path(__file__).parents[2]
PARENT = """
import os, sys
from serving.processes import ForkedProcess
ForkedProcess((sys.executable, "-c", {server!r})).run(["wait"], environment=dict(os.environ))
"""
SERVER = """
import signal, sys
from serving import fork_server

def run_module(*_, **__):
    with open({pipe!r}, "w") as pipe:
        def leave(*_):
            pipe.write("unwound")
            sys.exit(143)
        fork_server.end_with_parent()
        signal.signal(signal.SIGTERM, leave)
        pipe.write("ready")
        pipe.flush()
        signal.pause()

fork_server.runpy.run_module = run_module
fork_server.serve()
"""
AFTER = """
import os, sys
from serving.fork_server import load

load(["train", "relevance"])
print([name for name in ("polars", "mlflow", "lightning") if name in sys.modules])
process = os.fork()
if not process:
    import polars as pl
    frame = pl.DataFrame({"a": range(100_000)}).lazy().group_by(pl.col("a") % 3).len().sort("a")
    print(frame.collect()["len"].to_list(), frame.collect(engine="streaming")["len"].to_list(), flush=True)
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
"""


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> Iterator[ForkedProcess]:
    monkeypatch.chdir(ROOT)
    runner = ForkedProcess()
    yield runner
    runner.close()


def test_a_command_is_what_it_would_be_by_itself(forked: ForkedProcess, tmp_path: Path) -> None:
    """One server runs them all; each has the environment that it is given, and nothing of the one before."""
    given = {**os.environ, "RECSYS_HOME": str(tmp_path)}
    assert forked.run(["--version"], environment=given).output.startswith("recsys ")
    server = forked.server
    refused = forked.run(["doctor", str(tmp_path / "shop-\udcff"), "--json"], environment=given)
    assert refused.code == 2
    assert json.loads(refused.output)["error"]["found"].endswith("shop-\udcff is no folder")
    (tmp_path / "shop").mkdir()
    lost = forked.run(["validate", str(tmp_path / "shop"), "--json"], environment=given)
    assert (lost.code, lost.processor_seconds > 0) == (1, True)
    assert json.loads(lost.output)["error"]["type"] == "ShopError"
    traced = forked.run(["promote", "?", "--json"], environment={**given, "RECSYS_DEBUG": "1"})
    assert (traced.code, traced.output) == (1, "")
    assert forked.run(["--version"], environment=given).code == 0
    assert forked.server is server


def test_a_server_that_is_killed_is_told_and_comes_back(forked: ForkedProcess) -> None:
    forked.run(["--version"], environment=os.environ)
    assert forked.server is not None
    forked.server.kill()
    forked.server.wait()
    assert forked.run(["--version"], environment=os.environ).code == -signal.SIGKILL
    assert forked.run(["--version"], environment=os.environ).code == 0


def test_a_command_unwinds_where_what_asked_for_it_is_killed(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    program = PARENT.format(server=SERVER.format(pipe=str(pipe)))
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT) as parent, pipe.open() as told:
        assert told.read(5) == "ready"
        parent.kill()
        assert told.read() == "unwound"


def test_libraries_with_threads_are_left_to_the_forks() -> None:
    done = subprocess.run([sys.executable, "-c", AFTER], cwd=ROOT, capture_output=True, text=True, check=True)
    counted = "[33334, 33333, 33333]"
    assert done.stdout.splitlines() == ["['mlflow', 'lightning']", f"{counted} {counted}", "7"]


def test_what_is_imported_ahead_exists() -> None:
    assert {words.split()[0] for words in NEEDS} <= set(COMMANDS)
    for name in {name for names in NEEDS.values() for name in names} | set(THREADED):
        assert importlib.util.find_spec(name) is not None, name
