"""Batches: nothing twice, nothing lost but a rest, the same for everyone who asks, equally many for every process."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import batches as module
from training.batches import FILLING, Loader, length_batches, query_batches, scoring_batches, shuffled_batches

SIZES = st.integers(1, 40)
ROWS = st.integers(0, 200)


@given(rows=ROWS, size=SIZES, seed=st.integers(0, 9), epoch=st.integers(0, 9), by_length=st.booleans())
def test_every_batch_is_full_and_no_row_stands_twice(
    rows: int, size: int, seed: int, epoch: int, by_length: bool
) -> None:
    lengths = np.random.default_rng(seed).integers(1, 50, rows)
    if by_length:
        found = length_batches(lengths, batch_size=size, seed=seed, epoch=epoch)
    else:
        found = shuffled_batches(rows, batch_size=size, seed=seed, epoch=epoch)
    assert {len(batch) for batch in found} <= {min(size, rows)}
    used = np.concatenate(found) if found else np.empty(0)
    assert len(used) == len(np.unique(used)) == (rows - rows % min(size, rows) if rows else 0)


def test_an_epoch_has_its_own_order_and_a_seed_repeats_it() -> None:
    lengths = np.arange(100)
    first, again, other = (length_batches(lengths, batch_size=8, seed=1, epoch=epoch) for epoch in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_rows_of_like_length_stand_together() -> None:
    """The padding of an epoch shrinks to a small part of what a random order would need."""
    lengths = np.random.default_rng(0).integers(5, 100, 5000)

    def padding(found: list[np.ndarray]) -> int:
        return sum(int((lengths[batch].max() - lengths[batch]).sum()) for batch in found)

    sorted_ones = padding(length_batches(lengths, batch_size=32, seed=0, epoch=0))
    assert sorted_ones < 0.1 * padding(shuffled_batches(5000, batch_size=32, seed=0, epoch=0))


@given(rows=ROWS, size=st.integers(1, 10), processes=st.integers(1, 4))
def test_scoring_covers_every_row_with_equal_shares(rows: int, size: int, processes: int) -> None:
    lengths = np.random.default_rng(rows).integers(1, 50, rows)
    found = scoring_batches(lengths, batch_size=size * processes, processes=processes)
    assert set(range(rows)) == {int(row) for batch in found for row in batch}
    assert all(len(batch) % processes == 0 for batch in found)
    assert sum(map(len, found)) - rows < processes


@given(processes=st.integers(1, 4), rows=st.integers(4, 60), size=st.integers(1, 5))
def test_processes_share_each_global_batch(processes: int, rows: int, size: int) -> None:
    """All get equally many batches, and their shares together are the batch of one process."""

    def plan(epoch: int) -> list[np.ndarray]:
        return shuffled_batches(rows, batch_size=size * processes, seed=0, epoch=epoch)

    alone = list(Loader(plan, lambda batch: batch))
    with pytest.MonkeyPatch.context() as patch:
        shares = []
        for rank in range(processes):
            patch.setattr(module, "place", lambda rank=rank: (rank, processes))
            shares.append(list(Loader(plan, lambda batch: batch)))
    assert {len(share) for share in shares} == {len(alone)}
    for number, batch in enumerate(alone):
        assert sorted(np.concatenate([share[number] for share in shares])) == sorted(batch)


@given(stop=st.integers(0, 14))
def test_a_loader_goes_on_where_another_stood(stop: int) -> None:
    def plan(epoch: int) -> list[np.ndarray]:
        return shuffled_batches(25, batch_size=5, seed=2, epoch=epoch)

    def stream(loader: Loader) -> list[list[int]]:
        return [list(batch) for _ in range(3 - loader.epoch) for batch in loader]

    whole = stream(Loader(plan, lambda batch: batch))
    first, second = Loader(plan, lambda batch: batch), Loader(plan, lambda batch: batch)
    seen = []
    while len(seen) < stop:
        for batch in first:
            seen.append(list(batch))
            if len(seen) == stop:
                break
    second.load_state_dict(first.state_dict())
    assert seen + stream(second) == whole
    assert len(second) == 5


@given(
    sizes=st.lists(st.integers(1, 30), max_size=25),
    share=st.integers(1, 5),
    processes=st.integers(1, 3),
    seed=st.integers(0, 9),
)
def test_queries_stay_whole_and_no_row_is_lost(sizes: list[int], share: int, processes: int, seed: int) -> None:
    """Only a query longer than a batch is cut, into as few pieces as fit; every process gets equally many rows."""
    queries = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    size = share * processes
    epochs = [query_batches(queries, batch_size=size, seed=seed, epoch=epoch, processes=processes) for epoch in (0, 1)]
    assert [len(batch) for batch in sorted(epochs[0], key=len)] == [len(batch) for batch in sorted(epochs[1], key=len)]
    for found in epochs:
        assert all(0 < len(batch) <= size and len(batch) % processes == 0 for batch in found)
        rows = [row for batch in found for row in batch if row != FILLING]
        assert sorted(rows) == list(range(len(queries)))
        assert sum(map(len, found)) - len(rows) <= (processes - 1) * len(found)
        for query, length in enumerate(sizes):
            assert sum(query in queries[batch[batch != FILLING]] for batch in found) <= -(-length // size)


def test_batches_of_queries_are_drawn_anew_in_each_epoch() -> None:
    queries = np.repeat(np.arange(30), 4)
    first, again, other, seeded = (
        [sorted(batch) for batch in query_batches(queries, batch_size=12, seed=seed, epoch=epoch)]
        for seed, epoch in ((1, 0), (1, 0), (1, 1), (2, 0))
    )
    assert first == again
    assert sorted(first) != sorted(other)
    assert sorted(first) != sorted(seeded)
    assert {len(batch) for batch in first} == {12}


def test_a_query_longer_than_a_batch_is_cut_elsewhere_in_each_epoch() -> None:
    queries = np.zeros(10, dtype=np.int64)
    first, other = (query_batches(queries, batch_size=4, seed=0, epoch=epoch) for epoch in (0, 1))
    assert sorted(map(len, first)) == [3, 3, 4]
    assert sorted(map(sorted, first)) != sorted(map(sorted, other))


def test_batches_are_even_and_few() -> None:
    """Sizes of a real shop's kind: the batches are nearly full, none holds a small rest."""
    sizes = np.random.default_rng(0).poisson(5.3, 1000) + 1
    found = [len(batch) for batch in query_batches(np.repeat(np.arange(1000), sizes), batch_size=64, seed=0, epoch=0)]
    assert len(found) <= 1.05 * sizes.sum() / 64
    assert max(found) - min(found) <= 2
