"""Raw files of public data sets: found by name, read as text, so that an id such as 007 stays what it is."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from feature_store.faults import readable
from recsys.errors import ShopError, UsageError

MARK = "\ufeff"
"""What some editors put before the first line of a file in UTF-8."""
HIDDEN = re.compile(r"\.|__MACOSX$")
UTC_TIME = pl.Datetime("us", "UTC")
LAST_INSTANT = 253_402_300_799_000_000
"""The last second of the year 9999 in microseconds since 1970."""


def find_files(raw: Path, *patterns: str) -> tuple[Path, ...]:
    """The files that fit any pattern, in `raw` or below it, sorted; an unpacked one beside its `.gz` counts once.

    What macOS puts beside files (`._NAME`, `__MACOSX`) and other hidden ones are none.
    """
    every = {path for pattern in patterns for path in raw.rglob(pattern) if path.is_file()}
    found = sorted(path for path in every if not any(map(HIDDEN.match, path.relative_to(raw).parts)))
    return tuple(path for path in found if path.with_name(f"{path.name}.gz") not in found)


def need_files(raw: Path, *patterns: str) -> tuple[Path, ...]:
    """The same, at least one.

    Raises:
        UsageError: there is no such folder.
        ShopError: no file fits.
    """
    if not raw.is_dir():
        raise UsageError(f"{raw} is no folder", expected="the folder with the raw files", action="download them first")
    if not (found := find_files(raw, *patterns)):
        raise ShopError(
            f"{raw} has no file {' or '.join(patterns)}",
            expected="the data set's own files, unpacked",
            action="see `recsys import --list` for where they come from",
        )
    return found


def need_file(raw: Path, *patterns: str) -> Path:
    """The one file that fits the first pattern that any fits.

    Raises:
        UsageError: there is no such folder.
        ShopError: none fits, or several do.
    """
    every = need_files(raw, *patterns)
    found = next((fitting for pattern in patterns if (fitting := find_files(raw, pattern))), every)
    if len(found) > 1:
        raise ShopError(
            f"{raw} has {' and '.join(str(path.relative_to(raw)) for path in found)}",
            expected=f"one file {patterns[0]}",
            action="put each variant of the data set into a folder of its own",
        )
    return found[0]


def scan_text(
    file: Path | Sequence[Path], *, separator: str = ",", names: Sequence[str] | None = None, quote: str | None = '"'
) -> pl.LazyFrame:
    """A delimited file with every column as text; gzip is read as it comes.

    Args:
        file: one or several with the same columns.
        separator: one character.
        names: the columns, where the file has no header.
        quote: the quoting character, None where there is none.
    """
    return pl.scan_csv(
        [file] if isinstance(file, Path) else list(file),
        separator=separator,
        infer_schema=False,
        has_header=names is None,
        new_columns=names,
        quote_char=quote,
    )


def need_columns(frame: pl.LazyFrame, columns: Iterable[str], *, file: Path) -> pl.LazyFrame:
    """The frame, if it has the columns.

    Raises:
        ShopError: one is missing: the file is of another edition.
    """
    with readable(file):
        found = frame.collect_schema().names()
    if missing := [name for name in columns if name not in found]:
        raise ShopError(
            f"{file} has no column {' and '.join(missing)} (found {', '.join(found)})",
            expected="the data set's own columns",
            action="take the original file, or convert this one by hand: a shop folder is five plain tables",
        )
    return frame


def parsed_lines(
    files: Sequence[Path], parse: Callable[[str], Mapping[str, Any]], *, schema: Mapping[str, pl.DataType]
) -> pl.LazyFrame:
    """A frame with the fields that `parse` finds in each line, in pieces, so that no file is held as a whole.

    Args:
        files: of lines, gzip or plain.
        parse: one line to the fields of `schema`; what it leaves out is null.
        schema: of the fields.
    """
    made = pl.Struct(dict(schema))

    def rows(lines: pl.Series) -> pl.Series:
        return pl.Series([parse(line) for line in lines], dtype=made, strict=False)

    lines = pl.scan_lines(list(files)).with_columns(pl.col("line").str.strip_prefix(MARK).str.strip_chars())
    lines = lines.filter(pl.col("line") != "")
    return lines.select(pl.col("line").map_batches(rows, return_dtype=made, is_elementwise=True)).unnest("line")


def epoch(column: str, *, unit: str = "s") -> pl.Expr:
    """Seconds ("s") or milliseconds ("ms") since 1970 in UTC as an instant; null for what lies behind the year 9999."""
    factor = {"s": 1_000_000, "ms": 1_000}[unit]
    number = pl.col(column).cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)
    held = pl.when(number.abs() <= LAST_INSTANT // factor).then(number)
    return (held * factor).cast(UTC_TIME).alias("timestamp")


def number(column: str) -> pl.Expr:
    """Text as a number; null where it is none."""
    return pl.col(column).cast(pl.Float64, strict=False)


def joined_path(*columns: str) -> pl.Expr:
    """Columns of a hierarchy, the widest first, as one category path; what is missing or repeats is left out."""
    levels = pl.concat_list([pl.col(column).str.strip_chars().replace("", None) for column in columns])
    return levels.list.drop_nulls().list.unique(maintain_order=True).list.join(" > ").replace("", None)


def choice(options: Mapping[str, str], name: str, allowed: Sequence[str]) -> str:
    """The option's value, the first allowed one where it was not given.

    Raises:
        UsageError: it is none of those allowed.
    """
    value = options.get(name, allowed[0])
    if value not in allowed:
        raise UsageError(f"--set {name}={value}", expected=f"one of {', '.join(allowed)}", action="correct it")
    return value
