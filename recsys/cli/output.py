"""What commands print: one JSON report for machines, tables for people."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def emit_json(report: Mapping[str, Any]) -> None:
    """Write one JSON report to standard output, in ASCII: it reads the same whatever the terminal's encoding is."""
    sys.stdout.write(json.dumps(report, default=str) + "\n")


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
    Console(width=None if sys.stdout.isatty() else 120, markup=False, emoji=False).print(table)


def emit_words(label: str, words: Sequence[tuple[str, float]]) -> None:
    """Write words on one line, each that matters with its weight: green speaks for, red against, faint for neither.

    Args:
        label: stands before them.
        words: and their weights; below a tenth of the largest a word says nothing.
    """
    from rich.console import Console
    from rich.text import Text

    most = max((abs(weight) for _, weight in words), default=0.0)
    line = Text(f"{label}: ")
    for word, weight in words:
        colour = "green" if weight > 0 else "red"
        if abs(weight) * 10 <= most:
            line.append(f"{word} ", style="dim")
        else:
            line.append(word, style=f"bold {colour}" if abs(weight) * 2 >= most else colour)
            line.append(f" {weight:+.2f} ", style=f"dim {colour}")
    Console(width=None if sys.stdout.isatty() else 120).print(line)


def cell(value: object) -> str:
    """A table cell's text."""
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
