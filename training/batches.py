"""Seeded batches of row numbers: of like length or of whole queries, equal in number for every process."""

import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch.distributed
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Plan = Callable[[int], Sequence[Rows]]
WINDOW = 50
FILLING = -1  # stands for no row, where a batch of whole queries can't be shared equally


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


def query_batches(
    queries: NDArray[np.int64], *, batch_size: int, seed: int, epoch: int, processes: int = 1
) -> list[Rows]:
    """Every row once, all rows of a query in one batch; equally many batches of the same sizes in every epoch.

    A query of more rows than a batch is cut into equal pieces, other rows together in each epoch. How many queries of
    which size share a batch is always the same; which ones, and the order of the batches, is drawn.

    Args:
        queries: int64 [rows], the query of each row.
        batch_size: the most rows of a global batch, a multiple of `processes`.
        seed: with the epoch, decides what is drawn.
        epoch: 0-based.
        processes: every batch is made a multiple of it with FILLING.
    """
    random = np.random.default_rng((seed, epoch))
    pieces = query_pieces(queries, batch_size=batch_size, random=random)
    drawn = random.permutation(len(pieces))
    drawn = drawn[np.argsort([-len(pieces[number]) for number in drawn], kind="stable")]
    sizes = [len(pieces[number]) for number in drawn]
    batches = []
    for members in packed(sizes, size=batch_size):
        rows = np.concatenate([pieces[drawn[member]] for member in members])
        batches.append(np.concatenate([rows, np.full(-len(rows) % processes, FILLING)]))
    return [batches[number] for number in random.permutation(len(batches))]


def query_pieces(queries: NDArray[np.int64], *, batch_size: int, random: np.random.Generator) -> list[Rows]:
    """The rows of each query, cut into as few pieces of nearly equal size as fit into a batch."""
    order = random.permutation(len(queries))
    order = order[np.argsort(queries[order], kind="stable")]
    whole = np.split(order, np.flatnonzero(np.diff(queries[order])) + 1) if len(order) else []
    return [piece for rows in whole for piece in np.array_split(rows, -(-len(rows) // batch_size))]


def packed(sizes: Sequence[int], *, size: int) -> list[list[int]]:
    """Numbers of the pieces in each batch: every piece to the emptiest of few batches, by the sizes alone.

    Args:
        sizes: of the pieces, largest first, none above `size`.
        size: the most that a batch holds.
    """
    count = max(-(-sum(sizes) // size), sum(2 * one > size for one in sizes))
    while True:
        loads = [(0, batch) for batch in range(count)]
        members: list[list[int]] = [[] for _ in range(count)]
        for number, one in enumerate(sizes):
            load, batch = loads[0]
            if load + one > size:
                break
            heapq.heapreplace(loads, (load + one, batch))
            members[batch].append(number)
        else:
            return members
        count += 1 + count // 100


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
