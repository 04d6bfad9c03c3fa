"""What commands print: one JSON report for machines, tables for people."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def emit_json(report: Mapping[str, Any]) -> None:
    """Write one JSON report to standard output."""
    sys.stdout.write(json.dumps(report, ensure_ascii=False, default=str) + "\n")


def emit_line(text: str) -> None:
    """Write one line to standard output."""
    sys.stdout.write(text + "\n")


def emit_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """Write a table to standard output; numbers stand to the right, floats with four digits."""
    from rich.console import Console
    from rich.table import Table

    body = list(rows)
    table = Table(title=title or None, title_justify="left", header_style="bold")
    for number, name in enumerate(columns):
        numeric = bool(body) and all(isinstance(row[number], int | float) or row[number] is None for row in body)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in body:
        table.add_row(*(cell(value) for value in row))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def cell(value: object) -> str:
    """A table cell's text."""
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
