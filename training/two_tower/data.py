"""Histories as arrays, and the batches that the two-tower network learns from; numpy and torch only.

Events of one user that share a timestamp form a basket: nothing is known about the order inside, so it is drawn anew
in every epoch. The state behind each basket learns to bring the products of the next one. Where every timestamp
differs this is plain next-event prediction.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys.models.two_tower_config import FIRST, PADDING
from training.batches import length_batches
from training.two_tower.calendar import Calendar
from training.two_tower.negatives import NegativeSampler
from training.two_tower.sequences import Float, Int, Recency, Sequences, padded_events


class Batch(NamedTuple):
    """One step's arrays; products are numbered by their place in `rows`.

    Attributes:
        rows: int64 [u], the distinct embedding rows of the step; place 0 is padding.
        history: int64 [batch, length], places in `rows`, padded behind.
        event_types: int64 [batch, length].
        times: int64 [batch, length], microseconds.
        segments: int64 [batch], codes of the users' segments.
        states: int64 [s], flat places in `history` behind which something is predicted.
        periods: int64 [s], the calendar's period in which it was; 0 without a calendar.
        target_states: int64 [t], places in `states`.
        targets: int64 [t], places in `rows`.
        weights: float32 [t].
        negatives: int64 [n], places in `rows`.
        log_expected: float32 [n], log of how often the negative is expected among the n.
    """

    rows: Tensor
    history: Tensor
    event_types: Tensor
    times: Tensor
    segments: Tensor
    states: Tensor
    periods: Tensor
    target_states: Tensor
    targets: Tensor
    weights: Tensor
    negatives: Tensor
    log_expected: Tensor


class TrainingBatches:
    """Seeded, repeatable batches of windows of histories, for a `training.batches.Loader`.

    Args:
        sequences: the events to learn from.
        target_weights: float32 [events] from the function of that name.
        sampler: where negatives come from.
        length: events that the user tower reads at most.
        batch_size: windows in a global batch.
        negatives: shared negatives that are drawn for a batch.
        in_batch: whether the batch's targets are negatives as well.
        horizon: baskets after a state whose products it learns to bring; 0 takes all later ones.
        states: states of a window that are drawn in an epoch; 0 takes all.
        basket_power: the n targets of a state weigh n ** -basket_power: 1 counts states alike, 0 counts events.
        recency: how targets lose weight with their age.
        calendar: whose periods the states are in; None without one.
        seed: of the order, the order inside baskets and the negatives.
    """

    def __init__(
        self,
        sequences: Sequences,
        *,
        target_weights: Float,
        sampler: NegativeSampler,
        length: int,
        batch_size: int,
        negatives: int,
        in_batch: bool,
        horizon: int,
        states: int,
        basket_power: float,
        recency: Recency,
        calendar: Calendar | None = None,
        seed: int,
    ) -> None:
        self.sequences, self.target_weights, self.sampler = sequences, target_weights, sampler
        self.length, self.batch_size, self.negatives = length, batch_size, negatives
        self.in_batch = in_batch
        self.horizon, self.states, self.basket_power = horizon, states, basket_power
        self.recency, self.calendar, self.seed = recency, calendar, seed
        self._users = sequences.users()
        fresh = np.ones(len(self._users), dtype=bool)
        fresh[1:] = (np.diff(self._users) != 0) | (np.diff(sequences.timestamps) != 0)
        self._baskets = np.append(np.flatnonzero(fresh), len(fresh))
        self.windows = cut_windows(sequences, self._baskets, target_weights=target_weights, length=length)
        own = self._users[self._baskets[:-1]]
        last = np.searchsorted(own, own, side="right")
        ahead = np.arange(len(own)) + horizon if horizon else last
        self._until = self._baskets[np.minimum(ahead, last)]
        self._epoch: Epoch | None = None

    def plan(self, epoch: int) -> list[Int]:
        """The global batches of an epoch, each int64 [windows, 3]: the window, the epoch and the batch's number."""
        lengths = self.windows[:, 1] - self.windows[:, 0]
        batches = length_batches(lengths, batch_size=self.batch_size, seed=self.seed, epoch=epoch)
        return [
            np.stack([windows, np.full_like(windows, epoch), np.full_like(windows, number)], axis=1)
            for number, windows in enumerate(batches)
        ]

    def collate(self, rows: Int) -> Batch:
        """The arrays of some rows of a batch of `plan`; processes share the drawn negatives."""
        number, epoch = int(rows[0, 2]), self._draw(int(rows[0, 1]))
        order = epoch.order
        windows = self.windows[rows[:, 0]]
        events, inside = padded_events(windows)
        history = np.where(inside, self.sequences.rows[order[events]], PADDING)
        event_types = np.where(inside, self.sequences.event_types[order[events]], 0)
        states, times, target_states, targets, weights = self._targets(windows, width=history.shape[1], epoch=epoch)
        generator = np.random.default_rng([self.seed, epoch.number, number])
        draws, log_expected = self.sampler.draw(generator, count=self.negatives)
        if self.in_batch:
            draws, log_expected = self.sampler.beside(draws, targets=self.sequences.rows[targets] - FIRST)
        pieces = (np.array([PADDING]), history.ravel(), self.sequences.rows[targets], draws + FIRST)
        distinct, places = np.unique(np.concatenate(pieces), return_inverse=True)
        cuts = np.cumsum([1, history.size, len(targets)])
        tensor = torch.from_numpy
        return Batch(
            rows=tensor(distinct),
            history=tensor(places[cuts[0] : cuts[1]].reshape(history.shape)),
            event_types=tensor(event_types),
            times=tensor(np.where(inside, self.sequences.timestamps[order[events]], 0)),
            segments=tensor(self.sequences.segments_of(self._users[windows[:, 0]])),
            states=tensor(states),
            periods=tensor(np.zeros_like(times) if self.calendar is None else self.calendar.periods(times)),
            target_states=tensor(target_states),
            targets=tensor(places[cuts[1] : cuts[2]]),
            weights=tensor(weights),
            negatives=tensor(places[cuts[2] :]),
            log_expected=tensor(log_expected),
        )

    def _draw(self, number: int) -> "Epoch":
        """The draws of one epoch, the same in every process."""
        if self._epoch is None or self._epoch.number != number:
            generator = np.random.default_rng([self.seed, number])
            order = self._order(generator.random(len(self._users)))
            recent = self.recency.weights(self.sequences.timestamps, epoch=number)
            weights = self.target_weights * recent
            self._epoch = Epoch(number, order, weights, generator.random(len(self._baskets) if self.states else 0))
        return self._epoch

    def _order(self, noise: NDArray[np.float64]) -> Int:
        """int64 [events]: the events in their order, by the noise inside each basket."""
        sizes = np.diff(self._baskets)
        shared = np.flatnonzero(np.repeat(sizes > 1, sizes))
        order = np.arange(len(noise))
        baskets = np.repeat(np.arange(len(sizes)), sizes)[shared]
        order[shared] = shared[np.lexsort((noise[shared], baskets))]
        return order

    def _targets(self, windows: Int, *, width: int, epoch: "Epoch") -> tuple[Int, Int, Int, Int, Float]:
        """States (flat places) and the times of what follows them, and for each target its state, event and weight."""
        low = np.searchsorted(self._baskets, windows[:, 0], side="right")
        high = np.searchsorted(self._baskets, windows[:, 1], side="right")
        owners = np.repeat(np.arange(len(windows)), high - low)
        following = ragged(low, high - low)
        if self.states:
            # Places 0, 1, ... of each window's baskets in random order: the first ones are drawn.
            order = np.lexsort((epoch.noise[following], owners))
            drawn = np.sort(order[ragged(np.zeros_like(low), high - low) < self.states])
            owners, following = owners[drawn], following[drawn]
        flat = owners * width + self._baskets[following] - 1 - windows[owners, 0]
        sizes = self._until[following] - self._baskets[following]
        state = np.repeat(np.arange(len(following)), sizes)
        events = ragged(self._baskets[following], sizes)
        weights = epoch.weights[events].astype(np.float64)
        counted = np.bincount(state[weights > 0], minlength=len(following))
        weights = weights * np.maximum(counted, 1.0)[state] ** -self.basket_power
        kept = weights > 0
        used, state = np.unique(state[kept], return_inverse=True)
        times = self.sequences.timestamps[self._baskets[following[used]]]
        return flat[used], times, state, events[kept], weights[kept].astype(np.float32)


