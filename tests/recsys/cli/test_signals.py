"""A command that is told to end takes away what it has half written."""

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
COMMAND = """
import signal, sys
from pathlib import Path
from recsys.cli import app
from recsys.storage import atomic_file, partial_folder

def work(*_):
    folder = Path(sys.argv[1])
    with partial_folder(folder, "one"), atomic_file(folder / "two"):
        print("writing", flush=True)
        signal.pause()

app.run = work
app.main(["validate"])
"""


def test_sigterm_is_one_line_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "writing\n"
        assert len(list(tmp_path.iterdir())) == 2
        command.send_signal(signal.SIGTERM)
        _, said = command.communicate()
    assert (command.returncode, said) == (143, "stopped by SIGTERM\n")
    assert list(tmp_path.iterdir()) == []
