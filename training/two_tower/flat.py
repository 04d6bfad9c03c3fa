"""Histories read piece by piece into flat files that are mapped into memory: what is not used is not held."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.types import EVENT_CODES, Positions
from training.two_tower.sequences import Sequences

COLUMNS = ("user_id", "position", "timestamp", "event_type", "weight")
FLAT = {"rows": np.int32, "event_types": np.int8, "timestamps": np.int64, "weights": np.float32}
"""What stands in a file of its own for each event: 17 bytes in all."""


def read_sequences(
    frames: Iterable[pl.DataFrame], *, rows: Positions, folder: Path, segments: Mapping[str, int] | None = None
) -> Sequences:
    """Events as arrays that lie in files without a name, which are gone when the arrays are.

    Args:
        frames: known users' interactions (COLUMNS), sorted by user_id and timestamp; a user may go on in the next.
        rows: int64 [catalogue], embedding row of each position.
        folder: on a disk with room for the files.
        segments: by user, the code of the segment; None where the network reads none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    narrow = rows.astype(FLAT["rows"])
    starts: list[NDArray[np.int64]] = []
    codes: list[int] = []
    last, count = None, 0
    with ExitStack() as stack:
        files = {name: stack.enter_context(TemporaryFile(dir=folder)) for name in FLAT}
        for frame in frames:
            begins = np.flatnonzero(np.diff(frame["user_id"].rle_id().to_numpy().astype(np.int64), prepend=-1))
            begins = begins[1:] if len(begins) and frame["user_id"][0] == last else begins
            starts.append(begins + count)
            if segments is not None:
                codes += [segments.get(user, 0) for user in frame["user_id"].gather(begins).to_list()]
            for name, values in flat_columns(frame, rows=narrow).items():
                values.tofile(files[name])
            last, count = frame["user_id"][-1] if len(frame) else last, count + len(frame)
        arrays = {name: mapped(file, dtype=FLAT[name], count=count) for name, file in files.items()}
    return Sequences(
        offsets=np.concatenate([*starts, [count]]).astype(np.int64),
        segments=None if segments is None else np.array(codes, dtype=np.int64),
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
