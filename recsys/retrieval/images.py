"""What pictures add to the scores of an index whose vectors join text and picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from recsys.errors import IndexMismatchError
from recsys.retrieval.scan import Rows, exact_scores
from recsys.types import Positions, Scores, Vectors

VECTORS, ROWS, SHARES = "vectors.npy", "rows.npy", "shares.npy"


@dataclass(frozen=True, slots=True)
class ImageVectors:
    """The pictures' side of a catalogue's joined vectors.

    Attributes:
        vectors: float32 [pictures, width], unit vectors in the space of the text vectors.
        rows: int64 [products], the row of each product's picture, -1 where it has none.
        shares: float32 [pictures], how often the row stands in its product's joined vector.
    """

    vectors: Vectors
    rows: Rows
    shares: Scores

    def cosines(self, positions: Positions, query: Vectors) -> Scores:
        """float32 [positions]: the cosine of each picture and the query's text; NaN without picture."""
        found = np.full(len(positions), np.nan, dtype=np.float32)
        rows = self.rows[positions]
        found[rows >= 0] = exact_scores(self.vectors, rows[rows >= 0], query)
        return found

    def parts(self, positions: Positions, query: Vectors) -> Scores:
        """float32 [positions]: what each picture adds to the joined cosine; 0 without picture."""
        rows = self.rows[positions]
        shares = np.where(rows >= 0, self.shares[rows], np.float32(0.0)) if len(self.shares) else np.zeros(len(rows))
        return np.nan_to_num(self.cosines(positions, query), nan=0.0) * shares.astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write the three arrays into a new folder."""
        folder.mkdir(parents=True)
        for name, array in ((VECTORS, self.vectors), (ROWS, self.rows), (SHARES, self.shares)):
            np.save(folder / name, array, allow_pickle=False)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """What `save` wrote; vectors stay on the disk and are mapped into memory.

        Raises:
            IndexMismatchError: a file is missing or damaged.
        """
        try:
            return cls(
                vectors=np.load(folder / VECTORS, mmap_mode="r", allow_pickle=False),
                rows=np.load(folder / ROWS, allow_pickle=False),
                shares=np.load(folder / SHARES, allow_pickle=False),
            )
        except (OSError, ValueError, EOFError) as error:
            raise IndexMismatchError(
                f"{folder} can't be read ({' '.join(str(error).split())[:200]})",
                expected="the image vectors of an index",
                action="build it again with `recsys index`",
            ) from error
