"""The folder of one table: page, report, slices, the table by query or user, qrels and runs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recsys.storage import atomic_file
from training.evaluate.measured import Measured
from training.evaluate.page.render import write_page
from training.evaluate.table import write_table
from training.evaluate.trec import write_qrels, write_run

PAGE, RUN, QRELS = "report.html", "run.trec", "qrels.trec"
TABLES = {"query": "queries", "user": "users"}


def write_out(tables: Sequence[Measured], reports: Sequence[Mapping[str, Any]], out: Path, *, seed: int) -> None:
    """Write the folder of a table; of several tables each has a folder of its own inside, named by its variant."""
    for table, found in zip(tables, reports, strict=True):
        write_folder(table, found, out / table.variant if len(tables) > 1 else out, seed=seed)


def write_folder(measured: Measured, found: Mapping[str, Any], folder: Path, *, seed: int) -> None:
    """Write all files of one table; those of an earlier one are replaced.

    report.html, report.json, slices.json, queries.parquet and .csv (users.* for recommendations), qrels.trec, run.trec
    of the system under evaluation and runs/NAME.trec of every other one.

    Args:
        measured: the table.
        found: what `measured.report` made of it.
        folder: made where it is missing.
        seed: of the bootstrap.
    """
    write_summary(measured, found, folder, seed=seed)
    write_table(measured, folder / TABLES[measured.asked.unit])
    write_qrels(measured, folder / QRELS)
    write_run(measured, folder / RUN, system=measured.subject)
    for name, file in run_files(measured).items():
        write_run(measured, folder / "runs" / file, system=name)


def write_record(measured: Measured, found: Mapping[str, Any], folder: Path, *, seed: int) -> None:
    """Write what is kept with a version: page, report and slices, for queries also their table and qrels.

    Rankings, which can be gigabytes, stay out, and so does every file with users' ids, since what is kept with a
    version outlasts them. Arguments as `write_folder`.
    """
    write_summary(measured, found, folder, seed=seed)
    if measured.asked.unit == "query":
        write_table(measured, folder / TABLES["query"])
        write_qrels(measured, folder / QRELS)


def write_summary(measured: Measured, found: Mapping[str, Any], folder: Path, *, seed: int) -> None:
    """Write report.json, slices.json and report.html; arguments as `write_folder`."""
    write_json(found, folder / "report.json")
    write_json(found["slices"], folder / "slices.json")
    write_page(measured, found, folder / PAGE, seed=seed)


def run_files(measured: Measured) -> dict[str, str]:
    """By system other than the subject, a file name of letters and digits that no other has."""
    names: dict[str, str] = {}
    for system in measured.runs:
        if system != measured.subject:
            plain = "".join(letter if letter.isalnum() else " " for letter in system.lower())
            stem = "-".join(plain.split()) or "system"
            same = sum(name.startswith(f"{stem}.") for name in names.values())
            names[system] = f"{stem}.{same + 1}.trec" if same else f"{stem}.trec"
    return names


def write_json(content: object, path: Path) -> None:
    """Write readable JSON."""
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False), encoding="utf-8")
