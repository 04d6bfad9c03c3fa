"""Seeded batches of row numbers: sorted by length against padding, equal in number for every process."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch.distributed
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Plan = Callable[[int], Sequence[Rows]]
WINDOW = 50


def shuffled_batches(rows: int, *, batch_size: int, seed: int, epoch: int) -> list[Rows]:
    """The global batches of one epoch in random order; rows that don't fill the last batch wait for another epoch.

    Args:
        rows: how many rows there are.
        batch_size: rows of a global batch; a smaller data set makes one batch of all.
        seed: with the epoch, decides the order.
        epoch: 0-based.
    """
    order = np.random.default_rng((seed, epoch)).permutation(rows)
    size = min(batch_size, rows)
    return [order[start : start + size] for start in range(0, rows - size + 1, size)] if rows else []


def length_batches(lengths: Rows, *, batch_size: int, seed: int, epoch: int) -> list[Rows]:
    """As `shuffled_batches`, with rows of like length together.

    Rows are shuffled, sorted by length inside windows of 50 batches and cut; the batches are shuffled again, so that
    an epoch has little padding and its order still looks random.

    Args:
        lengths: int64 [rows], tokens of each row.
        batch_size: rows of a global batch.
        seed: with the epoch, decides the order.
        epoch: 0-based.
    """
    random = np.random.default_rng((seed, epoch))
    order = random.permutation(len(lengths))
    size = min(batch_size, len(lengths))
    if not size:
        return []
    order = order[: len(order) // size * size]
    batches: list[Rows] = []
    for start in range(0, len(order), size * WINDOW):
        window = order[start : start + size * WINDOW]
        window = window[np.argsort(lengths[window], kind="stable")]
        batches += [window[cut : cut + size] for cut in range(0, len(window), size)]
    return [batches[number] for number in random.permutation(len(batches))]


def scoring_batches(lengths: Rows, *, batch_size: int, processes: int = 1) -> list[Rows]:
    """Every row at least once, longest first, in equally many batches for every process.

    Where the rows don't fill the batches of all processes, the first rows stand again at the end.

    Args:
        lengths: int64 [rows].
        batch_size: rows of a global batch.
        processes: the number of batches' rows is made a multiple of it.
    """
    order = np.argsort(-lengths, kind="stable")
    missing = -len(order) % processes
    order = np.concatenate([order, np.resize(order, missing)]) if missing and len(order) else order
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


class Loader:
    """Batches of one process, in an order that depends on the epoch alone; remembers its place for a resumed run.

    Args:
        plan: the global batches of an epoch (0-based); equally many in each.
        collate: turns the row numbers of one process's share into tensors.

    Process r of R takes rows r, r + R, r + 2R ... of every global batch.
    """

    def __init__(self, plan: Plan, collate: Callable[[Rows], Any]) -> None:
        self.plan = plan
        self.collate = collate
        self.epoch = 0
        self.next = 0
        self.length = len(plan(0))

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        rank, processes = place()
        batches = self.plan(self.epoch)
        while self.next < len(batches):
            rows = batches[self.next][rank::processes]
            self.next += 1
            if self.next == len(batches):
                self.epoch, self.next = self.epoch + 1, 0
                yield self.collate(rows)
                return
            yield self.collate(rows)

    def state_dict(self) -> dict[str, int]:
        """The place of the next batch."""
        return {"epoch": self.epoch, "next": self.next}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on from there."""
        self.epoch, self.next = state_dict["epoch"], state_dict["next"]


def place() -> tuple[int, int]:
    """Number of this process and number of processes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
