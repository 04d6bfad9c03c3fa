"""Fitting: the deciding signal is found, directions hold, the same rows give the same blender, the sum may win."""

from pathlib import Path

import numpy as np
import pytest

from recsys.ranking.blender import Blender
from recsys.ranking.signals import SIGNALS
from training.blender.choose import SUM, Choice, blended, choose, cross_fit, fit_choice, fold_numbers, ndcg_of
from training.blender.config import BlenderConfig
from training.blender.fit import directions, fit_linear, fit_scale, gain_shares, log_softmax
from training.blender.rows import Rows

NAMES = ("bm25.title", "numbers.conflicting", "price.log", "rating.mean")
CONFIG = BlenderConfig(query_folds=4, pairs_in_leaf=20, rounds=(10, 40), ridges=(0.01, 0.1))


def make(*, queries: int = 40, each: int = 20, decides: int | None, sign: float = 1.0, seed: int = 0) -> Rows:
    """Pairs of which one signal decides the grade; the sum is noise, or decides where no signal does."""
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(queries * each, len(NAMES))).astype(np.float32)
    noise = generator.normal(size=queries * each).astype(np.float32)
    truth = noise if decides is None else sign * matrix[:, decides]
    matrix[::9, 3] = np.nan
    return Rows(
        texts=tuple(f"query {number}" for number in range(queries)),
        queries=np.repeat(np.arange(queries), each),
        grades=np.clip(np.round(1.5 + 1.5 * truth), 0, 3).astype(np.float64),
        parts={"bm25": noise / 2, "dense": noise / 2},
        names=NAMES,
        matrix=matrix,
    )


@pytest.mark.parametrize("kind", ["linear", "trees"])
@pytest.mark.parametrize(("decides", "sign"), [(0, 1.0), (1, -1.0), (2, -1.0)])
def test_the_signal_that_decides_is_found(kind: str, decides: int, sign: float) -> None:
    rows = make(decides=decides, sign=sign)
    scores, chosen = cross_fit(rows, config=CONFIG.model_copy(update={"kinds": (kind,)}))
    assert {choice.kind for choice in chosen} == {kind}
    assert np.nanmean(ndcg_of(rows, scores)) > 0.9
    assert np.nanmean(ndcg_of(rows, rows.base)) < 0.7


def test_where_only_the_sum_knows_the_sum_stays() -> None:
    rows = make(decides=None)
    choice, tried = choose(rows, config=CONFIG)
    assert choice == Choice(SUM, 0)
    others = [Choice("linear", 0.1), Choice("linear", 0.01), Choice("trees", 10), Choice("trees", 40)]
    assert list(tried) == [choice, *others]
    blender = fit_choice(rows, choice, config=CONFIG)
    order = np.argsort(blended(blender, rows))
    assert (np.diff(rows.base[order]) >= 0).all()
    scores, _ = cross_fit(rows, config=CONFIG)
    assert np.nanmean(ndcg_of(rows, scores)) > 0.97


@pytest.mark.parametrize("kind", ["linear", "trees"])
def test_known_directions_hold(kind: str) -> None:
    """The title's BM25 speaks against a product here; it may then say nothing, but never that."""
    rows = make(decides=0, sign=-1.0)
    amount = 0.01 if kind == "linear" else 40
    held = fit_choice(rows, Choice(kind, amount), config=CONFIG)
    free = fit_choice(rows, Choice(kind, amount), config=CONFIG.model_copy(update={"monotone": False}))
    grid = np.zeros((50, len(NAMES)), dtype=np.float32)
    grid[:, 0] = np.linspace(-3, 3, 50)
    rises = [np.diff(blender.contributions(grid).sum(axis=1)) for blender in (held, free)]
    assert (rises[0] >= -1e-9).all()
    assert rises[1].sum() < -0.1
    assert directions(NAMES, config=CONFIG) == [1, -1, 0, 0]


