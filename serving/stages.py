"""Commands that cross packages as a list of stages: each a child process running another `recsys … --json` command.

A child has its own memory and can be killed; its report is kept, and a stage whose inputs have not changed since is
not run again. What the child writes to standard error passes through.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

from recsys import errors
from recsys.digest import folder_digest
from recsys.errors import RecsysError, ShopError
from recsys.provenance import git_commit
from recsys.settings import Settings
from recsys.storage import write_text
from serving.processes import Runner, new_runner

RESUME = "run the same command again: finished stages are kept"


@dataclass(frozen=True, slots=True)
class StageRecord:
    """One stage as it was run.

    Attributes:
        name: of the stage.
        arguments: of the `recsys` command.
        inputs: digests of what it read; with the arguments they decide whether it must run again.
        exit_code: of the child, 0 where it was fine.
        seconds: wall-clock time of the child.
        processor_seconds: what it used of all cores together.
        report: its JSON report.
        resumed: True where an earlier run's report was taken.
    """

    name: str
    arguments: list[str]
    inputs: dict[str, str]
    exit_code: int
    seconds: float
    processor_seconds: float
    report: dict[str, Any]
    resumed: bool = False


def code_version() -> str:
    """The installed version, and the commit where it runs from a checkout."""
    return f"{version('shoprank')} {git_commit()}"


@dataclass
class Stages:
    """Runs stages one after the other and keeps their records.

    Attributes:
        folder: where the records stand, one JSON file for each stage.
        settings: the state folder and server that the children use.
        announce: is told one line before and after each stage.
        runner: how a stage's command is run.
        code: what names the program's version; another version runs every stage again.
        records: the stages so far, in order.
    """

    folder: Path
    settings: Settings
    announce: Callable[[str], None]
    runner: Runner = field(default_factory=new_runner)
    code: str = field(default_factory=code_version)
    records: list[StageRecord] = field(default_factory=list)

    def run(
        self,
        name: str,
        *arguments: str,
        inputs: Mapping[str, str],
        made: Callable[[Mapping[str, Any]], bool] = lambda report: True,
    ) -> dict[str, Any]:
        """The report of a stage, from a child process or from the last run with the same arguments and inputs.

        Args:
            name: of the stage and of its record.
            arguments: of the `recsys` command; --json is added.
            inputs: digests of everything the stage reads; the program's own version is added.
            made: whether what a kept report speaks of still stands.

        Raises RecsysError, of the class that the child reported, where the stage fails.
        """
        given = [*arguments, "--json"]
        read = {**inputs, "code": self.code}
        last = self.last(name)
        if last and (last.arguments, last.inputs, last.exit_code) == (given, read, 0) and made(last.report):
            self.announce(f"{name}: unchanged, kept")
            self.records.append(StageRecord(**(asdict(last) | {"resumed": True})))
            return last.report
        self.announce(f"{name}: recsys {' '.join(arguments)}")
        begun = perf_counter()
        ended = self.runner.run(given, environment=self.environment(name))
        seconds = round(perf_counter() - begun, 3)
        report = parsed(ended.output)
        record = StageRecord(name, given, read, ended.code, seconds, round(ended.processor_seconds, 3), report)
        self.records.append(record)
        write_text(self.folder / f"{name}.json", json.dumps(asdict(record), indent=1))
        if ended.code != 0:
            raise failed(name, ended.code, report)
        self.announce(f"{name}: done in {seconds:.1f} s")
        return report

    def environment(self, name: str) -> dict[str, str]:
        """Of a stage's process: this one's, with the state folder and the server that stages use."""
        return {
            **os.environ,
            "RECSYS_HOME": str(self.settings.home),
            "MLFLOW_TRACKING_URI": self.settings.tracking_uri,
            "RECSYS_ONLINE_STORE": self.settings.online_store,
            "RECSYS_STAGE": name,
        }

    def last(self, name: str) -> StageRecord | None:
        """The record of an earlier run; None where there is none that can be read."""
        try:
            return StageRecord(**json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def timings(self) -> list[dict[str, object]]:
        """Name, times and whether it was kept, of each stage so far."""
        return [
            {
                "stage": one.name,
                "seconds": one.seconds,
                "processor_seconds": one.processor_seconds,
                "resumed": one.resumed,
                "exit_code": one.exit_code,
            }
            for one in self.records
        ]


def parsed(output: str) -> dict[str, Any]:
    """The JSON report on the last line of a child's output; empty where there is none."""
    lines = output.strip().splitlines()
    try:
        report = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}


def failed(name: str, code: int, report: Mapping[str, Any]) -> RecsysError:
    """The error of a failed stage: what the child reported, else its exit code or signal."""
    fault = report.get("error")
    if isinstance(fault, dict):
        kind = getattr(errors, str(fault.get("type")), RecsysError)
        return kind(
            f"stage {name}: {fault.get('found')}", expected=str(fault.get("expected")), action=str(fault.get("action"))
        )
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return RecsysError(f"stage {name} {how}", expected="exit code 0 and a report", action=RESUME)


def shop_digest(shop: Path) -> str:
    """sha256 over the names and contents of all files of a shop folder; ShopError where there is none."""
    if not shop.is_dir():
        raise ShopError(f"no folder {shop}", expected="a shop folder", action="make one: recsys sample OUT")
    return folder_digest(shop)
