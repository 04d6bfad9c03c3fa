"""What the commands print for people; machines get JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_store.checked import Checked, DoctorReport
from feature_store.effort import Effort
from feature_store.manifest import Manifest
from feature_store.quality.inspect import Quality
from feature_store.report import reasons_text, report_tables
from recsys.cli.output import emit_line, emit_table

if TYPE_CHECKING:  # the networks behind an index take seconds to import, and the other commands need none
    from collections.abc import Sequence

    from feature_store.importing import Imported
    from feature_store.indexing import Indexed
    from feature_store.sources.sums import Fetched
    from feature_store.suggest import Suggestion


def show_checked(checked: Checked) -> None:
    """The tables of a shop, what was set aside and why, and what deserves a look."""
    clean, quality = checked.clean, checked.quality
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
    for line in quality_lines(quality):
        emit_line(line)
    if checked.quarantine is not None:
        emit_line(f"rows set aside: {checked.quarantine}")
    if checked.page is not None:
        emit_line(f"page: {checked.page}")


def quality_lines(quality: Quality) -> list[str]:
    """What was measured beyond the contract, a line each; no text of the shop is inside."""
    lines = [f"{one.table}: {one.rule}: {one.rows} of {one.of}" for one in quality.references if one.rows]
    lines += [
        f"{one.table}.{one.column}: {one.trouble.replace('_', ' ')} in {one.rows} of {one.filled} texts"
        for one in quality.encoding
    ]
    if quality.freshness is not None:
        lines.append(f"newest event: {quality.freshness.newest}, {quality.freshness.age_days:.1f} days old")
    if quality.comparison is None:
        lines.append("drift and volume: no earlier snapshot of this shop to compare with")
    else:
        moved = sum(one.drift is None or bool(one.drift.exceeded) for one in quality.comparison.columns)
        beside = f"beside snapshot {quality.comparison.snapshot}"
        lines.append(f"drift: {moved} of {len(quality.comparison.columns)} columns moved {beside}")
        lines += [f"{what}: not compared, {why}" for what, why in quality.comparison.left_out.items()]
    return lines + [f"warning: {warned}" for warned in quality.warnings]


def show_doctor(report: DoctorReport) -> None:
    """The tiers and what would help."""
    rows = [
        (one.name, "yes" if one.supported else "no", one.found, one.needed, one.missing, one.counted, one.gives)
        for one in report.tiers
    ]
    emit_table(
        ("tier", "supported", "found", "needed", "missing", "counted", "gives"), rows, title=f"Shop {report.shop}"
    )
    for line in report.advice:
        emit_line(f"- {line}")
    emit_line(f"Highest tier: {report.highest}")


def show_suggestion(file: Path, suggestion: Suggestion) -> None:
    """A starting shop.toml."""
    emit_line(suggestion.text.rstrip())
    emit_line(f"written: {file}")


def show_snapshot(path: Path, manifest: Manifest, *, effort: Effort) -> None:
    """The rows of a snapshot by frame and part, and what it took to make it."""
    title = f"Snapshot {manifest.snapshot_id}, split {manifest.split.kind}"
    emit_table(("what", "rows"), manifest.counts.items(), title=title)
    for table, reasons in manifest.quarantine.items():
        for reason, count in reasons.items():
            emit_line(f"set aside in {table}: {count} x {reason}")
    emit_line(f"it took {effort}")
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


def show_public_sets(listed: Sequence[dict[str, Any]]) -> None:
    """Every public data set, its licence and how to get it."""
    rows = [
        (one["name"], one["title"], one["licence"], "yes" if one["downloads"] else "by hand", one["link"])
        for one in listed
    ]
    emit_table(("name", "data set", "licence", "--download", "page"), rows, title="Public data sets")
    for one in listed:
        emit_line(f"{one['name']}: {one['instructions']}")
        for option, told in one["options"].items():
            emit_line(f"  --set {option}=…: {told}")
    if not any(one["verified"] for one in listed):
        emit_line(
            "Each was written from its documentation and tested on rows made after it, none on the original files."
        )


def show_fetched(fetched: Sequence[Fetched]) -> None:
    """What was downloaded."""
    rows = [(one.file.name, one.came, one.checked, one.sha256) for one in fetched]
    emit_table(("file", "bytes that came", "checked against", "sha256"), rows)
    if any(one.checked == "nothing" for one in fetched):
        emit_line("No sum is known of a file checked against nothing: that of this download now stands beside it.")


def show_imported(made: Imported) -> None:
    """What became of a public data set, and how it was checked."""
    emit_table(("table", "rows"), made.rows.items(), title=f"{made.source.title} in {made.folder}")
    emit_line(f"licence: {made.source.licence}")
    emit_line(f"import {made.source.state}")
    for note in made.notes:
        emit_line(f"- {note}")
    show_checked(made.checked)
    emit_line(f"Next: recsys doctor {made.folder}")
