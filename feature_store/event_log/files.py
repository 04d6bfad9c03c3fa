"""Files of events, read row by row in the order of the file: JSON lines, CSV or Parquet."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from feature_store.casting import text
from feature_store.event_log.contract import COLUMNS
from feature_store.faults import KINDS, readable
from feature_store.readers import check_header
from recsys.errors import ShopError, UsageError

NUMBERS = ("value", "quantity", "price", "position", "propensity")
SLICE = 50_000


def read_rows(file: Path) -> Iterator[Any]:
    """The rows of a file; what is no row stands there as the text it is, for the door to refuse.

    Raises:
        UsageError: there is no such file, or its name does not tell a known format.
        ShopError: the file as a whole can't be read.
    """
    readers: dict[str, Callable[[Path], Iterator[Any]]] = {
        "JSON lines": json_rows,
        "CSV": csv_rows,
        "Parquet": parquet_rows,
    }
    if file.suffix not in KINDS or not file.is_file():
        raise UsageError(
            f"{file} is no file of events",
            expected=f"a file whose name ends in {', '.join(KINDS)}",
            action="correct the name",
        )
    with readable(file):
        yield from readers[KINDS[file.suffix]](file)


def json_rows(file: Path) -> Iterator[Any]:
    """One object in each line; empty lines are passed over."""
    with file.open("rb") as lines:
        for line in lines:
            if line.strip():
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError):
                    yield line.decode("utf-8", "backslashreplace").rstrip("\n")


def csv_rows(file: Path) -> Iterator[Any]:
    """One row in each record, by the names of the header; a record with more fields than those is no row."""
    check_header(file)
    try:
        with file.open(encoding="utf-8-sig", errors="backslashreplace", newline="") as lines:
            for record in csv.DictReader(lines):
                yield ",".join(str(value) for value in record.values()) if None in record else record
    except csv.Error as error:
        raise ShopError(f"{file} can't be read: {error}", expected="a CSV file", action="export it again") from error


def parquet_rows(file: Path) -> Iterator[Any]:
    """One row in each; ids of any type become text, days their first moment in UTC."""
    frame = pl.scan_parquet(file)
    kinds = frame.collect_schema()
    days = [pl.col(name).cast(pl.Datetime("us", "UTC")) for name, kind in kinds.items() if kind == pl.Date]
    floats = [text(pl.col(name), kind).alias(name) for name, kind in kinds.items() if kind.is_float() and is_id(name)]
    start = 0
    while (part := frame.slice(start, SLICE).with_columns(*days, *floats).collect()).height:
        yield from part.iter_rows(named=True)
        start += part.height


def is_id(name: str) -> bool:
    """True for columns whose values are names, however they are stored."""
    return name.endswith("id")


@dataclass(slots=True)
class ShopRows:
    """Turns rows as a shop writes them into rows of the contract.

    Attributes:
        columns: the shop's name of a column by ours.
        event_types: our event type by the shop's.
        timezone: the zone of moments that have none; None where they are refused.
        unknown: the names outside the contract that were met; their values go under attributes.
    """

    columns: Mapping[str, str]
    event_types: Mapping[str, str]
    timezone: str | None
    unknown: set[str] = field(default_factory=set)

    def __call__(self, row: Any) -> Any:
        """One row; what is no object stays as it is."""
        if not isinstance(row, Mapping):
            return row
        ours: dict[str, str] = {theirs: name for name, theirs in self.columns.items()}
        given = ((str(name), value) for name, value in row.items() if value is not None and value != "")
        named = {ours.get(name, name): value for name, value in given}
        own = {name: named.pop(name) for name in list(named) if name not in COLUMNS}
        self.unknown |= own.keys()
        if isinstance(kind := named.get("event_type"), str):
            named["event_type"] = self.event_types.get(kind.strip(), kind)
        for name in ("timestamp", "known_at"):
            if name in named:
                named[name] = zoned(named[name], self.timezone)
        for name in NUMBERS:
            if isinstance(value := named.get(name), str) and value.strip().lower() == "nan":
                del named[name]
        if own:
            told = as_object(named.get("attributes"))
            named["attributes"] = told | {name: shown(value) for name, value in own.items()}
        return named


def as_object(attributes: Any) -> dict[str, Any]:
    """What a row has under attributes, as an object; text that is none stays under its own name."""
    if attributes is None or isinstance(attributes, Mapping):
        return dict(attributes or {})
    with suppress(TypeError, ValueError, RecursionError):
        if isinstance(read := json.loads(attributes), dict):
            return read
    return {"attributes": attributes}


def shown(value: Any) -> Any:
    """A value of the shop's own as JSON can carry it."""
    return value if isinstance(value, str | int | float | bool | list | dict) else str(value)


def zoned(moment: Any, timezone: str | None) -> Any:
    """A moment with the shop's zone where it has none of its own."""
    if timezone is None:
        return moment
    try:
        read = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    except ValueError:
        return moment
    if isinstance(read, datetime) and read.tzinfo is None:
        return read.replace(tzinfo=ZoneInfo(timezone))
    return read
