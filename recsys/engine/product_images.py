"""What a catalogue's products look like: their image vectors or pictures, read in batches, and what could not be."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.catalogue import Catalogue
from recsys.errors import IndexMismatchError
from recsys.logs import progress
from recsys.models.pictures import DAMAGED, Picture, find_picture, picture_keys, read_picture
from recsys.types import Mask, Positions, Vectors

log = logging.getLogger(__name__)
BATCH = 64  # pictures held at once
NAMED = 5  # products named for each problem


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a product's picture could not be read."""

    product_id: str
    reason: str


def given_vectors(catalogue: Catalogue, *, width: int | None = None) -> tuple[Vectors, Mask]:
    """The shop's own image vectors, float32 [products, width], and bool [products] where there is one.

    An empty list and a vector of zeros are none; what stands in their rows means nothing.

    Args:
        catalogue: the products.
        width: which they must have; None takes that of the first.

    Raises:
        IndexMismatchError: a vector has another width; the message names the product.
    """
    column = catalogue.column("image_vector")
    if not isinstance(column.dtype, pl.List):
        return np.zeros((len(catalogue), width or 0), dtype=np.float32), np.zeros(len(catalogue), dtype=np.bool_)
    lengths = column.list.len().fill_null(0).to_numpy()
    seen = lengths > 0
    wanted = width if width is not None else int(lengths[seen][0]) if seen.any() else 0
    if (wrong := np.flatnonzero(seen & (lengths != wanted))).size:
        raise IndexMismatchError(
            f"product {catalogue.product_ids[int(wrong[0])]} has an image vector of width {lengths[wrong[0]]}",
            expected=f"width {wanted}" + ("" if width is None else ", on which the image tower was trained"),
            action="correct the column image_vector, or train again with `recsys train images`",
        )
    vectors = np.zeros((len(catalogue), wanted), dtype=np.float32)
    flat = column.filter(pl.Series(seen)).explode(keep_nulls=True, empty_as_null=False)
    vectors[seen] = flat.cast(pl.Float32).fill_null(float("nan")).to_numpy().reshape(-1, wanted) if wanted else 0.0
    whole = np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)
    return vectors, seen & whole


def find_pictures(catalogue: Catalogue, folder: Path | None) -> list[Picture]:
    """Where each product's picture lies; see `recsys.models.pictures.find_picture`."""
    return [find_picture(url, folder) for url in catalogue.column("image_url").cast(pl.String).to_list()]


def read_batches(
    pictures: Sequence[Picture], rows: Positions, *, size: int
) -> Iterator[tuple[Positions, NDArray[np.uint8]]]:
    """Pictures, 64 at a time, behind a progress bar; damaged ones are passed over.

    Args:
        pictures: of a catalogue.
        rows: int64 [n], those to read; each has a path.
        size: height and width, in pixels.

    Yields:
        Rows of those that could be read, int64 [b], and their pixels, uint8 [b, size, size, 3].
    """
    starts = range(0, len(rows), BATCH)
    for start in progress(starts, label="pictures", total=len(starts)):
        part = rows[start : start + BATCH]
        found = [(row, read_picture(path, size=size)) for row in part if (path := pictures[row].path) is not None]
        good = [(row, pixels) for row, pixels in found if pixels is not None]
        if good:
            yield np.array([row for row, _ in good]), np.stack([pixels for _, pixels in good])


def problems_of(catalogue: Catalogue, pictures: Sequence[Picture], seen: Mask) -> list[Problem]:
    """The products whose picture is named and could not be read, in the order of positions."""
    ids = catalogue.product_ids
    return [
        Problem(ids[row], picture.problem or DAMAGED)
        for row, picture in enumerate(pictures)
        if not seen[row] and (picture.problem or picture.path is not None)
    ]


def told(problems: Sequence[Problem]) -> str:
    """The problems counted by reason, each with the first products; "" where there are none."""
    reasons: dict[str, list[str]] = {}
    for problem in problems:
        reasons.setdefault(problem.reason, []).append(problem.product_id)
    return "; ".join(
        f"{len(ids)} {reason} ({', '.join(ids[:NAMED])}{' ...' if len(ids) > NAMED else ''})"
        for reason, ids in reasons.items()
    )


def picture_stamp(catalogue: Catalogue, folder: Path | None) -> str:
    """sha256 over which pictures there are, by path, size and time of change: another one, another index."""
    return hashlib.sha256(picture_keys(find_pictures(catalogue, folder)).tobytes()).hexdigest()
