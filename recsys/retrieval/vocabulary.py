"""A component's own numbering of products, and its place in today's catalogue."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.catalogue import Catalogue
from recsys.errors import BundleError

NAME = "vocabulary.parquet"


def write_vocabulary(folder: Path, product_ids: pl.Series) -> None:
    """Write vocabulary.parquet: product_id and row, the product's number inside the component."""
    frame = pl.DataFrame({"product_id": product_ids, "row": np.arange(len(product_ids), dtype=np.int64)})
    frame.write_parquet(folder / NAME)


def id_buckets(product_ids: Iterable[str], *, buckets: int, hashes: int) -> NDArray[np.int64]:
    """int64 [ids, hashes]: buckets of each id, the same on every machine and in every release.

    Args:
        product_ids: any strings.
        buckets: how many there are.
        hashes: how many of them an id has, 1 to 8; two of one id may be the same.
    """
    digests = b"".join(blake2b(name.encode(), digest_size=8 * hashes).digest() for name in product_ids)
    numbers = np.frombuffer(digests, dtype="<u8").reshape(-1, hashes)
    return (numbers % np.uint64(buckets)).astype(np.int64)


def catalogue_rows(folder: Path, *, catalogue: Catalogue) -> NDArray[np.int64]:
    """int64 [catalogue]: each product's row in the component, -1 where the component never saw it.

    Raises:
        BundleError: the component has no readable vocabulary.
    """
    rows = np.full(len(catalogue), -1, dtype=np.int64)
    frame = read_table(folder / NAME, columns=("product_id", "row"))
    positions = catalogue.positions(frame["product_id"])
    known = positions >= 0
    rows[positions[known]] = frame["row"].to_numpy()[known]
    return rows


def coded(values: Iterable[str], *, names: Sequence[str]) -> NDArray[np.int64]:
    """int64 [values]: 1 + the place of each value among the names, 0 where it is none of them."""
    places = {name: number for number, name in enumerate(names, start=1)}
    return np.array([places.get(value, 0) for value in values], dtype=np.int64)


def read_table(path: Path, *, columns: tuple[str, ...] = ()) -> pl.DataFrame:
    """The columns of a component's Parquet file, all where none is named.

    Raises:
        BundleError: the file is missing, damaged or lacks a column.
    """
    try:
        return pl.read_parquet(path, columns=list(columns) or None)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise broken(path, expected=f"a table with {', '.join(columns) or 'columns'}") from error


def read_array(path: Path) -> NDArray[np.float32]:
    """A component's npy file as float32.

    Raises:
        BundleError: the file is missing or damaged.
    """
    try:
        values: NDArray[np.float32] = np.load(path, allow_pickle=False).astype(np.float32, copy=False)
    except (OSError, ValueError) as error:
        raise broken(path, expected="an array of numbers") from error
    return values


def read_text(path: Path) -> str:
    """A component's text file.

    Raises:
        BundleError: the file is missing or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise broken(path, expected="a settings file") from error


def broken(path: Path, *, expected: str) -> BundleError:
    """The error for a file of a component that can't be used."""
    return BundleError(f"{path} is missing or damaged", expected=expected, action="train the stage again")
