"""The blender: contributions add up, files bring the same scores back, and what does not fit is refused."""

import json
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest

from recsys.errors import BundleError
from recsys.ranking.blender import BIAS, SETTINGS, TREES, Blender, BlenderSettings, Linear
from recsys.ranking.signals import COSINE, definitions_digest

NAMES = ("bm25.title", "bm25.all", COSINE, "price.log")
ROWS = 300


def pairs(seed: int = 0) -> np.ndarray:
    matrix = np.random.default_rng(seed).normal(size=(ROWS, len(NAMES))).astype(np.float32)
    matrix[::7, 3] = np.nan
    return matrix


def settings_of(kind: Any, *, names: tuple[str, ...] = NAMES, linear: Linear | None = None) -> BlenderSettings:
    digest = definitions_digest(names)
    return BlenderSettings(kind=kind, signals=names, digest=digest, scale=2.0, linear=linear)


@pytest.fixture(scope="module")
def trees() -> Blender:
    matrix = pairs()
    grades = (matrix[:, 0] + matrix[:, 2] > 0).astype(np.int64) + (np.nan_to_num(matrix[:, 3]) > 1)
    data = lightgbm.Dataset(matrix.astype(np.float64), label=grades, group=[30] * 10, feature_name=list(NAMES))
    parameters = {"objective": "lambdarank", "num_leaves": 7, "verbosity": -1, "num_threads": 1}
    return Blender(settings_of("trees"), lightgbm.train(parameters, data, num_boost_round=20))


@pytest.fixture(scope="module")
def linear() -> Blender:
    line = Linear(weights=(1.0, 0.5, 2.0, -1.0), means=(0.0, 1.0, 0.0, 3.0), deviations=(1.0, 2.0, 0.5, 1.0))
    return Blender(settings_of("linear", linear=line))


@pytest.fixture(params=["trees", "linear"])
def blender(request: pytest.FixtureRequest) -> Blender:
    return request.getfixturevalue(request.param)


def test_a_linear_blender_by_hand(linear: Blender) -> None:
    matrix = np.array([[1.0, 3.0, 0.25, np.nan]], dtype=np.float32)
    np.testing.assert_allclose(linear.contributions(matrix), [[1.0, 0.5, 1.0, 0.0, 0.0]])
    base = {"bm25": np.array([0.5], dtype=np.float32), "dense": np.array([0.25], dtype=np.float32)}
    parts = linear.parts(matrix, base=base)
    assert {name: float(part[0]) for name, part in parts.items()} == {
        "bm25": 2 * 0.5 + 1.5,
        "dense": 2 * 0.25 + 1.0,
        "price": 0.0,
        BIAS: 0.0,
    }


def test_contributions_of_trees_add_up_to_their_score(trees: Blender) -> None:
    matrix = pairs(1)
    found = trees.contributions(matrix)
    np.testing.assert_allclose(found.sum(axis=1), trees.trees.predict(matrix.astype(np.float64)), atol=1e-9)
    assert np.ptp(found[:, -1]) == 0.0
    assert np.abs(found[:, 0]).mean() > np.abs(found[:, 1]).mean()


def test_a_row_does_not_hang_on_its_company(blender: Blender) -> None:
    matrix = pairs(2)
    together = blender.contributions(matrix)
    singles = np.concatenate([blender.contributions(row[None]) for row in matrix[:20]])
    np.testing.assert_array_equal(together[:20], singles)
    order = np.random.default_rng(0).permutation(ROWS)
    np.testing.assert_array_equal(blender.contributions(matrix[order]), together[order])
    assert blender.contributions(matrix[:0]).shape == (0, len(NAMES) + 1)


def test_files_bring_the_same_scores_back(blender: Blender, tmp_path: Path) -> None:
    blender.save(tmp_path)
    again = Blender.load(tmp_path)
    np.testing.assert_array_equal(again.contributions(pairs(3)), blender.contributions(pairs(3)))
    again.save(tmp_path / "again")
    for file in sorted(tmp_path.glob("*.*")):
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_unknown_signals_bring_finite_scores(blender: Blender) -> None:
    nothing = np.full((2, len(NAMES)), np.nan, dtype=np.float32)
    assert np.isfinite(blender.contributions(nothing)).all()


def altered(folder: Path, **fields: Any) -> Path:
    known = json.loads((folder / SETTINGS).read_text())
    (folder / SETTINGS).write_text(json.dumps(known | fields))
    return folder


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"signals": ["bm25.title", "bm25.all", COSINE, "shoe.size"]}, "signals shoe"),
        ({"digest": "0" * 64}, "other definitions"),
        ({"format": 2}, "can't be read"),
        ({"scale": -1.0}, "can't be read"),
        ({"kind": "linear"}, "can't be read"),
        ({"signals": []}, "can't be read"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    trees: Blender, tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    trees.save(tmp_path)
    with pytest.raises(BundleError, match=message):
        Blender.load(altered(tmp_path, **fields))


def test_trees_over_other_columns_are_refused(trees: Blender, tmp_path: Path) -> None:
    trees.save(tmp_path)
    names = NAMES[::-1]
    with pytest.raises(BundleError, match="reads 4 columns"):
        Blender.load(altered(tmp_path, signals=list(names), digest=definitions_digest(names)))


@pytest.mark.parametrize("name", [SETTINGS, TREES])
def test_a_missing_or_broken_file_is_refused(trees: Blender, tmp_path: Path, name: str) -> None:
    trees.save(tmp_path)
    (tmp_path / name).write_text("tree\nnot a model\n")
    with pytest.raises(BundleError, match="can't be read"):
        Blender.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(BundleError, match="can't be read"):
        Blender.load(tmp_path)


def test_trees_take_the_usual_value_for_what_they_never_missed(trees: Blender) -> None:
    usual = (0.5, -0.5, 0.25, None)
    told = Blender(trees.settings.model_copy(update={"usual": usual}), trees.trees)
    matrix = pairs(4)
    np.testing.assert_array_equal(told.contributions(matrix), trees.contributions(matrix))
    unknown, stated = matrix.copy(), matrix.copy()
    unknown[:, :3] = np.nan
    stated[:, :3] = usual[:3]
    np.testing.assert_array_equal(told.contributions(unknown), trees.contributions(stated))
    assert (told.contributions(unknown) != trees.contributions(unknown)).any()


def test_files_from_before_there_were_more_signals_are_still_read(tmp_path: Path) -> None:
    digest = "632523697e0a9cba2bee9dff39b9b5a0c440562fdbb42a3f784c35caea3ca227"
    settings = {"format": 1, "kind": "linear", "signals": ["bm25.title", "price.log"], "digest": digest, "scale": 1.0}
    line = {"weights": [1.0, -1.0], "means": [0.0, 0.0], "deviations": [1.0, 1.0]}
    (tmp_path / SETTINGS).write_text(json.dumps(settings | {"learned_over": {}, "linear": line}))
    matrix = np.array([[0.5, 2.0]], dtype=np.float32)
    np.testing.assert_allclose(Blender.load(tmp_path).contributions(matrix), [[0.5, -2.0, 0.0]])
