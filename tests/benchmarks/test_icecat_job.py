"""The job on icecat: each row's policy, what one makes of lists scored once, names that tell weights apart."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.job import Place
from benchmarks.jobs import icecat as job
from benchmarks.jobs.relevance_crowdflower import FEEDBACK
from benchmarks.report import read
from benchmarks.weights import EVERYTHING, pick, reweighed, title
from recsys.engine.policy import SearchPolicy
from recsys.engine.ranked import Ranked, ordered
from recsys.engine.settling import listen, settle
from recsys.types import Vectors

COUNT = 30
POLICIES = (
    SearchPolicy(),
    SearchPolicy(bm25=1.0, dense=2.0, cross_encoder=4.0, depth=20),
    SearchPolicy(feedback=0.5, depth=12),
)


@pytest.fixture(scope="module")
def scored() -> tuple[Ranked, Vectors]:
    """A list with each part at weight 1, and its products' unit vectors."""
    generator = np.random.default_rng(0)
    parts = {name: generator.uniform(size=COUNT).astype(np.float32) for name in ("bm25", "dense", "cross_encoder")}
    vectors = generator.normal(size=(COUNT, 4)).astype(np.float32)
    ranked = ordered(np.arange(COUNT) * 3, parts, sources=("bm25",) * COUNT)
    return ranked, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_ranks_as_the_engine_would(scored: tuple[Ranked, Vectors], policy: SearchPolicy) -> None:
    row, vectors = scored
    first = {name: np.float32(getattr(policy, name)) * row.parts[name] for name in ("bm25", "dense")}
    place = dict(zip(row.positions.tolist(), range(COUNT), strict=True))
    ranked = ordered(row.positions, first, sources=row.sources)
    top = [place[position] for position in ranked.positions[: policy.depth].tolist()]
    expected = settle(ranked, row.parts["cross_encoder"][top], policy=policy, calibration=None)
    if policy.feedback:
        heard = [place[position] for position in expected.positions[: policy.depth].tolist()]
        expected = listen(expected, vectors[heard], policy=policy)
    found = reweighed(row, vectors, policy=policy)
    np.testing.assert_array_equal(found.positions, expected.positions)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)


def test_the_lightest_is_as_good_as_the_best() -> None:
    heavy, light, bad = (EVERYTHING.model_copy(update={"dense": weight}) for weight in (3.0, 1.0, 0.0))
    worth = {heavy: np.array([0.9, 0.7, 0.8]), light: np.array([0.8, 0.75, 0.82]), bad: np.array([0.1, 0.1, 0.1])}
    assert pick(worth, light=False) == heavy
    assert pick(worth, light=True) == light


def test_each_row_has_its_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default is the engine's own; all others come from the grid of their row, on crowdflower's folds."""

    def weighed(shared: Place, work: Path, *, grid: str, fold: int) -> Any:
        policies = job.GRIDS[grid].policies
        worth = {policy: {name: [float(place), place + 1.0] for name in job.FIGURES} for place, policy in
                 enumerate(policies)}  # fmt: skip
        return worth, {}

    monkeypatch.setattr(job, "weighed", weighed)
    place = Place(tmp_path, tmp_path)
    policies = {name: job.policy_of(name, place, tmp_path) for name in (*job.STAGES, *job.TRAINED)}
    assert policies[job.DEFAULT] == SearchPolicy()
    assert policies[job.HEARD] == SearchPolicy(feedback=max(FEEDBACK))
    assert policies[job.DEEP].depth == policies[job.DEEP_LIGHT].depth == 300
    assert job.GRIDS[job.WEIGHTS_DEEP].depth > 300
    assert (policies[job.FULL].dense, policies[job.FULL].cross_encoder, policies[job.FULL].depth) == (3.0, 4.0, 100)
    assert policies["hybrid"].cross_encoder == 0


def test_what_was_measured_keeps_its_names() -> None:
    stems = [unit.stem for unit in job.UNITS]
    assert len(set(stems)) == len(stems)
    results = read("icecat")
    known = {(unit.variant, unit.fold, unit.seed) for unit in job.UNITS}
    assert {(result["variant"], result["fold"], result["seed"]) for result in results} <= known
    measured = {
        name.removeprefix("ndcg@10, ")
        for result in results
        if result["variant"] == job.WEIGHTS
        for name in result["metrics"]
        if name.startswith("ndcg@10, ")
    }
    assert measured == {title(policy) for policy in job.GRIDS[job.WEIGHTS].policies}
    first, *_ = job.tables(results)
    names = [row[0] for row in first.rows]
    assert "hybrid (BM25 1 : dense 2)" in names
    assert f"{job.LIGHT} (BM25 1 : dense 1 : cross-encoder 1, 20 deep)" in names


def test_the_default_and_the_feedback_say_their_weights() -> None:
    heard = SearchPolicy(feedback=0.5)
    assert job.named(job.DEFAULT, {"config": {"policy": SearchPolicy().model_dump()}}).endswith(
        "(BM25 0.5 : dense 0.5 : cross-encoder 1, 50 deep)"
    )
    assert job.named(job.HEARD, {"config": {"policy": heard.model_dump()}}).endswith(
        "(BM25 0.5 : dense 0.5 : cross-encoder 1, 50 deep, feedback 0.5)"
    )
    assert title(heard) == "BM25 0.5, dense 0.5, cross-encoder 1, depth 50, feedback 0.5"
    assert job.named("dense", {"config": {}}) == "dense"
    metrics = {
        f"{name}, {title(policy)}": 0.5 for policy in job.GRIDS[job.WEIGHTS_HEARD].policies for name in job.FIGURES
    }
    result = {"variant": job.WEIGHTS_HEARD, "fold": 0, "seed": 0, "metrics": metrics, "counts": {"queries": 9}}
    (table,) = job.weights_tables([result])
    assert "feedback" in table.title
    assert len(table.rows) == len(FEEDBACK)
