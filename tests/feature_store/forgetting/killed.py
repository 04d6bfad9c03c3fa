"""What is killed: processes that forget a user, each at its next durable step.

Run as a program it imports everything once, and forks a child for each line it reads: the number of the step at which
the child kills itself. Steps are whatever makes something last: commits, syncs, renames, removals.
"""

import os
import shutil
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

from feature_store.forgetting.forget import forget
from recsys.settings import load_settings


class Clockwork:
    """Counts steps, and kills the process at the one that was asked for."""

    def __init__(self, last: int) -> None:
        self.left = last

    def step(self) -> None:
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, place: Any, name: str) -> None:
        """A step before each call of a function and one behind it."""
        plain = getattr(place, name)

        def stepped(*given: Any, **named: Any) -> Any:
            self.step()
            done = plain(*given, **named)
            self.step()
            return done

        setattr(place, name, stepped)

    def commits(self) -> None:
        """A step at each commit of a database."""
        plain = sqlite3.connect

        def connect(*given: Any, **named: Any) -> sqlite3.Connection:
            connection = plain(*given, **named)
            connection.set_trace_callback(lambda sql: self.step() if sql.startswith(("COMMIT", "PRAGMA wal")) else None)
            return connection

        sqlite3.connect = connect  # type: ignore[assignment]


def run(last: int) -> None:
    """Forget u03, up to a step."""
    clock = Clockwork(last)
    clock.commits()
    for place, name in ((os, "fsync"), (Path, "rename"), (Path, "replace"), (Path, "unlink"), (shutil, "rmtree")):
        clock.around(place, name)
    done = forget(["u03"], shop="small", settings=load_settings(), by="me")
    os.write(1, f"done {done.forgotten} {done.before} {done.finished} {done.tombstones}\n".encode())


def main() -> None:
    """Fork a child for each line, and say how it ended."""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            run(int(line))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        os.write(1, f"ended {status}\n".encode())


if __name__ == "__main__":
    main()
