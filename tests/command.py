"""Run a `recsys` command inside the test's process, through its last door."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from recsys.cli.app import main


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.err.splitlines()


def recsys(capsys: pytest.CaptureFixture[str], *arguments: object) -> Done:
    """The exit code and what was printed."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return Done(int(left.value.code or 0), printed.out, printed.err)
