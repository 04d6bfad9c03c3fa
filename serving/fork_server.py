"""A process that imports what takes long and then forks for each `recsys` command: `python -m serving.fork_server`.

It reads one JSON object a line from standard input, `arguments` and `environment` of a command, runs it in a fork, and
answers with one line: its exit code, what it wrote to standard output, and the processor seconds it used. It imports,
and never computes: no pool of threads may stand in it, for threads don't outlive a fork. A command in a fork is the
same to itself and to others as `python -m recsys ...`: it has its own memory, signals and exit code.
"""

import gc
import importlib
import json
import os
import runpy
import signal
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from tempfile import TemporaryFile
from types import FrameType
from typing import IO, Any

from recsys.cli.app import end_with_parent

REGISTRY = ("torch", "mlflow", "mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store")
ENCODERS = ("transformers.models.bert.modeling_bert",)
NETWORKS = (*ENCODERS, "lightning.pytorch")
NEEDS: dict[str, tuple[str, ...]] = {
    "train": REGISTRY,
    "evaluate": (*REGISTRY, *ENCODERS),
    "index": (*REGISTRY, *ENCODERS),
    "train relevance": NETWORKS,
    "train retriever": NETWORKS,
    "train two-tower": NETWORKS,
    "train images": NETWORKS,
}
"""By command, and by command and first argument, the libraries that it imports."""
THREADED = ("polars",)
"""Starts a thread as it is imported; MLflow does without it."""


@dataclass
class Running:
    """The command that runs now, and whether this process was told to end.

    Attributes:
        process: its id, 0 where none runs.
        told: True once SIGTERM came.
    """

    process: int = 0
    told: bool = False

    def leave(self, number: int, _: FrameType | None) -> None:
        """Pass SIGTERM on to the command and stay until it has ended; end at once where none runs."""
        self.told = True
        if not self.process:
            sys.exit(128 + number)
        with suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGTERM)


def serve() -> None:
    """Answer one command after the other, until standard input is closed."""
    end_with_parent()
    running = Running()
    signal.signal(signal.SIGTERM, running.leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the keyboard's reaches the command by itself
    asked, answers = take_pipes()
    for line in asked:
        request = json.loads(line)
        load(request["arguments"])
        with TemporaryFile() as output:
            process = fork()
            if process == 0:
                asked.close()
                answers.close()
                become(request, output=output)
                return
            answer = wait(process, running=running, output=output)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        if running.told:
            sys.exit(128 + signal.SIGTERM)


def take_pipes() -> tuple[IO[str], IO[str]]:
    """Standard input and output for this process alone: commands read nothing, and what imports print is an error."""
    asked = os.fdopen(os.dup(0), "r", encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull, encoding="utf-8") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return asked, answers


def load(arguments: Sequence[str]) -> None:
    """Import what the command needs and is not there yet; what can't be imported is left to the command."""
    needed = [name for words in (1, 2) for name in NEEDS.get(" ".join(arguments[:words]), ())]
    if not set(needed) - set(sys.modules):
        return
    missing = [name for name in THREADED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(missing))  # type: ignore[arg-type]  # None: an import fails
    for name in needed:
        with suppress(ImportError):
            importlib.import_module(name)
    for name in missing:
        del sys.modules[name]
    gc.collect()
    gc.freeze()  # what stays is not looked at again, and its memory so stays shared with the forks


def fork() -> int:
    """As os.fork. Python warns of any thread; the one that stays, OpenBLAS's, is idle and comes back in the fork."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*multi-threaded", category=DeprecationWarning)
        return os.fork()


def wait(process: int, *, running: Running, output: IO[bytes]) -> dict[str, Any]:
    """The answer, once the command has ended."""
    running.process = process
    if running.told:  # between the fork and here
        os.kill(process, signal.SIGTERM)
    _, status, used = os.wait4(process, 0)
    running.process = 0
    output.seek(0)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "output": output.read().decode(errors="replace"),
        "processor_seconds": used.ru_utime + used.ru_stime,
    }


def become(request: dict[str, Any], *, output: IO[bytes]) -> None:
    """Be the command: the fork's own signals, environment and standard output; ends with SystemExit."""
    server = os.getppid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(output.fileno(), 1)
    os.environ.clear()
    os.environ.update({**request["environment"], "RECSYS_PARENT": str(server)})
    sys.argv = ["recsys", *request["arguments"]]
    runpy.run_module("recsys", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    serve()
