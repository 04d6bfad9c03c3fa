"""The page of a shop's quality: it holds texts of the shop as examples, so it stays where it is written."""

from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment
from markupsafe import Markup

from feature_store.checking import CheckedTable
from feature_store.quality.compare import ColumnDrift
from feature_store.quality.inspect import Quality
from feature_store.quality.page.plots import pair_plot, rows_plot, time_plot
from feature_store.report import report_tables
from feature_store.validate import CleanShop
from recsys.page.environment import page_environment
from recsys.storage import atomic_file

MOST_BARS, MOST_PAIRS, MOST_REASONS = 180, 12, 20


def write_page(clean: CleanShop, quality: Quality, path: Path) -> None:
    """Write the page.

    Args:
        clean: the checked shop; its frames still stand.
        quality: what was measured.
        path: the file.
    """
    text = environment().get_template("page.html.j2").render(context(clean, quality))
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="replace")


def context(clean: CleanShop, quality: Quality) -> dict[str, Any]:
    """What the template reads."""
    tables = report_tables(clean)
    comparison = quality.comparison
    drifted = sorted(comparison.columns if comparison else (), key=loudness)
    reasons = [
        (f"{one.table}: {reason}", float(count), False) for one in tables for reason, count in one.reasons.items()
    ]
    reasons.sort(key=lambda row: (-row[1], row[0]))
    return {
        "shop": clean.config.name or clean.folder.name,
        "clean": clean,
        "quality": quality,
        "tables": tables,
        "kept": sum(one.kept for one in tables),
        "set_aside": sum(one.quarantined for one in tables),
        "limits": clean.config.quality,
        "reasons_plot": rows_plot(reasons[:MOST_REASONS], told="Rows set aside by reason") if reasons else None,
        "time_plot": events_plot(clean, quality),
        "psi_plot": psi_plot(drifted, limit=clean.config.quality.psi),
        "pairs": [
            (one, pair_plot(one.drift.labels, one.drift.before, one.drift.now, told=f"{one.table}.{one.column}"))
            for one in drifted[:MOST_PAIRS]
            if one.drift
        ],
    }


def loudness(one: ColumnDrift) -> tuple[bool, float]:
    """Drifted columns first, then by PSI."""
    return (one.drift is not None and not one.drift.exceeded, -(one.drift.psi if one.drift else float("inf")))


def psi_plot(columns: list[ColumnDrift], *, limit: float) -> Markup | None:
    """PSI of every column that has one."""
    rows = [(f"{one.table}.{one.column}", one.drift.psi, bool(one.drift.exceeded)) for one in columns if one.drift]
    return rows_plot(rows, told="Population stability index by column", limit=limit) if rows else None


def events_plot(clean: CleanShop, quality: Quality) -> Markup | None:
    """Events by day, or by week where days are many; None without a calendar."""
    if quality.freshness is None:
        return None
    return time_plot(events_by_day(clean.tables["events"]), told="Events over time", since=quality.since)


def events_by_day(events: CheckedTable) -> list[tuple[str, int]]:
    """Day or week with its number of events; days without any are there with 0."""
    daily = (
        events.frame.group_by(pl.col("timestamp").dt.date().alias("day"))
        .len()
        .collect(engine="streaming")
        .sort("day")
        .upsample("day", every="1d")
        .with_columns(pl.col("len").fill_null(0))
    )
    if daily.height > MOST_BARS:
        step = f"{-(-daily.height // MOST_BARS)}d"
        daily = daily.group_by_dynamic("day", every=step, start_by="datapoint").agg(pl.col("len").sum())
    return [(str(day), count) for day, count in daily.iter_rows()]


@cache
def environment() -> Environment:
    """The templates of this folder."""
    made = page_environment(Path(__file__).parent)
    made.filters |= {"percent": percent, "whole": lambda value: f"{value:,.6g}"}
    return made


def percent(share: float) -> str:
    """A share with two digits where it is small."""
    return f"{100 * share:.1f} %" if share >= 0.001 or share == 0 else f"{100 * share:.2g} %"