@dataclass(frozen=True, slots=True)
class Epoch:
    """What is drawn once for an epoch.

    Attributes:
        number: 0-based.
        order: int64 [events], the events by user and time, anew inside each basket.
        weights: float32 [events], how much each counts as a target.
        noise: float64 [baskets + 1], uniform, by which states are chosen; none where all are taken.
    """

    number: int
    order: Int
    weights: Float
    noise: NDArray[np.float64]


def cut_windows(sequences: Sequences, baskets: Int, *, target_weights: Float, length: int) -> Int:
    """Parts of histories of at most `length` events, each up to a basket behind which something is predicted.

    Args:
        sequences: the events.
        baskets: int64 [baskets + 1], first event of each basket, and the number of events.
        target_weights: float32 [events], 0 where nothing is to be predicted.
        length: events in a window at most.

    Returns:
        int64 [windows, 2], first event and one past the last; windows of one user do not overlap.
    """
    if len(baskets) < 2:
        return np.empty((0, 2), dtype=np.int64)
    ends = baskets[1:]
    wanted = np.add.reduceat(target_weights, baskets[:-1])
    predicts = ends[:-1][~np.isin(ends[:-1], sequences.offsets) & (wanted[1:] > 0)]
    first = sequences.offsets[:-1]
    low = np.searchsorted(predicts, first, side="right")
    place = np.searchsorted(predicts, sequences.offsets[1:]) - 1
    users = np.flatnonzero(place >= low)
    found, owners = [np.empty((0, 2), dtype=np.int64)], [users[:0]]
    while len(users):
        # The latest window of each user that still has one.
        end = predicts[place[users]]
        start = np.maximum(first[users], end - length)
        found.append(np.stack([start, end], axis=1))
        owners.append(users)
        place[users] = np.searchsorted(predicts, start, side="right") - 1
        users = users[place[users] >= low[users]]
    return np.concatenate(found)[np.argsort(np.concatenate(owners), kind="stable")]


def ragged(starts: Int, sizes: Int) -> Int:
    """starts[0], starts[0] + 1, ... for sizes[0] numbers, then those of the next start."""
    return np.arange(int(sizes.sum())) + np.repeat(starts - np.cumsum(sizes) + sizes, sizes)
