"""The folder of one table: page, report, slices, the table by query or user, qrels and runs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from recsys.storage import atomic_file, partial_folder, sync_folder
from training.evaluate.measured import Measured
from training.evaluate.page.render import write_page
from training.evaluate.table import write_table
from training.evaluate.trec import write_qrels, write_run

PAGE, REPORT, SLICES, RUN, QRELS = "report.html", "report.json", "slices.json", "run.trec", "qrels.trec"
EARLIER = ".earlier-report.json"
TABLES = {"query": "queries", "user": "users"}


def write_out(tables: Sequence[Measured], reports: Sequence[Mapping[str, Any]], out: Path, *, seed: int) -> None:
    """Write the folder of a table; of several tables each has a folder of its own inside, named by its variant.

    An earlier table's files are taken away and all else that stands there stays. report.json comes last, so that a
    folder with one is whole.
    """
    for table, found in zip(tables, reports, strict=True):
        folder = out / table.variant if len(tables) > 1 else out
        with partial_folder(folder, "evaluation") as partial:
            write_folder(table, found, partial, seed=seed)
            replace_files(partial, folder)


def replace_files(new: Path, folder: Path) -> None:
    """Move a table's files into a folder in place of those of an earlier table."""
    with suppress(FileNotFoundError):
        (folder / REPORT).replace(folder / EARLIER)
    for old in known_files(folder / EARLIER):
        (folder / old).unlink(missing_ok=True)
    files = sorted(path.relative_to(new) for path in new.rglob("*") if path.is_file() and path.name != REPORT)
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (new / name).replace(folder / name)
    for place in {(folder / name).parent for name in files}:
        sync_folder(place)
    (new / REPORT).replace(folder / REPORT)
    (folder / EARLIER).unlink(missing_ok=True)
    sync_folder(folder)


def known_files(report: Path) -> list[str]:
    """The files that stand beside a report.json, by their place in its folder; none where it can't be read."""
    try:
        found = json.loads(report.read_bytes())
        runs = run_files(found["systems"], subject=found["system"]).values()
    except (OSError, ValueError, KeyError, TypeError):
        return []
    tables = [f"{stem}.{ending}" for stem in TABLES.values() for ending in ("parquet", "csv")]
    return [PAGE, SLICES, RUN, QRELS, *tables, *(f"runs/{file}" for file in runs)]


def write_folder(measured: Measured, found: Mapping[str, Any], folder: Path, *, seed: int) -> None:
    """Write all files of one table; those of the same name are replaced.

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
    for name, file in run_files(measured.runs, subject=measured.subject).items():
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
    write_json(found, folder / REPORT)
    write_json(found["slices"], folder / SLICES)
    write_page(measured, found, folder / PAGE, seed=seed)


def run_files(systems: Iterable[str], *, subject: str) -> dict[str, str]:
    """By system other than the subject, a file name of letters and digits that no other has."""
    names: dict[str, str] = {}
    for system in systems:
        if system != subject:
            plain = "".join(letter if letter.isalnum() else " " for letter in system.lower())
            stem = "-".join(plain.split()) or "system"
            same = sum(name.startswith(f"{stem}.") for name in names.values())
            names[system] = f"{stem}.{same + 1}.trec" if same else f"{stem}.trec"
    return names


def write_json(content: object, path: Path) -> None:
    """Write readable JSON."""
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False), encoding="utf-8")
