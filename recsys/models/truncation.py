"""Shorter vectors: the first numbers of a vector, or its projection onto the catalogue's main directions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from recsys.errors import BundleError
from recsys.types import Vectors

PROJECTION, CENTRE = "projection.npy", "centre.npy"
CHUNK = 65536  # vectors read at a time


class Truncation(nn.Module):
    """From unit vectors to shorter unit vectors.

    Args:
        dimensions: of the shorter vectors.
        projection: float32 [dimensions, width], the directions kept; None keeps the first numbers.
        centre: float32 [width], taken off before the projection; None takes nothing off.
    """

    def __init__(self, dimensions: int, *, projection: Vectors | None = None, centre: Vectors | None = None) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.projection: Tensor | None
        self.centre: Tensor | None
        self.register_buffer("projection", None if projection is None else torch.from_numpy(projection))
        self.register_buffer("centre", None if centre is None else torch.from_numpy(centre))

    def forward(self, vectors: Tensor) -> Tensor:
        """float32 [batch, dimensions] of length 1, for float32 [batch, width]."""
        return prefix(self.project(vectors), self.dimensions)

    def project(self, vectors: Tensor) -> Tensor:
        """The vectors along the directions that are kept; as they are where there is no projection."""
        if self.projection is None:
            return vectors
        with torch.autocast(vectors.device.type, enabled=False):  # bfloat16 would cost more than the projection does
            centred = vectors.float() if self.centre is None else vectors.float() - self.centre
            return centred @ self.projection.T

    def save(self, folder: Path) -> None:
        """Write the projection into the folder, if there is one."""
        for name, part in ((PROJECTION, self.projection), (CENTRE, self.centre)):
            if part is not None:
                np.save(folder / name, part.cpu().numpy(), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, *, dimensions: int, width: int) -> Self:
        """What `save` wrote.

        Args:
            folder: a text encoder's.
            dimensions: of the shorter vectors.
            width: of the whole vectors.

        Raises:
            BundleError: a file is damaged or of another shape.
        """
        projection, centre = read_array(folder / PROJECTION), read_array(folder / CENTRE)
        shapes = [None if part is None else part.shape for part in (projection, centre)]
        wanted = [None, None] if projection is None else [(dimensions, width), None if centre is None else (width,)]
        if shapes != wanted or not 1 <= dimensions <= width:
            raise BundleError(
                f"{folder} has {dimensions} of {width} dimensions, projection and centre of shapes {shapes}",
                expected=f"{wanted}",
                action="train it again with `recsys train retriever`",
            )
        return cls(dimensions, projection=projection, centre=centre)


def prefix(vectors: Tensor, dimensions: int) -> Tensor:
    """The first numbers of each vector, scaled to length 1: float [batch, dimensions] of float [batch, width].

    Source: Kusupati et al. 2022, "Matryoshka representation learning" (arXiv 2205.13147).
    """
    return normalize(vectors[:, :dimensions], dim=-1)


def fit_truncation(vectors: Vectors, *, dimensions: int, centred: bool = False) -> tuple[Truncation, float]:
    """The projection that keeps most of the vectors: their first principal directions.

    Args:
        vectors: float32 [n, width], n at least `dimensions`; may be mapped from a disk, and is read in pieces.
        dimensions: how many directions to keep, 1 to width.
        centred: take the mean off first. Cosines are then those around the mean, no longer those of the whole vectors.

    Returns:
        The truncation, and the share of the vectors' squared length that it loses, 0..1.

    Source: Pearson 1901, "On lines and planes of closest fit"; without centring, the truncated singular value
    decomposition of Eckart and Young 1936.
    """
    width = vectors.shape[1]
    centre = np.zeros(width)
    if centred:
        centre = sum((part.sum(axis=0) for part in pieces(vectors)), np.zeros(width)) / len(vectors)
    moments = np.zeros((width, width))
    for part in pieces(vectors):
        moments += (part - centre).T @ (part - centre)
    values, directions = np.linalg.eigh(moments)
    kept = directions[:, ::-1][:, :dimensions].T
    largest = np.take_along_axis(kept, np.abs(kept).argmax(axis=1)[:, None], axis=1)
    projection = (kept * np.sign(largest)).astype(np.float32)  # a direction's sign is free: the same everywhere
    total = float(np.trace(moments))
    lost = max(0.0, 1.0 - float(values[::-1][:dimensions].sum()) / total) if total else 0.0
    return Truncation(dimensions, projection=projection, centre=centre.astype(np.float32) if centred else None), lost


def pieces(vectors: Vectors) -> Iterator[NDArray[np.float64]]:
    """The vectors in float64, a chunk at a time."""
    return (vectors[start : start + CHUNK].astype(np.float64) for start in range(0, len(vectors), CHUNK))


def read_array(path: Path) -> Vectors | None:
    """The float32 array of a file; None where there is no file.

    Raises:
        BundleError: the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        array: Vectors = np.load(path, allow_pickle=False).astype(np.float32)
    except (OSError, ValueError, EOFError) as error:
        raise BundleError(
            f"{path} can't be read ({' '.join(str(error).split())[:200]})",
            expected="an array of numbers",
            action="train it again with `recsys train retriever`",
        ) from error
    return array
