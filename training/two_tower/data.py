"""Histories as arrays, and the batches that the two-tower network learns from; numpy and torch only.

Events of one user that share a timestamp form a basket: nothing is known about the order inside, so it is drawn anew
in every epoch. The state behind each basket learns to bring the products of the next one. Where every timestamp
differs this is plain next-event prediction.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys.models.two_tower import FIRST, PADDING

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
    """

    offsets: Int
    rows: Int
    event_types: Int
    timestamps: Int
    weights: Float

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def users(self) -> Int:
        """int64 [events], the user of each event."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's arrays; products are numbered by their place in `rows`.

    Attributes:
        rows: int64 [u], the distinct embedding rows of the step; place 0 is padding.
        history: int64 [batch, length], places in `rows`, padded behind.
        event_types: int64 [batch, length].
        states: int64 [s], flat places in `history` behind which something is predicted.
        target_states: int64 [t], places in `states`.
        targets: int64 [t], places in `rows`.
        weights: float32 [t].
        negatives: int64 [n], places in `rows`.
        log_expected: float32 [n], log of how often the sampler brings the negative in n draws.
    """

    rows: Tensor
    history: Tensor
    event_types: Tensor
    states: Tensor
    target_states: Tensor
    targets: Tensor
    weights: Tensor
    negatives: Tensor
    log_expected: Tensor


class NegativeSampler:
    """Draws shared negatives from a mixture of uniform and popularity.

    Args:
        counts: float [products], how often each product of the vocabulary is a target.
        uniform: share of the uniform part, above 0 to 1.
        power: exponent that flattens popularity, 0 to 1.
    """

    def __init__(self, counts: NDArray[np.float64], *, uniform: float, power: float = 1.0) -> None:
        popular = np.maximum(counts, 0.0) ** power * (counts > 0)
        popular = popular / popular.sum()
        self.probabilities = uniform / len(counts) + (1.0 - uniform) * popular
        self._edges = np.cumsum(self.probabilities)

    def draw(self, generator: np.random.Generator, *, count: int) -> tuple[Int, Float]:
        """`count` draws with replacement.

        Returns:
            int64 [count] products by place in the vocabulary, and float32 [count] log(count x probability), the
            correction that makes the sampled softmax an unbiased estimate of the full normaliser.
            Source: Bengio and Senecal, "Adaptive importance sampling" (2008); Yi et al., "Sampling-bias-corrected
            neural modeling" (RecSys 2019).
        """
        draws = np.searchsorted(self._edges, generator.random(count) * self._edges[-1], side="right")
        draws = np.minimum(draws, len(self._edges) - 1)
        return draws, np.log(count * self.probabilities[draws]).astype(np.float32)


def target_weights(sequences: Sequences, *, repeats: bool, half_life_days: float | None) -> Float:
    """float32 [events], how much each event counts as a target: 0 leaves it out.

    Args:
        sequences: the events.
        repeats: False leaves out products that the user already has.
        half_life_days: an event so much older than the newest counts half; None counts all alike.
    """
    weights = sequences.weights.astype(np.float64)
    if half_life_days is not None and len(weights):
        age = (sequences.timestamps.max() - sequences.timestamps) / MICROSECONDS_A_DAY
        weights = weights * 0.5 ** (age / half_life_days)
    if not repeats:
        pairs = sequences.users() * (int(sequences.rows.max(initial=0)) + 1) + sequences.rows
        first = np.zeros(len(pairs), dtype=bool)
        first[np.unique(pairs, return_index=True)[1]] = True
        weights = weights * first
    return weights.astype(np.float32)


