"""Stages as child processes: kept where nothing changed, run again where something did, failures passed on."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recsys.errors import RecsysError, RegistryError, ShopError
from recsys.settings import Settings
from serving.processes import ForkedProcess, NewProcess, Runner
from serving.stages import Stages, shop_digest

CHILD = """
import json, os, signal, sys
log, mode = sys.argv[1], sys.argv[2]
open(log, "a").write(" ".join(sys.argv[2:]) + "\\n")
sys.stderr.write("words for people\\n")
if mode == "fail":
    fault = {"type": "RegistryError", "found": "no champion", "expected": "one", "action": "promote one"}
    print(json.dumps({"error": fault}))
    sys.exit(1)
if mode == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if mode == "wait":
    def leave(*_):
        open(log, "a").write("unwound\\n")
        sys.exit(143)
    signal.signal(signal.SIGTERM, leave)
    os.kill(int(os.environ["TESTER"]), signal.SIGUSR1)
    signal.pause()
if mode == "mute":
    sys.exit(3)
print("a line before")
print(json.dumps({"home": os.environ["RECSYS_HOME"], "server": os.environ["MLFLOW_TRACKING_URI"]}))
"""


FORKING = """
import runpy, sys
from serving import fork_server

def run_module(name, *, run_name, alter_sys):
    assert (name, run_name, alter_sys) == ("recsys", "__main__", True)
    sys.argv = [{child!r}, {log!r}, *sys.argv[1:]]
    runpy.run_path({child!r}, run_name="__main__")

fork_server.runpy.run_module = run_module
fork_server.serve()
"""


@pytest.fixture(params=["a new process", "a fork"])
def stages(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stages]:
    child, log = tmp_path / "child.py", str(tmp_path / "log")
    child.write_text(CHILD)
    runner: Runner
    if request.param == "a fork":
        server = tmp_path / "server.py"
        server.write_text(FORKING.format(child=str(child), log=log))
        runner = ForkedProcess((sys.executable, str(server)))
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    else:
        runner = NewProcess((sys.executable, str(child), log))
    monkeypatch.setenv("TESTER", str(os.getpid()))
    settings = Settings(home=tmp_path / "home", tracking_uri="sqlite:///x")
    yield Stages(folder=tmp_path / "records", settings=settings, announce=lambda line: None, runner=runner)
    runner.close()


def calls(tmp_path: Path) -> list[str]:
    return (tmp_path / "log").read_text().splitlines()


def test_a_report_comes_back_and_standard_error_passes_through(stages: Stages, tmp_path: Path, capfd: Any) -> None:
    report = stages.run("one", "fine", inputs={"shop": "a"})
    assert report == {"home": str(tmp_path / "home"), "server": "sqlite:///x"}
    assert capfd.readouterr().err == "words for people\n"
    assert calls(tmp_path) == ["fine --json"]
    assert json.loads((tmp_path / "records" / "one.json").read_text())["exit_code"] == 0


@pytest.mark.parametrize(
    ("arguments", "inputs", "made", "runs"),
    [
        (("fine",), {"shop": "a"}, True, 1),
        (("fine",), {"shop": "b"}, True, 2),
        (("fine", "-x"), {"shop": "a"}, True, 2),
        (("fine",), {"shop": "a"}, False, 2),
    ],
)
def test_only_a_changed_stage_runs_again(
    stages: Stages, tmp_path: Path, arguments: tuple[str, ...], inputs: dict[str, str], made: bool, runs: int
) -> None:
    first = stages.run("one", "fine", inputs={"shop": "a"})
    assert stages.run("one", *arguments, inputs=inputs, made=lambda report: made) == first
    assert len(calls(tmp_path)) == runs
    assert stages.records[-1].resumed is (runs == 1)


def test_another_version_of_the_program_runs_every_stage_again(stages: Stages, tmp_path: Path) -> None:
    stages.run("one", "fine", inputs={})
    stages.code = "another"
    stages.run("one", "fine", inputs={})
    assert len(calls(tmp_path)) == 2


def test_a_failure_keeps_its_class_and_is_tried_again(stages: Stages, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(RegistryError, match="stage one: no champion; expected one; promote one"):
            stages.run("one", "fail", inputs={})
    assert len(calls(tmp_path)) == 2


def test_a_killed_child_and_a_mute_one_are_named(stages: Stages) -> None:
    with pytest.raises(RecsysError, match=r"stage one was ended by signal 9.*run the same command again"):
        stages.run("one", "die", inputs={})
    with pytest.raises(RecsysError, match="stage one ended with exit code 3"):
        stages.run("one", "mute", inputs={})


def test_a_damaged_record_is_no_record(stages: Stages, tmp_path: Path) -> None:
    stages.run("one", "fine", inputs={})
    (tmp_path / "records" / "one.json").write_text('{"name": "one"}')
    stages.run("one", "fine", inputs={})
    assert len(calls(tmp_path)) == 2


def test_the_digest_of_a_folder_moves_with_names_and_contents(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / "a").write_text("1")
    first = shop_digest(shop)
    (shop / "a").write_text("2")
    second = shop_digest(shop)
    (shop / "a").rename(shop / "b")
    assert len({first, second, shop_digest(shop)}) == 3
    with pytest.raises(ShopError, match="no folder"):
        shop_digest(tmp_path / "absent")


def test_a_stage_unwinds_with_the_command_that_runs_it(stages: Stages, tmp_path: Path) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            stages.run("one", "wait", inputs={})
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert calls(tmp_path) == ["wait --json", "unwound"]
