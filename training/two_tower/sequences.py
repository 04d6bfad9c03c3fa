"""Users' events as arrays, and how much each counts as something to predict; numpy only.

The arrays may be mapped from files and be larger than memory: what is done with all of them is done a block of users
at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]
Whole = NDArray[np.integer[Any]]
Float = NDArray[np.float32]

MICROSECONDS_A_DAY = 86_400_000_000
BLOCK = 2_000_000
"""Events looked at together; a user of more makes a block of their own."""


@dataclass(frozen=True, slots=True)
class Sequences:
    """Users' events by time.

    Attributes:
        offsets: int64 [users + 1]; user i owns events offsets[i] to offsets[i + 1], oldest first.
        rows: whole numbers [events] of any width, embedding rows.
        event_types: the same, codes of EVENT_CODES.
        timestamps: int64 [events], microseconds.
        weights: float32 [events], above 0; how much an event counts as something to predict.
        attributes: int64 [users, attributes], their codes, 0 for unknown; None where the network reads none.
    """

    offsets: Int
    rows: Whole
    event_types: Whole
    timestamps: Int
    weights: Float
    attributes: Int | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def attributes_of(self, users: Int) -> Int:
        """int64 [n, attributes], the codes of some users."""
        return np.zeros((len(users), 0), dtype=np.int64) if self.attributes is None else self.attributes[users]

    def users(self) -> Int:
        """int64 [events], the user of each event."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def users_at(self, events: Int) -> Int:
        """int64 [n], the users of some events."""
        return np.searchsorted(self.offsets, events, side="right") - 1

    def blocks(self) -> Iterator[tuple[int, "Sequences"]]:
        """The users in parts of about BLOCK events: the first event of each part, and the part by itself."""
        first = 0
        while first < len(self):
            last = int(np.searchsorted(self.offsets, self.offsets[first] + BLOCK, side="right")) - 1
            last = min(max(last, first + 1), len(self))
            yield int(self.offsets[first]), self.part(first, last)
            first = last

    def part(self, first: int, last: int) -> "Sequences":
        """The users from `first` to before `last`, with views of their events."""
        events = slice(int(self.offsets[first]), int(self.offsets[last]))
        return Sequences(
            offsets=self.offsets[first : last + 1] - self.offsets[first],
            rows=self.rows[events],
            event_types=self.event_types[events],
            timestamps=self.timestamps[events],
            weights=self.weights[events],
            attributes=None if self.attributes is None else self.attributes[first:last],
        )


def target_weights(sequences: Sequences, *, repeats: bool, strongest: bool = False) -> Float:
    """float32 [events], how much each event counts as a target: 0 leaves it out.

    Args:
        sequences: the events.
        repeats: False leaves out products that the user already has.
        strongest: where repeats are left out, a user's first event with a product counts as much as the weightiest of
            all their events with it: a view that became a purchase counts as the purchase.
    """
    if repeats:
        return sequences.weights
    found = np.zeros(len(sequences.weights), dtype=np.float32)
    for begin, part in sequences.blocks():
        pairs = part.users() * (int(part.rows.max(initial=0)) + 1) + part.rows
        _, first, pair = np.unique(pairs, return_index=True, return_inverse=True)
        weights = part.weights[first]
        if strongest:
            np.maximum.at(weights, pair, part.weights)
        found[begin + first] = weights
    return found


@dataclass(frozen=True, slots=True)
class Recency:
    """How fast targets lose weight with their age, more and more steeply from epoch to epoch.

    The early epochs learn what goes with what from all events, the late ones what is bought now.

    Attributes:
        start_days: half-life in the first epoch; 0 counts all events alike in all epochs.
        end_days: half-life in the last epoch.
        epochs: of the whole schedule.
    """

    start_days: float
    end_days: float
    epochs: int

    def weights(self, timestamps: Int, *, epoch: int, newest: int | None = None) -> Float:
        """float32 [events], 1 for the newest event and halved with every half-life before it.

        Args:
            timestamps: int64 [events], microseconds.
            epoch: 0-based.
            newest: microseconds of the newest of all events; None takes that of `timestamps`.
        """
        if self.start_days <= 0 or not len(timestamps):
            return np.ones(len(timestamps), dtype=np.float32)
        share = min(1.0, epoch / max(1, self.epochs - 1))
        half_life = self.start_days * (self.end_days / self.start_days) ** share
        age = ((timestamps.max() if newest is None else newest) - timestamps) / MICROSECONDS_A_DAY
        weights: Float = (0.5 ** (age / half_life)).astype(np.float32)
        return weights


def padded_events(windows: Int) -> tuple[Int, NDArray[np.bool_]]:
    """int64 [windows, longest] events of each window, 0 where padded behind, and bool of the same shape: inside."""
    lengths = windows[:, 1] - windows[:, 0]
    places = np.arange(int(lengths.max(initial=0)))
    inside = places < lengths[:, None]
    return np.where(inside, windows[:, :1] + places, 0), inside
