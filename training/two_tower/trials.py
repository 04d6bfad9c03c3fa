"""Users to validate on, as arrays; numpy and torch only."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recsys.models.clock import NEVER
from recsys.models.two_tower_config import PADDING
from training.two_tower.sequences import Int, Sequences, padded_events


class Trial(NamedTuple):
    """Users to validate on, padded.

    Attributes:
        history: int64 [batch, length], embedding rows, padded behind.
        event_types: int64 [batch, length].
        times: int64 [batch, length], microseconds.
        attributes: int64 [batch, attributes], the users' codes.
        lengths: int64 [batch].
        moments: int64 [batch], microseconds, when each user is answered, NEVER where not known.
        owned: int64 [batch, most], embedding rows that may not be recommended, filled up with PADDING.
        relevant: int64 [batch, most], embedding rows that should be, filled up with PADDING.
    """

    history: Tensor
    event_types: Tensor
    times: Tensor
    attributes: Tensor
    lengths: Tensor
    moments: Tensor
    owned: Tensor
    relevant: Tensor


@dataclass(frozen=True, slots=True)
class Trials:
    """Users with a history and what they did afterwards.

    Attributes:
        sequences: histories of these users alone.
        owned: for each user int64 [n] embedding rows that may not be recommended.
        relevant: for each user int64 [n] embedding rows, at least one.
        length: events that the user tower reads at most.
        moments: int64 [users], microseconds, when each is answered, NEVER where not known; None knows none.
    """

    sequences: Sequences
    owned: list[Int]
    relevant: list[Int]
    length: int
    moments: Int | None = None

    def collate(self, users: Int) -> Trial:
        """The arrays of some users."""
        ends = self.sequences.offsets[users + 1]
        starts = np.maximum(self.sequences.offsets[users], ends - self.length)
        events, inside = padded_events(np.stack([starts, ends], axis=1))
        return Trial(
            history=torch.from_numpy(np.where(inside, self.sequences.rows[events], PADDING)),
            event_types=torch.from_numpy(np.where(inside, self.sequences.event_types[events], 0)),
            times=torch.from_numpy(np.where(inside, self.sequences.timestamps[events], 0)),
            attributes=torch.from_numpy(self.sequences.attributes_of(users)),
            lengths=torch.from_numpy(ends - starts),
            moments=torch.from_numpy(np.full(len(users), NEVER) if self.moments is None else self.moments[users]),
            owned=torch.from_numpy(filled([self.owned[user] for user in users])),
            relevant=torch.from_numpy(filled([self.relevant[user] for user in users])),
        )


def filled(lists: list[Int]) -> Int:
    """int64 [lists, longest], PADDING behind each list."""
    table = np.full((len(lists), max((len(row) for row in lists), default=0)), PADDING, dtype=np.int64)
    for row, own in zip(table, lists, strict=True):
        row[: len(own)] = own
    return table
