"""Calibration error: values by hand, ties, and what chance alone gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.metrics.calibration import bin_starts, brier, ece, reliability, sampling_ece

ROWS = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), st.booleans()), min_size=1, max_size=60)


def test_two_bins_by_hand() -> None:
    """Stated .1 and .3, observed 0 and 1 in the first; .6 and .8, both true, in the second."""
    found = reliability([0.6, 0.1, 0.8, 0.3], [1, 0, 1, 1], bins=2)
    assert found.counts.tolist() == [2, 2]
    assert found.stated.tolist() == pytest.approx([0.2, 0.7])
    assert found.observed.tolist() == pytest.approx([0.5, 1.0])
    assert found.ece == pytest.approx(0.3)
    assert ece([0.6, 0.1, 0.8, 0.3], [1, 0, 1, 1], bins=2) == found.ece


def test_bins_of_unequal_mass_count_by_their_rows() -> None:
    """Three rows in the first bin, two in the second: (3 * |.2 - 1/3| + 2 * |.9 - .5|) / 5."""
    found = reliability([0.1, 0.2, 0.3, 0.8, 1.0], [0, 1, 0, 0, 1], bins=2)
    assert found.counts.tolist() == [3, 2]
    assert found.ece == pytest.approx((3 * (1 / 3 - 0.2) + 2 * 0.4) / 5)


def test_brier_by_hand() -> None:
    assert brier([0.5, 1.0, 0.2], [1, 1, 0]) == pytest.approx((0.25 + 0 + 0.04) / 3)


def test_ties_are_averaged_before_they_are_cut() -> None:
    found = reliability([0.5] * 4, [1, 0, 0, 0], bins=2)
    assert found.observed.tolist() == [0.25, 0.25]


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(rows: list[tuple[float, bool]], random: object) -> None:
    mixed = list(rows)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    one, other = (ece(*zip(*some, strict=True), bins=5) for some in (rows, mixed))
    assert one == pytest.approx(other, abs=1e-12)


@given(ROWS)
def test_it_lies_between_the_overall_gap_and_one(rows: list[tuple[float, bool]]) -> None:
    stated, happened = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    found = ece(stated, happened)
    assert abs(stated.mean() - happened.mean()) - 1e-9 <= found <= 1.0


@given(st.integers(0, 40), st.integers(1, 15))
def test_bins_are_those_of_numpy(rows: int, bins: int) -> None:
    parts = [part for part in np.array_split(np.arange(rows), bins) if len(part)]
    assert bin_starts(rows, bins=bins).tolist() == [part[0] for part in parts]


def test_without_rows_there_is_no_figure() -> None:
    assert np.isnan([ece([], []), brier([], []), *sampling_ece([], seed=0)]).all()
    with pytest.raises(ValueError, match="2 probabilities and 1 outcomes"):
        ece([0.1, 0.2], [1])


def test_sampling_alone_by_enumeration() -> None:
    """One bin of two rows at .5: observed 0, .5 or 1 with 1/4, 1/2, 1/4, so the error is .25 on average."""
    found = sampling_ece([0.5, 0.5], seed=0, bins=1, samples=20_000)
    assert found.mean == pytest.approx(0.25, abs=0.01)
    assert found.high == 0.5


def test_sampling_alone_agrees_with_drawing_row_by_row() -> None:
    generator = np.random.default_rng(1)
    stated = np.round(generator.uniform(size=300), 1)
    slow = [ece(stated, generator.uniform(size=300) < stated) for _ in range(400)]
    found = sampling_ece(stated, seed=0)
    assert found.mean == pytest.approx(np.mean(slow), abs=0.002)
    assert found.high == pytest.approx(np.quantile(slow, 0.95), abs=0.004)
    assert found == sampling_ece(stated[::-1], seed=0)


def test_certain_probabilities_leave_nothing_to_chance() -> None:
    assert sampling_ece([0.0, 1.0, 1.0], seed=0) == (0.0, 0.0)
