"""Windows, states, targets and negatives against plain loops."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys.models.two_tower_config import FIRST, PADDING
from training.batches import Loader
from training.two_tower.config import TwoTowerSettings
from training.two_tower.data import TrainingBatches
from training.two_tower.learn import new_network
from training.two_tower.module import TwoTowerModule
from training.two_tower.negatives import NegativeSampler
from training.two_tower.products import Products
from training.two_tower.sequences import MICROSECONDS_A_DAY, Recency, Sequences, target_weights
from training.two_tower.trials import Trials
from training.two_tower.windows import cut_windows

PRODUCTS = 15


def sequences(users: int = 20, seed: int = 0) -> Sequences:
    """Histories of 1 to 11 events in baskets of several."""
    generator = np.random.default_rng(seed)
    sizes = generator.integers(1, 12, users)
    events = int(sizes.sum())
    return Sequences(
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        rows=generator.integers(0, PRODUCTS, events) + FIRST,
        event_types=np.full(events, 6),
        timestamps=np.concatenate([np.sort(generator.integers(0, 5, size)) for size in sizes]) * MICROSECONDS_A_DAY,
        weights=np.ones(events, dtype=np.float32),
    )


def batches(own: Sequences, *, repeats: bool = True, **changes: object) -> TrainingBatches:
    settings: dict[str, object] = {
        "target_weights": target_weights(own, repeats=repeats),
        "sampler": NegativeSampler(np.bincount(own.rows - FIRST, minlength=PRODUCTS).astype(float), uniform=0.5),
        "length": 50,
        "batch_size": 1000,
        "negatives": 7,
        "in_batch": False,
        "horizon": 1,
        "states": 0,
        "basket_power": 0.0,
        "recency": Recency(0.0, 0.0, epochs=1),
        "seed": 0,
    }
    return TrainingBatches(own, **(settings | changes))  # type: ignore[arg-type]


def pairs(made: TrainingBatches, epoch: int = 0) -> list[tuple[int, int, float]]:
    """(event behind which something is predicted, row of the target, weight) of all batches of an epoch."""
    found = []
    for rows in made.plan(epoch):
        batch, windows = made.collate(rows), made.windows[rows[:, 0]]
        width = batch.history.shape[1]
        for target, state, weight in zip(batch.targets, batch.target_states, batch.weights, strict=True):
            window, place = divmod(int(batch.states[state]), width)
            found.append((int(windows[window, 0]) + place, int(batch.rows[target]), float(weight)))
    return sorted(found)


def plain_pairs(own: Sequences, *, horizon: int, repeats: bool) -> list[tuple[int, int, float]]:
    """The same by its definition."""
    weights = target_weights(own, repeats=repeats)
    found = []
    for first, last in zip(own.offsets[:-1], own.offsets[1:], strict=True):
        for event in range(first, last - 1):
            if own.timestamps[event + 1] == own.timestamps[event]:
                continue
            later = sorted(set(own.timestamps[event + 1 : last].tolist()))
            until = later[min(horizon, len(later)) - 1] if horizon else later[-1]
            found += [
                (int(event), int(own.rows[target]), 1.0)
                for target in range(event + 1, last)
                if own.timestamps[target] <= until and weights[target] > 0
            ]
    return sorted(found)


@pytest.mark.parametrize("horizon", [0, 1, 2])
@pytest.mark.parametrize("repeats", [True, False])
def test_states_and_targets_are_those_of_the_definition(horizon: int, repeats: bool) -> None:
    own = sequences()
    made = batches(own, horizon=horizon, repeats=repeats)
    wanted = plain_pairs(own, horizon=horizon, repeats=repeats)
    inside = [pair for pair in wanted if any(a <= pair[0] < b for a, b in made.windows)]
    assert pairs(made) == inside
    if horizon == 1:
        assert inside == wanted


def test_without_baskets_it_is_next_event_prediction() -> None:
    own = Sequences(
        offsets=np.array([0, 4]),
        rows=np.array([5, 6, 7, 8]),
        event_types=np.full(4, 6),
        timestamps=np.arange(4),
        weights=np.ones(4, dtype=np.float32),
    )
    assert pairs(batches(own)) == [(0, 6, 1.0), (1, 7, 1.0), (2, 8, 1.0)]


def test_windows_are_short_and_lose_no_state() -> None:
    own = sequences(users=50)
    long, short = batches(own), batches(own, length=3)
    assert (short.windows[:, 1] - short.windows[:, 0]).max() == 3
    assert {event for event, _, _ in pairs(short)} <= {event for event, _, _ in pairs(long)}
    starts = short.windows[np.argsort(short.windows[:, 0])]
    assert (starts[1:, 0] >= starts[:-1, 1]).all()


@given(seed=st.integers(0, 10_000), users=st.integers(1, 12), length=st.integers(1, 9), learned=st.floats(0.1, 1.0))
def test_windows_are_those_of_the_loop_over_users(seed: int, users: int, length: int, learned: float) -> None:
    own = sequences(users=users, seed=seed)
    weights = (np.random.default_rng(seed).random(len(own.rows)) < learned).astype(np.float32)
    who = own.users()
    baskets = np.flatnonzero(np.append([True], (np.diff(who) != 0) | (np.diff(own.timestamps) != 0)))
    ends = np.append(baskets[1:], len(who))
    plain = []
    for first, last in zip(own.offsets[:-1].tolist(), own.offsets[1:].tolist(), strict=True):
        spans = [(a, b) for a, b in zip(baskets.tolist(), ends.tolist(), strict=True) if first < a < last]
        predicts = [a for a, b in spans if weights[a:b].sum() > 0]
        while predicts:
            start = max(first, predicts[-1] - length)
            plain.append([start, predicts[-1]])
            predicts = [state for state in predicts if state <= start]
    found = cut_windows(own, np.append(baskets, len(who)), target_weights=weights, length=length)
    assert found.tolist() == plain
    assert found.dtype == np.int64


def test_an_epochs_order_is_that_of_sorting_by_user_time_and_chance() -> None:
    own = sequences()
    made = batches(own)
    noise = np.random.default_rng(0).random(len(own.rows))
    assert made._order(np.random.default_rng(0)).tolist() == np.lexsort((noise, own.timestamps, own.users())).tolist()


def test_the_order_inside_a_basket_is_new_in_every_epoch_and_the_baskets_stay() -> None:
    own = sequences()
    made = batches(own)

    def read(epoch: int) -> list[list[int]]:
        rows = np.sort(np.concatenate(made.plan(epoch)), axis=0)
        batch = made.collate(rows)
        return [batch.rows[line].tolist() for line in batch.history]

    first, second = read(0), read(1)
    assert first != second
    assert read(0) == first
    for one, other in zip(first, second, strict=True):
        assert sorted(one) == sorted(other)
    for line, (start, end) in zip(first, made.windows, strict=True):
        places = np.flatnonzero(np.diff(own.timestamps[start:end])) + 1
        drawn = np.split(np.array(line[: end - start]), places)
        kept = np.split(own.rows[start:end], places)
        assert [sorted(part) for part in drawn] == [sorted(part) for part in kept]
        assert set(line[end - start :]) <= {PADDING}


def test_drawn_states_are_few_and_differ_from_epoch_to_epoch() -> None:
    own = sequences(users=50)
    made = batches(own, states=1, horizon=0)
    drawn = [{event for event, _, _ in pairs(made, epoch)} for epoch in range(60)]
    assert all(len(states) <= len(made.windows) for states in drawn)
    assert set.union(*drawn) == {event for event, _, _ in pairs(batches(own, horizon=0))}


def test_basket_power_1_counts_states_alike() -> None:
    own = sequences()
    found = pairs(batches(own, basket_power=1.0))
    total: dict[int, float] = {}
    for event, _, weight in found:
        total[event] = total.get(event, 0.0) + weight
    assert total == pytest.approx(dict.fromkeys(total, 1.0))


def views_carts_and_purchases() -> Sequences:
    """A view of product 5, a cart addition of 6, then 5 is bought; the shop weighs them 1, 3 and 5."""
    return Sequences(
        offsets=np.array([0, 1, 5]),
        rows=np.array([5, 7, 5, 6, 5]),
        event_types=np.array([6, 1, 1, 4, 6]),
        timestamps=np.array([0, 0, 1, 2, 3]),
        weights=np.array([5, 1, 1, 3, 5], dtype=np.float32),
    )


def test_an_event_counts_as_the_shop_weighs_its_type() -> None:
    own = views_carts_and_purchases()
    assert pairs(batches(own)) == [(1, 5, 1.0), (2, 6, 3.0), (3, 5, 5.0)]
    assert pairs(batches(own, repeats=False)) == [(1, 5, 1.0), (2, 6, 3.0)]
    strongest = target_weights(own, repeats=False, strongest=True)
    assert strongest.tolist() == [5, 1, 5, 3, 0]
    assert pairs(batches(own, target_weights=strongest)) == [(1, 5, 5.0), (2, 6, 3.0)]


def test_the_order_of_users_does_not_matter() -> None:
    own = sequences()
    cuts = [slice(a, b) for a, b in zip(own.offsets[:-1], own.offsets[1:], strict=True)][::-1]
    turned = Sequences(
        offsets=np.concatenate([[0], np.cumsum([cut.stop - cut.start for cut in cuts])]),
        rows=np.concatenate([own.rows[cut] for cut in cuts]),
        event_types=own.event_types,
        timestamps=np.concatenate([own.timestamps[cut] for cut in cuts]),
        weights=own.weights,
    )
    assert sorted(row for _, row, _ in pairs(batches(own))) == sorted(row for _, row, _ in pairs(batches(turned)))


def test_recency_halves_and_shortens() -> None:
    recency = Recency(40.0, 10.0, epochs=3)
    timestamps = np.array([0, 20, 40]) * MICROSECONDS_A_DAY
    np.testing.assert_allclose(recency.weights(timestamps, epoch=0), [0.5, 0.5**0.5, 1.0], rtol=1e-6)
    np.testing.assert_allclose(recency.weights(timestamps, epoch=1), [0.25, 0.5, 1.0], rtol=1e-6)
    np.testing.assert_allclose(recency.weights(timestamps, epoch=2), [0.5**4, 0.25, 1.0], rtol=1e-6)
    assert (Recency(0.0, 0.0, epochs=3).weights(timestamps, epoch=2) == 1.0).all()


def test_negatives_follow_the_stated_probabilities() -> None:
    sampler = NegativeSampler(np.array([0.0, 1.0, 4.0]), uniform=0.3, power=0.5)
    np.testing.assert_allclose(sampler.probabilities, [0.1, 0.1 + 0.7 / 3, 0.1 + 1.4 / 3])
    draws, log_expected = sampler.draw(np.random.default_rng(0), count=60_000)
    np.testing.assert_allclose(np.bincount(draws) / 60_000, sampler.probabilities, atol=0.01)
    np.testing.assert_allclose(np.exp(log_expected), 60_000 * sampler.probabilities[draws], rtol=1e-5)


@pytest.mark.parametrize("in_batch", [False, True])
def test_processes_share_a_batch_without_overlap(monkeypatch: pytest.MonkeyPatch, in_batch: bool) -> None:
    """Every process has the negatives of the whole batch, the targets of the others among them."""
    made = batches(sequences(), batch_size=6, in_batch=in_batch, states=2)
    whole = [
        (batch.history.shape[0], batch.rows[batch.negatives].tolist(), batch.log_expected.tolist())
        for batch in Loader(made.plan, made.collate)
    ]
    parts = []
    for rank in range(2):
        monkeypatch.setattr("training.batches.place", lambda rank=rank: (rank, 2))
        parts.append(list(Loader(made.plan, made.collate)))
    for (size, negatives, log_expected), first, second in zip(whole, *parts, strict=True):
        assert first.history.shape[0] + second.history.shape[0] == size
        assert first.rows[first.negatives].tolist() == second.rows[second.negatives].tolist() == negatives
        assert first.log_expected.tolist() == second.log_expected.tolist() == log_expected
        assert len(negatives) > len(first.targets) + len(second.targets) or not in_batch


@pytest.mark.parametrize("in_batch", [False, True])
def test_the_mean_of_the_processes_is_the_loss_of_the_whole_batch(
    monkeypatch: pytest.MonkeyPatch, in_batch: bool
) -> None:
    config = TwoTowerSettings(width=8, heads=1, blocks=1, length=50, dropout=0.0, id_dropout=0.0, text=False)
    torch.manual_seed(0)
    module = TwoTowerModule(new_network(Products(PRODUCTS), config=config), config=config, steps=1)
    made = batches(sequences(), batch_size=6, in_batch=in_batch)
    rows = made.plan(0)[0]
    whole = made.collate(rows)
    parts = [made.collate(rows[rank::2]) for rank in range(2)]
    mean = sum(float(part.weights.sum()) for part in parts) / 2
    found = []
    for batch, weight in ((whole, float(whole.weights.sum())), *((part, mean) for part in parts)):
        monkeypatch.setattr("training.two_tower.module.mean_over_processes", lambda _, weight=weight: weight)
        module.zero_grad()
        loss = module.training_step(batch, 0)
        loss.backward()
        gradient = module.network.products.identity.weight.grad
        assert gradient is not None
        found.append((loss.item(), gradient.clone()))
    (loss, gradient), *shares = found
    assert np.mean([share for share, _ in shares]) == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(sum(share for _, share in shares) / 2, gradient, rtol=1e-4, atol=1e-6)


def test_trials_read_the_latest_events() -> None:
    own = sequences()
    trials = Trials(own, [np.array([3])] * 20, [np.array([4, 5])] * 20, length=2)
    trial = trials.collate(np.array([0, 7]))
    for line, user in enumerate((0, 7)):
        latest = own.rows[own.offsets[user] : own.offsets[user + 1]][-2:]
        assert trial.history[line, : len(latest)].tolist() == latest.tolist()
        assert trial.lengths[line] == len(latest)
    assert trial.relevant.tolist() == [[4, 5], [4, 5]]


def test_the_steps_own_targets_stand_behind_the_draws_with_the_count_that_both_bring() -> None:
    own = sequences()
    alone, beside = (batches(own, in_batch=in_batch) for in_batch in (False, True))
    rows = alone.plan(0)[0]
    drawn, both = alone.collate(rows), beside.collate(rows)
    assert both.rows[both.negatives].tolist() == [
        *drawn.rows[drawn.negatives].tolist(),
        *both.rows[both.targets].tolist(),
    ]
    shares = np.bincount(own.rows - FIRST, minlength=PRODUCTS) / len(own.rows)
    places = both.rows[both.negatives].numpy() - FIRST
    expected = 7 * (0.5 / PRODUCTS + 0.5 * shares) + len(both.targets) * shares
    np.testing.assert_allclose(np.exp(both.log_expected.numpy()), expected[places], rtol=1e-5)
