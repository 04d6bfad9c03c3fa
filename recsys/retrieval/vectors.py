"""Vectors on their way into an index: refused where they are broken, kept once where they are equal."""

import hashlib

import numpy as np

from recsys.errors import BundleError
from recsys.retrieval.scan import CHUNK, Rows
from recsys.types import Vectors


def spread(starts: Rows, counts: Rows) -> Rows:
    """The numbers starts[i] to starts[i] + counts[i] - 1 for each i, one after the other."""
    ends = np.cumsum(counts)
    return np.repeat(starts - (ends - counts), counts) + np.arange(int(ends[-1]) if len(ends) else 0)


def distinct(vectors: Vectors) -> tuple[Rows, Rows]:
    """Which positions hold a vector for the first time, and for each position the number of its vector among those."""
    numbers: dict[bytes, int] = {}
    first: list[int] = []
    rows = np.empty(len(vectors), dtype=np.int64)
    for position, vector in enumerate(vectors):
        key = hashlib.blake2b(vector.tobytes(), digest_size=16).digest()
        number = numbers.setdefault(key, len(numbers))
        if number == len(first):
            first.append(position)
        rows[position] = number
    return np.array(first, dtype=np.int64), rows


def check(vectors: Vectors, *, what: str, width: int | None = None, zero: bool = False) -> Vectors:
    """The vectors as contiguous float32 [n, width]; refuses NaN, infinity, another width and, unless `zero`, zeros."""
    checked = np.ascontiguousarray(vectors, dtype=np.float32)
    if checked.ndim != 2 or (width is not None and checked.shape[1] != width):
        raise BundleError(
            f"{what}s of shape {checked.shape}",
            expected=f"[n, {width or 'width'}]",
            action="use the encoder that the index was built with",
        )
    for start in range(0, len(checked), CHUNK):
        part = checked[start : start + CHUNK]
        good = np.isfinite(part).all(axis=1) & (zero | part.any(axis=1))
        if not good.all():
            bad = int(np.argmin(good))
            kind = "all zero" if np.isfinite(part[bad]).all() else "not finite"
            raise BundleError(
                f"{what} {start + bad} is {kind}",
                expected="finite numbers, not all zero",
                action="train the encoder again or fall back to the champion",
            )
    return checked
