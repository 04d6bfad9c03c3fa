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

from recsys.models.clock import NEVER
from recsys.models.two_tower_config import FIRST, PADDING
from training.batches import length_batches
from training.two_tower.calendar import Calendar
from training.two_tower.negatives import NegativeSampler
from training.two_tower.sequences import BLOCK, Float, Int, Recency, Sequences, Whole, padded_events
from training.two_tower.windows import basket_starts, cut_windows, place_of, ragged


class Batch(NamedTuple):
    """One step's arrays; products are numbered by their place in `rows`.

    Attributes:
        rows: int64 [u], the distinct embedding rows of the step; place 0 is padding.
        history: int64 [batch, length], places in `rows`, padded behind.
        event_types: int64 [batch, length].
        times: int64 [batch, length], microseconds.
        attributes: int64 [batch, attributes], the users' codes.
        moments: int64 [batch, length], microseconds of what follows each event, NEVER where nothing is predicted.
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
    attributes: Tensor
    moments: Tensor
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
        in_batch: whether the global batch's targets are negatives as well.
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
        self.newest = int(sequences.timestamps.max(initial=0))
        self._baskets = basket_starts(sequences)
        self.windows = cut_windows(sequences, self._baskets, target_weights=target_weights, length=length)
        self._epoch: Epoch | None = None
        self._planned: tuple[int, list[Int]] | None = None

    def plan(self, epoch: int) -> list[Int]:
        """The global batches of an epoch, each int64 [windows, 3]: the window, the epoch and the batch's number."""
        lengths = self.windows[:, 1] - self.windows[:, 0]
        batches = length_batches(lengths, batch_size=self.batch_size, seed=self.seed, epoch=epoch)
        planned = [
            np.stack([windows, np.full_like(windows, epoch), np.full_like(windows, number)], axis=1)
            for number, windows in enumerate(batches)
        ]
        self._planned = (epoch, planned) if self.in_batch else None
        return planned

    def collate(self, rows: Int) -> Batch:
        """The arrays of some rows of a batch of `plan`; processes share the negatives."""
        number, epoch = int(rows[0, 2]), self._draw(int(rows[0, 1]))
        windows = self.windows[rows[:, 0]]
        places, inside = padded_events(windows)
        events = places if epoch.order is None else epoch.order[places]
        history = np.where(inside, self.sequences.rows[events], PADDING).astype(np.int64)
        event_types = np.where(inside, self.sequences.event_types[events], 0).astype(np.int64)
        states, times, target_states, targets, weights = self._targets(windows, width=history.shape[1], epoch=epoch)
        moments = np.full(history.size, NEVER)
        moments[states] = times
        generator = np.random.default_rng([self.seed, epoch.number, number])
        draws, log_expected = self.sampler.draw(generator, count=self.negatives)
        if self.in_batch:
            whole = self._whole(epoch.number, number)
            both = targets if len(whole) == len(rows) else self._targets(self.windows[whole], width=0, epoch=epoch)[3]
            draws, log_expected = self.sampler.beside(draws, targets=self.sequences.rows[both].astype(np.int64) - FIRST)
        pieces = (np.array([PADDING]), history.ravel(), self.sequences.rows[targets], draws + FIRST)
        distinct, places = np.unique(np.concatenate(pieces), return_inverse=True)
        cuts = np.cumsum([1, history.size, len(targets)])
        tensor = torch.from_numpy
        return Batch(
            rows=tensor(distinct),
            history=tensor(places[cuts[0] : cuts[1]].reshape(history.shape)),
            event_types=tensor(event_types),
            times=tensor(np.where(inside, self.sequences.timestamps[events], 0)),
            attributes=tensor(self.sequences.attributes_of(self.sequences.users_at(windows[:, 0]))),
            moments=tensor(moments.reshape(history.shape)),
            states=tensor(states),
            periods=tensor(np.zeros_like(times) if self.calendar is None else self.calendar.periods(times)),
            target_states=tensor(target_states),
            targets=tensor(places[cuts[1] : cuts[2]]),
            weights=tensor(weights),
            negatives=tensor(places[cuts[2] :]),
            log_expected=tensor(log_expected),
        )

    def _whole(self, epoch: int, number: int) -> Int:
        """int64 [windows], those of a global batch, of which a process may have a share alone."""
        planned = self._planned
        batches = self.plan(epoch) if planned is None or planned[0] != epoch else planned[1]
        return batches[number][:, 0]

    def _draw(self, number: int) -> "Epoch":
        """The draws of one epoch, the same in every process."""
        if self._epoch is None or self._epoch.number != number:
            generator = np.random.default_rng([self.seed, number])
            order = self._order(generator)
            self._epoch = Epoch(number, order, generator.random(len(self._baskets) if self.states else 0))
        return self._epoch

    def _order(self, generator: np.random.Generator) -> Whole | None:
        """[events], the events in their order, anew inside each basket; None where no basket has several.

        One number is drawn for every event, in blocks, so that memory does not grow with the events.
        """
        order, first = None, 0
        while first < len(self._baskets) - 1:
            begin = int(self._baskets[first])
            last = int(place_of(self._baskets, np.array([begin + BLOCK]), side="right")[0]) - 1
            last = max(last, first + 1)
            noise = generator.random(int(self._baskets[last]) - begin)
            sizes = np.diff(self._baskets[first : last + 1])
            shared = np.flatnonzero(np.repeat(sizes > 1, sizes))
            if len(shared):
                order = np.arange(self._baskets[-1], dtype=self._baskets.dtype) if order is None else order
                baskets = np.repeat(np.arange(len(sizes)), sizes)[shared]
                order[begin + shared] = begin + shared[np.lexsort((noise[shared], baskets))]
            first = last
        return order

    def _targets(self, windows: Int, *, width: int, epoch: "Epoch") -> tuple[Int, Int, Int, Int, Float]:
        """States (flat places) and the times of what follows them, and for each target its state, event and weight."""
        low = place_of(self._baskets, windows[:, 0], side="right")
        high = place_of(self._baskets, windows[:, 1], side="right")
        last = place_of(self._baskets, self.sequences.offsets[self.sequences.users_at(windows[:, 0]) + 1], side="left")
        owners = np.repeat(np.arange(len(windows)), high - low)
        following = ragged(low, high - low)
        if self.states:
            # Places 0, 1, ... of each window's baskets in random order: the first ones are drawn.
            order = np.lexsort((epoch.noise[following], owners))
            drawn = np.sort(order[ragged(np.zeros_like(low), high - low) < self.states])
            owners, following = owners[drawn], following[drawn]
        begins = self._baskets[following].astype(np.int64)
        flat = owners * width + begins - 1 - windows[owners, 0]
        until = np.minimum(following + self.horizon, last[owners]) if self.horizon else last[owners]
        sizes = self._baskets[until] - begins
        state = np.repeat(np.arange(len(following)), sizes)
        events = ragged(begins, sizes)
        recent = self.recency.weights(self.sequences.timestamps[events], epoch=epoch.number, newest=self.newest)
        weights = (self.target_weights[events] * recent).astype(np.float64)
        counted = np.bincount(state[weights > 0], minlength=len(following))
        weights = weights * np.maximum(counted, 1.0)[state] ** -self.basket_power
        kept = weights > 0
        used, state = np.unique(state[kept], return_inverse=True)
        times = self.sequences.timestamps[begins[used]]
        return flat[used], times, state, events[kept], weights[kept].astype(np.float32)


@dataclass(frozen=True, slots=True)
class Epoch:
    """What is drawn once for an epoch.

    Attributes:
        number: 0-based.
        order: [events], the events by user and time, anew inside each basket; None as they stand.
        noise: float64 [baskets + 1], uniform, by which states are chosen; none where all are taken.
    """

    number: int
    order: Whole | None
    noise: NDArray[np.float64]
