"""Histories read piece by piece into flat files that are mapped into memory: what is not used is not held."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.lookup import find_sorted
from recsys.types import EVENT_CODES, Positions
from training.two_tower.sequences import Sequences

COLUMNS = ("user_id", "position", "timestamp", "event_type", "weight")
FLAT = {"rows": np.int32, "event_types": np.int8, "timestamps": np.int64, "weights": np.float32}
"""What stands in a file of its own for each event: 17 bytes in all."""


class KnownUsers(NamedTuple):
    """The codes of users' attributes.

    Attributes:
        user_ids: String [users], sorted, each once.
        codes: int64 [users, attributes], 0 for unknown.
    """

    user_ids: pl.Series
    codes: NDArray[np.int64]

    def codes_of(self, user_ids: pl.Series) -> NDArray[np.int64]:
        """int64 [n, attributes], all 0 of a user who is not among them."""
        rows = find_sorted(self.user_ids, user_ids)
        found = np.zeros((len(rows), self.codes.shape[1]), dtype=np.int64)
        found[rows >= 0] = self.codes[rows[rows >= 0]]
        return found


def read_sequences(
    frames: Iterable[pl.DataFrame], *, rows: Positions, folder: Path, known: KnownUsers | None = None
) -> Sequences:
    """Events as arrays that lie in files without a name, which are gone when the arrays are.

    Args:
        frames: known users' interactions (COLUMNS), sorted by user_id and timestamp; a user may go on in the next.
        rows: int64 [catalogue], embedding row of each position.
        folder: on a disk with room for the files.
        known: the codes of users' attributes; None where the network reads none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    narrow = rows.astype(FLAT["rows"])
    starts: list[NDArray[np.int64]] = []
    codes: list[NDArray[np.int64]] = []
    last, count = None, 0
    with ExitStack() as stack:
        files = {name: stack.enter_context(TemporaryFile(dir=folder)) for name in FLAT}
        for frame in frames:
            begins = np.flatnonzero(np.diff(frame["user_id"].rle_id().to_numpy().astype(np.int64), prepend=-1))
            begins = begins[1:] if len(begins) and frame["user_id"][0] == last else begins
            starts.append(begins + count)
            if known is not None:
                codes.append(known.codes_of(frame["user_id"].gather(begins)))
            for name, values in flat_columns(frame, rows=narrow).items():
                values.tofile(files[name])
            last, count = frame["user_id"][-1] if len(frame) else last, count + len(frame)
        arrays = {name: mapped(file, dtype=FLAT[name], count=count) for name, file in files.items()}
    return Sequences(
        offsets=np.concatenate([*starts, [count]]).astype(np.int64),
        attributes=None if known is None else np.concatenate([known.codes[:0], *codes]),
        **arrays,
    )


def flat_columns(frame: pl.DataFrame, *, rows: NDArray[np.int32]) -> dict[str, NDArray[Any]]:
    """The columns of some events as they stand in the files."""
    kinds = frame["event_type"].cast(pl.String).replace_strict(EVENT_CODES, return_dtype=pl.Int8)
    return {
        "rows": rows[frame["position"].to_numpy()],
        "event_types": kinds.to_numpy(),
        "timestamps": frame["timestamp"].dt.timestamp("us").to_numpy(),
        "weights": frame["weight"].cast(pl.Float32).to_numpy(),
    }


def mapped(file: IO[bytes], *, dtype: Any, count: int) -> NDArray[Any]:
    """The numbers in a file, mapped; they outlive its name and its handle."""
    if not count:
        return np.empty(0, dtype=dtype)
    file.flush()
    return np.asarray(np.memmap(file, dtype=dtype, mode="r", shape=(count,)))
