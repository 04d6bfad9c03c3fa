"""Kappa equals scikit-learn's; fitted cut-points agree at least as well as any tried by brute force."""

import math
from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from recsys.metrics.agreement import fit_cuts, quadratic_kappa, to_grades

grade_pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40)


@given(pairs=grade_pairs.filter(lambda pairs: len({grade for pair in pairs for grade in pair}) > 1))
@settings(max_examples=100, deadline=None)
def test_kappa_equals_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    a, b = np.array(pairs).T
    expected = cohen_kappa_score(a, b, weights="quadratic", labels=[0, 1, 2, 3])
    assert quadratic_kappa(a, b) == pytest.approx(expected, abs=1e-9)


def test_weights_count_a_pair_as_often_as_they_say() -> None:
    a, b = [0, 1, 2, 3], [0, 2, 2, 1]
    twice = quadratic_kappa([*a, 1], [*b, 2])
    assert quadratic_kappa(a, b, weights=[1, 2, 1, 1]) == pytest.approx(twice)


def test_one_same_grade_throughout_has_no_kappa() -> None:
    assert math.isnan(quadratic_kappa([2, 2], [2, 2]))


@pytest.mark.parametrize(("a", "b"), [([], []), ([1], [1, 2])])
def test_what_can_not_be_compared_is_refused(a: list[int], b: list[int]) -> None:
    with pytest.raises(ValueError, match="grades of shapes"):
        quadratic_kappa(a, b)


def test_cut_points_part_clean_scores() -> None:
    scores = np.array([0.1, 0.2, 0.5, 0.55, 0.9, 0.95])
    grades = np.array([0, 0, 1, 1, 2, 2])
    assert to_grades(scores, cuts=fit_cuts(scores, grades)).tolist() == grades.tolist()
    assert len(fit_cuts([0.3, 0.4], [0, 0])) == 0


@given(seed=st.integers(0, 200))
@settings(max_examples=15, deadline=None)
def test_cut_points_come_close_to_the_best_of_all(seed: int) -> None:
    generator = np.random.default_rng(seed)
    grades = generator.integers(0, 3, size=14)
    scores = grades + generator.normal(size=14)
    best = max(
        quadratic_kappa(to_grades(scores, cuts=cuts), grades)
        for cuts in combinations_with_replacement([*np.sort(scores), np.inf], 2)
    )
    found = fit_cuts(scores, grades)
    assert list(found) == sorted(found)
    assert quadratic_kappa(to_grades(scores, cuts=found), grades) >= best - 0.12
