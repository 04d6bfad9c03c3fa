"""What `recsys validate` says about a shop, as data; the command prints it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from feature_store.quality.inspect import Quality
from feature_store.validate import CleanShop
from recsys.errors import ShopError


@dataclass(frozen=True)
class TableReport:
    """One table's outcome.

    Attributes:
        table: its name.
        file: its file or folder.
        rows: how many rows it has.
        kept: how many of them hold.
        quarantined: how many were set aside.
        reasons: how many for each reason, most frequent first.
        unknown_columns: columns outside the contract; they are kept as text.
    """

    table: str
    file: str
    rows: int
    kept: int
    quarantined: int
    reasons: dict[str, int]
    unknown_columns: list[str]


def report_tables(clean: CleanShop) -> list[TableReport]:
    """The outcome of every table, in the order in which they were checked."""
    return [
        TableReport(
            table=name,
            file=table.raw.place.name,
            rows=table.rows,
            kept=table.held,
            quarantined=table.quarantine.height,
            reasons=table.reasons(),
            unknown_columns=list(table.unknown),
        )
        for name, table in clean.tables.items()
    ]


def as_json(clean: CleanShop, *, quarantine: Path | None) -> dict[str, Any]:
    """The whole report for machines."""
    return {
        "shop": clean.config.name,
        "folder": str(clean.folder),
        "tables": [asdict(table) for table in report_tables(clean)],
        "counts": clean.counts,
        "watermark": clean.watermark,
        "max_grade": clean.max_grade,
        "quarantine": str(quarantine) if quarantine else None,
    }


def reasons_text(reasons: Mapping[str, int]) -> str:
    """The reasons in one cell: "12 x product unknown, 3 x price unreadable"."""
    return ", ".join(f"{count} x {reason}" for reason, count in reasons.items())


def refuse_faults(clean: CleanShop, quality: Quality, *, quarantine: Path | None) -> None:
    """For `--strict`: raise ShopError where any row was set aside, or anything deserves a warning."""
    broken = [f"{table.file}: {reasons_text(table.reasons)}" for table in report_tables(clean) if table.reasons]
    told = broken + [str(warned) for warned in quality.warnings]
    if told:
        rows = f"correct the rows listed in {quarantine}" if broken else "look at what changed"
        raise ShopError(
            f"{clean.folder}: {'; '.join(told)}",
            expected="a shop without quarantine and warnings (--strict)",
            action=f"{rows}, or set the limits of [quality] in shop.toml" if quality.warnings else rows,
        )
