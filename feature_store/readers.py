"""Reading a shop's raw tables: Parquet, CSV or JSON lines, one file or a folder of part files, always lazily.

CSV and JSON lines come in as text and get their types from the contract, so that an id such as 007 stays what it is.
"""

import csv
import hashlib
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from feature_store.faults import KINDS, no_rows, readable
from recsys.errors import ShopError

ROW, NUMBER = "row", "\x00row"
OTHERS = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""What some tools write in place of commas."""
GIVEN = "row (given)"
"""What a shop's own column called `row` is called from here on."""


@dataclass(frozen=True)
class RawTable:
    """One table as it stands in the shop folder.

    Attributes:
        name: "products", "events", ...
        place: its file, or the folder of its part files.
        files: the files in the order of their names.
        kind: "Parquet", "CSV" or "JSON lines".
        frame: its rows with `row`, their number from 1, and the shop's own column names.
        columns: the shop's own columns and their types as stored.
    """

    name: str
    place: Path
    files: tuple[Path, ...]
    kind: str
    frame: pl.LazyFrame
    columns: dict[str, pl.DataType]

    def sha256(self) -> str:
        """sha256 (hex) of the files' bytes, one after the other."""
        total = hashlib.sha256()
        for file in self.files:
            with file.open("rb") as handle:
                while block := handle.read(1 << 20):
                    total.update(block)
        return total.hexdigest()


def open_table(shop: Path, name: str) -> RawTable | None:
    """The table of that name, None where the shop has none.

    Raises:
        ShopError: it stands there twice, in an unknown or mixed format, can't be read, or names a column twice.
    """
    places = [path for path in (shop / name, *(shop / (name + suffix) for suffix in KINDS)) if path.exists()]
    if not places:
        return None
    if len(places) > 1:
        raise ShopError(
            f"{shop} has {' and '.join(place.name for place in places)}",
            expected=f"one table {name}",
            action="remove all but one",
        )
    files = part_files(places[0])
    kind = KINDS[files[0].suffix]
    if kind != "Parquet" and not any(file.stat().st_size for file in files):
        raise no_rows(places[0])
    if kind == "CSV":
        for file in files:
            check_header(file)
    with readable(places[0]):
        frame = scan(files, kind=kind)
        columns = {column: dtype for column, dtype in frame.collect_schema().items() if column != "row"}
    return RawTable(name, places[0], files, kind, frame, columns)


def part_files(place: Path) -> tuple[Path, ...]:
    """The file itself, or the data files of a folder; all of one format."""
    if place.is_file():
        return (place,)
    files = tuple(sorted(path for path in place.iterdir() if path.suffix in KINDS))
    if len({KINDS[path.suffix] for path in files}) != 1:
        raise ShopError(
            f"folder {place} holds {'no data file' if not files else 'several formats'}",
            expected=f"part files of one format ({', '.join(KINDS)})",
            action="put the table's part files there, or remove the folder",
        )
    return files


def check_header(file: Path) -> None:
    """Refuse a CSV file that names a column twice: a reader would take one of them and call the other something else.

    Columns without a name, as behind a comma at the end of each line, may be several.

    Raises:
        ShopError: it does, or it separates columns by something else than commas.
    """
    names: list[str] = []
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as handle, suppress(csv.Error):
        names = next(csv.reader(handle), [])
    if len(names) == 1 and (other := next((sign for sign in OTHERS if sign in names[0]), None)):
        raise ShopError(
            f"{file} is separated by {OTHERS[other]} (header {names[0]})",
            expected="columns separated by commas",
            action="export the table again",
        )
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        places = [str(place) for place, name in enumerate(names, start=1) if name == twice[0]]
        raise ShopError(
            f"{file} names several columns `{twice[0]}` (columns {', '.join(places)})",
            expected="each column's name once in the header",
            action="rename or remove all but one",
        )


def scan(files: tuple[Path, ...], *, kind: str) -> pl.LazyFrame:
    """A lazy frame over the files with the column `row`, from 1; a column that is called so already becomes GIVEN."""
    paths = list(files)
    if kind == "Parquet":
        frame = pl.scan_parquet(paths, row_index_name=NUMBER, row_index_offset=1, missing_columns="insert")
    elif kind == "CSV":
        frame = pl.scan_csv(paths, infer_schema=False, row_index_name=NUMBER, row_index_offset=1, encoding="utf8")
    else:
        names = pl.scan_ndjson(paths, infer_schema_length=None).collect_schema().names()
        frame = pl.scan_ndjson(paths, schema=dict.fromkeys(names, pl.String), row_index_name=NUMBER, row_index_offset=1)
    frame = frame.rename({ROW: GIVEN}, strict=False).rename({NUMBER: ROW})
    return frame.with_columns(pl.col(ROW).cast(pl.Int64))
