import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from feature_store.sources.sample import draws

KEYS = np.arange(40_000)


@given(seed=st.integers(0, 2**63), first=st.integers(0, 2**40), cut=st.integers(0, 50))
def test_a_number_depends_on_its_address_alone(seed: int, first: int, cut: int) -> None:
    keys = np.arange(first, first + 50)
    whole = draws.uniform(keys, seed=seed, stream="any")
    parts = [draws.uniform(part, seed=seed, stream="any") for part in (keys[:cut], keys[cut:])]
    assert (np.concatenate(parts) == whole).all()
    assert ((whole >= 0.0) & (whole < 1.0)).all()


def test_uniform_numbers_are_spread_evenly() -> None:
    counts = np.bincount((draws.uniform(KEYS, seed=1, stream="even") * 100).astype(int), minlength=100)
    # chi-square with 99 degrees of freedom: mean 99, standard deviation 14
    assert ((counts - 400.0) ** 2 / 400.0).sum() < 99 + 5 * 14


def test_streams_seeds_and_neighbours_do_not_go_together() -> None:
    one = draws.uniform(KEYS, seed=1, stream="one")
    others = (
        draws.uniform(KEYS, seed=1, stream="two"),
        draws.uniform(KEYS, seed=2, stream="one"),
        draws.uniform(KEYS + 1, seed=1, stream="one"),
    )
    for other in others:
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(len(KEYS))


def test_normal_numbers_have_mean_0_and_spread_1() -> None:
    values = draws.normal(KEYS, seed=3, stream="bell")
    assert abs(values.mean()) < 5 / np.sqrt(len(KEYS))
    assert abs(values.std() - 1.0) < 0.02
    assert np.abs(values).max() <= 2 * np.sqrt(3.0)


def test_pick_follows_its_weights_and_never_takes_what_weighs_nothing() -> None:
    weights = np.tile([1.0, 0.0, 3.0, 0.0], (len(KEYS), 1))
    counts = np.bincount(draws.pick(weights, KEYS, seed=4, stream="pick"), minlength=4) / len(KEYS)
    assert counts[1] == counts[3] == 0.0
    assert abs(counts[0] - 0.25) < 5 * np.sqrt(0.25 * 0.75 / len(KEYS))


def test_whole_numbers_stay_below_their_bound() -> None:
    values = draws.whole(KEYS, below=7, seed=5, stream="whole")
    assert set(values.tolist()) == set(range(7))
    bounds = np.array([1, 2, 3])
    assert (draws.whole(np.arange(3), below=bounds, seed=5, stream="whole") < bounds).all()
