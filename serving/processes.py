"""How a stage's command is run: in a process of its own, by a new interpreter or by a fork of one that stands ready."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any, Protocol

NEW = (sys.executable, "-m", "recsys")
FORKING = (sys.executable, "-m", "serving.fork_server")


@dataclass(frozen=True, slots=True)
class Ended:
    """What a process left behind.

    Attributes:
        code: its exit code; below 0 the signal that ended it.
        output: what it wrote to standard output.
        processor_seconds: what it used of all cores together.
    """

    code: int
    output: str
    processor_seconds: float


class Runner(Protocol):
    """Runs one `recsys` command at a time to its end; what it writes to standard error passes through."""

    def run(self, arguments: Sequence[str], *, environment: Mapping[str, str]) -> Ended:
        """Run a command; where this process is told to end meanwhile, so is the command, which then cleans up."""
        ...

    def close(self) -> None:
        """Let go of what stands ready; the next command brings it back."""
        ...


@dataclass(frozen=True, slots=True)
class NewProcess:
    """A new interpreter for each command.

    Attributes:
        program: what stands before the command's arguments.
    """

    program: tuple[str, ...] = NEW

    def run(self, arguments: Sequence[str], *, environment: Mapping[str, str]) -> Ended:
        """See Runner."""
        before = children_seconds()
        given = {**environment, "RECSYS_PARENT": str(os.getpid())}
        with subprocess.Popen([*self.program, *arguments], stdout=subprocess.PIPE, text=True, env=given) as child:
            try:
                output, _ = child.communicate()
            except BaseException:
                child.terminate()
                raise
        return Ended(child.returncode, output, children_seconds() - before)

    def close(self) -> None:
        """See Runner; nothing stands ready."""


@dataclass(slots=True)
class ForkedProcess:
    """A fork, for each command, of a server that has imported what takes seconds, some twenty of them for a training.

    The server starts with the first command; see `serving.fork_server`.

    Attributes:
        program: what starts the server.
        server: None where there is none.
    """

    program: tuple[str, ...] = FORKING
    server: subprocess.Popen[str] | None = field(default=None, init=False)

    def run(self, arguments: Sequence[str], *, environment: Mapping[str, str]) -> Ended:
        """See Runner."""
        asking, answering = self.pipes()
        try:
            asking.write(json.dumps({"arguments": list(arguments), "environment": dict(environment)}) + "\n")
            asking.flush()
            line = answering.readline()
        except BrokenPipeError:
            line = ""
        except BaseException:
            self.close()
            raise
        if not line:  # the server is gone, and the command with it
            return Ended(self.end() or 1, "", 0.0)
        told: dict[str, Any] = json.loads(line)
        return Ended(told["code"], told["output"], told["processor_seconds"])

    def pipes(self) -> tuple[IO[str], IO[str]]:
        """Where the server is asked and where it answers; it is started where there is none."""
        if self.server is None:
            environment = {**os.environ, "RECSYS_PARENT": str(os.getpid())}
            self.server = subprocess.Popen(
                self.program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
            )
        if self.server.stdin is None or self.server.stdout is None:
            raise ValueError("the server was started without pipes")
        return self.server.stdin, self.server.stdout

    def close(self) -> None:
        """See Runner; what runs is told to end, too."""
        self.end()

    def end(self) -> int:
        """End the server; its exit code, below 0 the signal that ended it, 0 where there is none."""
        server, self.server = self.server, None
        if server is None:
            return 0
        server.terminate()
        for pipe in (server.stdin, server.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # what was not read any more
                    pipe.close()
        return server.wait()


def new_runner() -> Runner:
    """Forks where that is safe once libraries are loaded: on Linux; new interpreters elsewhere."""
    return ForkedProcess() if sys.platform == "linux" else NewProcess()


def children_seconds() -> float:
    """What the children that have ended used of all cores together, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