@pytest.mark.parametrize("choice", [Choice("linear", 0.01), Choice("trees", 40), Choice(SUM, 0)])
def test_the_same_rows_give_the_same_files_and_scores(choice: Choice, tmp_path: Path) -> None:
    rows = make(decides=0)
    for name in ("one", "two"):
        fit_choice(rows, choice, config=CONFIG, learned_over={"cross_encoder": "d"}).save(tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert [(tmp_path / "one" / f).read_bytes() for f in files] == [(tmp_path / "two" / f).read_bytes() for f in files]
    loaded = Blender.load(tmp_path / "one")
    assert loaded.settings.learned_over == {"cross_encoder": "d"}
    fitted = fit_choice(rows, choice, config=CONFIG)
    np.testing.assert_array_equal(blended(loaded, rows), blended(fitted, rows))


def test_the_order_of_the_queries_does_not_matter_to_a_linear_blender() -> None:
    rows = make(decides=0, queries=12)
    order = np.random.default_rng(0).permutation(12)
    places = np.concatenate([np.flatnonzero(rows.queries == number) for number in order])
    shuffled = Rows(
        texts=tuple(rows.texts[number] for number in order),
        queries=rows.queries,
        grades=rows.grades[places],
        parts={name: part[places] for name, part in rows.parts.items()},
        names=rows.names,
        matrix=rows.matrix[places],
    )
    first, second = (fit_linear(one, ridge=0.1, config=CONFIG) for one in (rows, shuffled))
    np.testing.assert_allclose(first[1].weights, second[1].weights, atol=1e-3)
    assert first[0] == pytest.approx(second[0], abs=1e-3)


def test_fractional_grades_and_queries_without_a_positive() -> None:
    rows = make(decides=0)
    grades = np.where(rows.queries == 0, 0.0, rows.grades + 1 / 3 * (rows.grades > 0))
    some = Rows(rows.texts, rows.queries, grades, rows.parts, rows.names, rows.matrix)
    for choice in (Choice("linear", 0.1), Choice("trees", 10)):
        assert np.isfinite(blended(fit_choice(some, choice, config=CONFIG), some)).all()
    assert np.isnan(ndcg_of(some, some.base)[0])


def test_a_signal_without_a_value_decides_nothing() -> None:
    rows = make(decides=0)
    matrix = rows.matrix.copy()
    matrix[:, 2] = np.nan
    matrix[:, 3] = 1.0
    blind = Rows(rows.texts, rows.queries, rows.grades, rows.parts, rows.names, matrix)
    scores, _ = cross_fit(blind, config=CONFIG)
    assert np.nanmean(ndcg_of(blind, scores)) > 0.9


def test_the_softmax_by_hand() -> None:
    rows = make(decides=0, queries=2, each=2)
    some = Rows(rows.texts, rows.queries, np.array([0.0, 1.0, 2.0, 1.0]), rows.parts, rows.names, rows.matrix)
    np.testing.assert_allclose(gain_shares(some), [0, 1, 0.75, 0.25])
    logs = log_softmax(np.array([0.0, np.log(3.0), 1000.0, 1000.0]), queries=some.queries, starts=some.starts)
    np.testing.assert_allclose(np.exp(logs), [0.25, 0.75, 0.5, 0.5])


def test_the_scale_is_what_the_grades_ask_for() -> None:
    """Two products, gains 3 : 1, the sum one apart: the best softmax puts log 3 between them."""
    count = 10
    rows = Rows(
        texts=tuple(map(str, range(count))),
        queries=np.repeat(np.arange(count), 2),
        grades=np.tile([2.0, 1.0], count),
        parts={"bm25": np.tile(np.array([1.0, 0.0], dtype=np.float32), count)},
        names=("price.log",),
        matrix=np.zeros((2 * count, 1), dtype=np.float32),
    )
    assert fit_scale(rows, config=CONFIG) == pytest.approx(np.log(3.0), abs=1e-3)
    assert fit_scale(rows, config=CONFIG.model_copy(update={"from_sum": False})) == 0.0


def test_queries_of_one_spelling_share_a_fold() -> None:
    rows = make(decides=0, queries=8)
    twins = Rows(("Sofa", "sofa ", *rows.texts[2:]), rows.queries, rows.grades, rows.parts, NAMES, rows.matrix)
    folds = fold_numbers(twins, config=CONFIG)
    assert folds[0] == folds[1]
    assert set(folds) == set(range(4))


def test_taking_queries_renumbers_them() -> None:
    rows = make(decides=0, queries=4, each=3)
    some = rows.take(np.array([False, True, False, True]))
    assert some.texts == ("query 1", "query 3")
    assert some.queries.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(some.matrix, rows.matrix[[3, 4, 5, 9, 10, 11]])
    assert set(NAMES) <= set(SIGNALS)
