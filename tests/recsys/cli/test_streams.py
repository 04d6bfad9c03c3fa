"""Standard streams may be closed, full or read no further: never a trace, never a 0 for what could not be told."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import recsys

ROOT = Path(__file__).parents[3]
FULL = "the disk is full; expected room to write"


def shell(line: str, *, unbuffered: bool = False) -> subprocess.CompletedProcess[str]:
    command = line.replace("recsys", f"{sys.executable} -m recsys", 1)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    environment |= {"PYTHONUNBUFFERED": "1"} if unbuffered else {}
    return subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("recsys --version >&-", 0, ""),
        ("recsys --version > /dev/full", 1, FULL),
        ("recsys ledger verify --json > /dev/full", 1, FULL),
        ("recsys absent --json > /dev/full", 2, "no command `absent`"),
        ("recsys absent 2> /dev/full", 2, ""),
        ("recsys absent --json > /dev/full 2> /dev/full", 2, ""),
        ("recsys absent --json <&- >&- 2>&-", 2, ""),
    ],
)
def test_no_trace_and_the_right_code(
    line: str, code: int, said: str, unbuffered: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSYS_HOME", str(tmp_path))
    done = shell(line, unbuffered=unbuffered)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == bool(said)


def test_a_reader_that_leaves_ends_the_command() -> None:
    done = shell("recsys search --help | head -c 1; exit ${PIPESTATUS[0]}", unbuffered=True)
    assert (done.returncode, done.stderr) == (1, "")


SAYER = """
from recsys.cli import app, output

def work(*_):
    output.emit_line("“söfa” \\udcff")
    output.emit_table(["größe"], [["1½"]])
    output.emit_json({"query": "söfa \\udcff"})

app.run = work
app.main(["validate"])
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_of_few_characters_gets_the_others_escaped_and_json_whole(encoding: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", SAYER], cwd=ROOT, env=environment, capture_output=True, check=False)
    lines = done.stdout.decode(encoding).splitlines()
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(lines[-1]) == {"query": "söfa \udcff"}
    assert lines[0].endswith(r"\udcff")
    assert lines[0].startswith("“söfa”" if encoding == "utf-8" else r"\u201cs")


def test_an_argument_that_is_no_text_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Engine:
        def similar(self, product_ids: list[str], **named: object) -> None:
            product_ids[0].encode()

    monkeypatch.setattr("serving.opening.open_live", lambda settings, *, shop: Engine())
    done = recsys(capsys, "similar", "p\udcff")
    assert (done.code, len(done.lines)) == (2, 1)
    assert r"text with \udcff; expected words, names and paths in UTF-8; see `recsys similar --help`" in done.err


OPENER = """
import json, os, sys
from recsys.cli import app

def work(*_):
    with open(sys.argv[1], "w") as file:
        print("said")
        file.write(json.dumps(file.fileno()))

app.run = work
app.main(["validate"])
"""


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    line = f'{sys.executable} -c "$1" "$2" <&- >&- 2>&-'
    place = tmp_path / "file"
    subprocess.run(["bash", "-c", line, "-", OPENER, str(place)], cwd=ROOT, check=False)
    assert json.loads(place.read_text()) > 2
