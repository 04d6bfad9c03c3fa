"""What the product tower reads of each product that it learns, as arrays; numpy and torch only."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recsys.models.two_tower_config import FIRST
from recsys.types import Positions, Vectors


@dataclass(frozen=True, slots=True)
class Products:
    """The products of the vocabulary.

    Attributes:
        count: how many there are.
        text: float32 [count, text width], their text vectors; None trains without text.
        codes: int64 [count, features], their codes, 0 where one is unknown; None trains without.
        sizes: for each feature the number of its codes, 0 included.
    """

    count: int
    text: Vectors | None = None
    codes: Positions | None = None
    sizes: tuple[int, ...] = ()

    @property
    def text_width(self) -> int:
        """Width of the text vectors, 0 without."""
        return 0 if self.text is None else int(self.text.shape[1])

    def tables(self) -> tuple[Tensor | None, Tensor | None]:
        """Text and codes of each embedding row, zeros at padding and unknown."""
        return behind(self.text), behind(self.codes)


def behind(table: Vectors | Positions | None) -> Tensor | None:
    """The table with FIRST rows of zeros before it."""
    if table is None:
        return None
    return torch.from_numpy(np.concatenate([np.zeros((FIRST, table.shape[1]), dtype=table.dtype), table]))
