"""Hashes of files, and of frames independently of the file format, the writer and its version."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import polars as pl

ROWS = 1 << 20


def file_sha256(path: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def folder_digest(folder: Path) -> str:
    """sha256 over the names and bytes of a folder's files."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    told = "\n".join(f"{path.relative_to(folder).as_posix()} {file_sha256(path)}" for path in paths)
    return hashlib.sha256(told.encode()).hexdigest()


def frame_digest(frame: pl.DataFrame | pl.LazyFrame) -> str:
    """sha256 (hex) of the frame's column names, types and values, in the order given.

    Floats are hashed by their bits, with NaN as null and -0.0 as 0.0; text by its UTF-8 bytes. The frame is read in
    slices of 1,048,576 rows, so that a lazy scan of a large file is never held as a whole.
    """
    total = hashlib.sha256()
    lazy = frame.lazy()
    schema = lazy.collect_schema()
    total.update(repr([(name, kind_name(kind)) for name, kind in schema.items()]).encode())
    for part in slices(lazy):
        total.update(str(part.height).encode())
        for name in part.columns:
            for block in blocks(part[name]):
                total.update(block)
    return total.hexdigest()


def kind_name(kind: pl.DataType) -> str:
    """A type's name; categories are text that is stored another way."""
    return "String" if isinstance(kind, pl.Enum | pl.Categorical) else type(kind).__name__


def slices(lazy: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """The frame in pieces of ROWS rows; the last may be shorter."""
    start = 0
    while True:
        part = lazy.slice(start, ROWS).collect()
        if part.height:
            yield part
        if part.height < ROWS:
            return
        start += ROWS


def blocks(column: pl.Series) -> Iterator[bytes]:
    """A column's nulls and values as bytes that only depend on its content."""
    if isinstance(column.dtype, pl.List):
        yield column.list.len().fill_null(0).cast(pl.UInt32).to_numpy().tobytes()
        yield column.is_null().to_numpy().tobytes()
        yield from blocks(column.drop_nulls().explode(keep_nulls=False, empty_as_null=False))
        return
    if column.dtype.is_float():
        column = column.fill_nan(None)
        yield column.is_null().to_numpy().tobytes()
        yield (column.fill_null(0.0).to_numpy() + 0.0).tobytes()
        return
    yield column.is_null().to_numpy().tobytes()
    if column.dtype in (pl.String, pl.Categorical, pl.Enum):
        text = column.cast(pl.String).fill_null("")
        yield text.str.len_bytes().cast(pl.UInt32).to_numpy().tobytes()
        yield text.str.join("").item().encode()
    elif column.dtype == pl.Boolean:
        yield column.fill_null(value=False).to_numpy().tobytes()
    else:
        yield column.to_physical().fill_null(0).to_numpy().tobytes()