class TrainingBatches:
    """A seeded, repeatable stream of batches; `set_epoch` moves it on.

    Args:
        sequences: the events to learn from.
        target_weights: float32 [events] from the function of that name.
        sampler: where negatives come from.
        length: events that the user tower reads at most.
        batch_size: histories in a batch.
        negatives: shared negatives in a batch.
        basket_power: each basket's targets weigh |basket| ** -basket_power: 1 counts baskets alike, 0 counts events.
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
        basket_power: float,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.sequences, self.target_weights, self.sampler = sequences, target_weights, sampler
        self.length, self.batch_size, self.negatives = length, batch_size, negatives
        self.basket_power, self.seed, self.rank, self.ranks = basket_power, seed, rank, ranks
        self.epoch = 0
        self._users = sequences.users()
        fresh = np.ones(len(self._users), dtype=bool)
        fresh[1:] = (np.diff(self._users) != 0) | (np.diff(sequences.timestamps) != 0)
        self._baskets = np.append(np.flatnonzero(fresh), len(fresh))
        self._windows = self._cut()

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws of one epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self._windows) // (self.batch_size * self.ranks))

    def __iter__(self) -> Iterator[Batch]:
        generator = np.random.default_rng([self.seed, self.epoch])
        order = np.lexsort((generator.random(len(self._users)), self.sequences.timestamps, self._users))
        lengths = self._windows[:, 1] - self._windows[:, 0]
        # Windows of like length share a batch, so that little is padded; the noise mixes neighbours.
        arranged = np.argsort(lengths * (1.0 + 0.1 * generator.random(len(lengths))), kind="stable")
        step = self.batch_size * self.ranks
        for start in generator.permutation(np.arange(0, len(arranged), step)):
            seed = np.random.default_rng([self.seed, self.epoch, int(start), self.rank])
            chosen = np.resize(arranged[start : start + step], step) if self.ranks > 1 else arranged[start : start + step]
            yield self._collate(self._windows[chosen[self.rank :: self.ranks]], order, seed)

    def _cut(self) -> Int:
        """int64 [windows, 2], first and one past the last event; only windows behind which something is predicted."""
        windows = []
        ends = self._baskets[1:]
        targets = np.add.reduceat(self.target_weights, self._baskets[:-1]) if len(ends) else np.empty(0)
        last_of_user = np.isin(ends, self.sequences.offsets[1:])
        predicts = ends[:-1][~last_of_user[:-1] & (targets[1:] > 0)]
        for first, last in zip(self.sequences.offsets[:-1], self.sequences.offsets[1:], strict=True):
            own = predicts[np.searchsorted(predicts, first, side="right") : np.searchsorted(predicts, last)]
            end = own[-1] if len(own) else first
            while end > first:
                start = max(first, end - self.length)
                windows.append((start, end))
                earlier = own[own <= start]
                end = earlier[-1] if len(earlier) else first
        return np.asarray(windows, dtype=np.int64).reshape(-1, 2)

    def _collate(self, windows: Int, order: Int, generator: np.random.Generator) -> Batch:
        lengths = windows[:, 1] - windows[:, 0]
        width = int(lengths.max())
        inside = np.arange(width) < lengths[:, None]
        events = np.where(inside, windows[:, :1] + np.arange(width), 0)
        history = np.where(inside, self.sequences.rows[order[events]], PADDING)
        event_types = np.where(inside, self.sequences.event_types[order[events]], 0)
        states, target_states, targets, weights = self._targets(windows, width)
        draws, log_expected = self.sampler.draw(generator, count=self.negatives)
        pieces = (np.array([PADDING]), history.ravel(), self.sequences.rows[targets], draws + FIRST)
        rows, places = np.unique(np.concatenate(pieces), return_inverse=True)
        cuts = np.cumsum([1, history.size, len(targets)])
        tensor = torch.from_numpy
        return Batch(
            rows=tensor(rows),
            history=tensor(places[cuts[0] : cuts[1]].reshape(history.shape)),
            event_types=tensor(event_types),
            states=tensor(states),
            target_states=tensor(target_states),
            targets=tensor(places[cuts[1] : cuts[2]]),
            weights=tensor(weights),
            negatives=tensor(places[cuts[2] :]),
            log_expected=tensor(log_expected),
        )

    def _targets(self, windows: Int, width: int) -> tuple[Int, Int, Int, Float]:
        """States (flat places), and for each target its state, event and weight."""
        low = np.searchsorted(self._baskets, windows[:, 0], side="right")
        high = np.searchsorted(self._baskets, windows[:, 1], side="right")
        owners = np.repeat(np.arange(len(windows)), high - low)
        ends = np.concatenate([np.arange(a, b) for a, b in zip(low, high, strict=True)])
        flat = owners * width + self._baskets[ends] - 1 - windows[owners, 0]
        sizes = self._baskets[ends + 1] - self._baskets[ends]
        state = np.repeat(np.arange(len(ends)), sizes)
        first = np.repeat(self._baskets[ends], sizes)
        events = first + np.arange(len(state)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        weights = self.target_weights[events]
        counted = np.bincount(state, weights=weights > 0, minlength=len(ends))
        weights = weights * np.maximum(counted, 1.0)[state] ** -self.basket_power
        kept = weights > 0
        used, state = np.unique(state[kept], return_inverse=True)
        return flat[used], state, events[kept], weights[kept].astype(np.float32)
