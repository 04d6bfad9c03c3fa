"""Texts that went through a wrong encoding or come out of a web page, counted by column."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from feature_store.checking import CheckedTable

COLUMNS = {
    "products": ("title", "description", "brand", "category", "attributes", "seller"),
    "users": ("segment", "attributes"),
    "queries": ("query",),
    "events": ("query",),
}
SHOWN, LONGEST = 3, 160
# Bytes 80 to BF as Latin-1 and as Windows-1252 show them: what a continuation byte of UTF-8 becomes.
AFTER = "\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
NAMES = "amp|lt|gt|quot|apos|nbsp|copy|reg|trade|hellip|ndash|mdash|[lr][sd]quo|[lr]aquo|bull|middot|deg|euro|pound"
LETTERS = "[A-Za-z](?:acute|grave|circ|tilde|uml|ring|cedil|caron|slash)|szlig|[ao]elig|[ao]rd[fm]"
TROUBLES = {
    # é as Ã©, a right quote as â€™, а as Ð°; not Ã or Â before a letter, as in SÃO or Âge
    "mojibake": f"[ÂÃ][{AFTER}]|â[€‚„†][{AFTER}]|ï»¿|ðŸ|[ÐÑ][\u0080-\u00bf][ÐÑ]",
    "replacement_characters": "\ufffd",
    "control_characters": "[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]",
    "html_entities": f"&(?:#[0-9]{{1,7}}|#[xX][0-9A-Fa-f]{{1,6}}|{NAMES}|{LETTERS});",
}
"""By name the pattern that finds it, in the syntax of Rust's regex."""


@dataclass(frozen=True)
class Encoding:
    """Trouble in one column.

    Attributes:
        table: its table.
        column: its name.
        trouble: a key of TROUBLES.
        rows: how many rows have it.
        filled: how many rows have any text.
        examples: a few of the texts; for the page alone, they go into no log and no report.
    """

    table: str
    column: str
    trouble: str
    rows: int
    filled: int
    examples: tuple[str, ...] = field(default=(), repr=False)


def find_troubles(tables: Mapping[str, CheckedTable]) -> list[Encoding]:
    """Every trouble that there is, by table and column; each table is read once."""
    return [found for name, table in tables.items() for found in troubles_of(name, table)]


def troubles_of(name: str, table: CheckedTable) -> list[Encoding]:
    """The troubles of one table."""
    columns = [column for column in COLUMNS.get(name, ()) if column not in table.absent]
    if not columns:
        return []
    wanted: list[pl.Expr] = []
    for column in columns:
        wanted.append(pl.col(column).is_not_null().sum().alias(f"{column} filled"))
        for trouble, pattern in TROUBLES.items():
            has = pl.col(column).str.contains(pattern)
            examples = pl.col(column).filter(has).head(SHOWN).str.slice(0, LONGEST).implode()
            wanted += [has.sum().alias(f"{column} {trouble}"), examples.alias(f"{column} {trouble} examples")]
    found = table.frame.select(wanted).collect(engine="streaming").row(0, named=True)
    return [
        Encoding(
            table=name,
            column=column,
            trouble=trouble,
            rows=rows,
            filled=found[f"{column} filled"],
            examples=tuple(found[f"{column} {trouble} examples"]),
        )
        for column in columns
        for trouble in TROUBLES
        if (rows := found[f"{column} {trouble}"])
    ]
