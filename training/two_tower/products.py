"""What the product tower reads of each product that it learns, as arrays; numpy and torch only."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recsys.models.two_tower_config import FIRST
from recsys.types import Positions, Vectors
from training.two_tower.calendar import Calendar


class Tables(NamedTuple):
    """What is known of the products, by embedding row.

    Attributes:
        text: float32 [rows, text width]; None without.
        codes: int64 [rows, features]; None without.
        calendar: float32 [periods, rows, values], the last period being the present; None without.
    """

    text: Tensor | None = None
    codes: Tensor | None = None
    calendar: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Products:
    """The products of the vocabulary.

    Attributes:
        count: how many there are.
        text: float32 [count, text width], their text vectors; None trains without text.
        codes: int64 [count, features], their codes, 0 where one is unknown; None trains without.
        sizes: for each feature the number of its codes, 0 included.
        calendar: what sells and what is new, by period; None trains without.
        buckets: int64 [count, hashes], the shared rows of each id; None gives each its own.
    """

    count: int
    text: Vectors | None = None
    codes: Positions | None = None
    sizes: tuple[int, ...] = ()
    calendar: Calendar | None = None
    buckets: Positions | None = None

    @property
    def text_width(self) -> int:
        """Width of the text vectors, 0 without."""
        return 0 if self.text is None else int(self.text.shape[1])

    def tables(self) -> "Tables":
        """What is known of each embedding row, zeros at padding and unknown."""
        calendar = None if self.calendar is None else torch.from_numpy(self.calendar.values)
        return Tables(behind(self.text), behind(self.codes), calendar)


def behind(table: Vectors | Positions | None) -> Tensor | None:
    """The table with FIRST rows of zeros before it."""
    if table is None:
        return None
    return torch.from_numpy(np.concatenate([np.zeros((FIRST, table.shape[1]), dtype=table.dtype), table]))
