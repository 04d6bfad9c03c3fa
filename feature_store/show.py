"""What the commands print for people; machines get JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from feature_store.checked import DoctorReport
from feature_store.manifest import Manifest
from feature_store.report import reasons_text, report_tables
from feature_store.validate import CleanShop
from recsys.cli.output import emit_line, emit_table

if TYPE_CHECKING:  # the networks behind an index take seconds to import, and the other commands need none
    from feature_store.indexing import Indexed


def show_checked(clean: CleanShop, *, quarantine: Path | None) -> None:
    """The tables of a shop, what was set aside and why."""
    rows = [
        (
            one.table,
            one.file,
            one.rows,
            one.kept,
            one.quarantined,
            reasons_text(one.reasons) or "-",
            ", ".join(one.unknown_columns) or "-",
        )
        for one in report_tables(clean)
    ]
    columns = ("table", "file", "rows", "kept", "set aside", "why", "unknown columns")
    emit_table(columns, rows, title=f"Shop {clean.config.name or clean.folder}")
    for name, count in clean.counts.items():
        emit_line(f"{name.replace('_', ' ')}: {count}")
    if quarantine is not None:
        emit_line(f"rows set aside: {quarantine}")


def show_doctor(report: DoctorReport) -> None:
    """The tiers and what would help."""
    rows = [
        (one.name, "yes" if one.supported else "no", one.found, one.needed, one.counted, one.gives)
        for one in report.tiers
    ]
    emit_table(("tier", "supported", "found", "needed", "counted", "gives"), rows, title=f"Shop {report.shop}")
    for line in report.advice:
        emit_line(f"- {line}")
    emit_line(f"Highest tier: {report.highest}")


def show_snapshot(path: Path, manifest: Manifest) -> None:
    """The rows of a snapshot by frame and part."""
    title = f"Snapshot {manifest.snapshot_id}, split {manifest.split.kind}"
    emit_table(("what", "rows"), manifest.counts.items(), title=title)
    for table, reasons in manifest.quarantine.items():
        for reason, count in reasons.items():
            emit_line(f"set aside in {table}: {count} x {reason}")
    emit_line(f"snapshot: {path}")


def show_index(made: Indexed) -> None:
    """The stages of an index and what it lacks."""
    title = f"Index of {made.manifest.products} products"
    emit_table(("stage", "stands on"), made.manifest.stages.items(), title=title)
    for stage, reason in made.manifest.absent.items():
        emit_line(f"without {stage}: {reason}")
    emit_line(f"users with a history record: {made.users}")
    emit_line(f"index: {made.folder} ({'live' if made.live else f'not live; histories {made.generation}'})")
    if made.behind is not None:
        emit_line(f"the live index stays: it knows what happened until {made.behind}; --live takes this older one")
