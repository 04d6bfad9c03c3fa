"""Users' events as arrays, and how much each counts as something to predict; numpy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]
Float = NDArray[np.float32]

MICROSECONDS_A_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Sequences:
    """Users' events by time.

    Attributes:
        offsets: int64 [users + 1]; user i owns events offsets[i] to offsets[i + 1], oldest first.
        rows: int64 [events], embedding rows.
        event_types: int64 [events], codes of EVENT_CODES.
        timestamps: int64 [events], microseconds.
        weights: float32 [events], above 0; how much an event counts as something to predict.
        segments: int64 [users], codes of their segments, 0 for unknown; None where the network reads none.
    """

    offsets: Int
    rows: Int
    event_types: Int
    timestamps: Int
    weights: Float
    segments: Int | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def segments_of(self, users: Int) -> Int:
        """int64 [n], the codes of some users' segments."""
        return np.zeros_like(users) if self.segments is None else self.segments[users]

    def users(self) -> Int:
        """int64 [events], the user of each event."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))


def target_weights(sequences: Sequences, *, repeats: bool) -> Float:
    """float32 [events], how much each event counts as a target: 0 leaves it out.

    Args:
        sequences: the events.
        repeats: False leaves out products that the user already has.
    """
    if repeats:
        return sequences.weights
    pairs = sequences.users() * (int(sequences.rows.max(initial=0)) + 1) + sequences.rows
    first = np.zeros(len(pairs), dtype=np.bool_)
    first[np.unique(pairs, return_index=True)[1]] = True
    return np.where(first, sequences.weights, np.float32(0.0))


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

    def weights(self, timestamps: Int, *, epoch: int) -> Float:
        """float32 [events], 1 for the newest event and halved with every half-life before it."""
        if self.start_days <= 0 or not len(timestamps):
            return np.ones(len(timestamps), dtype=np.float32)
        share = min(1.0, epoch / max(1, self.epochs - 1))
        half_life = self.start_days * (self.end_days / self.start_days) ** share
        age = (timestamps.max() - timestamps) / MICROSECONDS_A_DAY
        weights: Float = (0.5 ** (age / half_life)).astype(np.float32)
        return weights


def padded_events(windows: Int) -> tuple[Int, NDArray[np.bool_]]:
    """int64 [windows, longest] events of each window, 0 where padded behind, and bool of the same shape: inside."""
    lengths = windows[:, 1] - windows[:, 0]
    places = np.arange(int(lengths.max(initial=0)))
    inside = places < lengths[:, None]
    return np.where(inside, windows[:, :1] + places, 0), inside
