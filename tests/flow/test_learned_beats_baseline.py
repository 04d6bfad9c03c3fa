"""Every learned stage beats its baseline on sample shops of three seeds that nothing was developed on.

On each seed its mean is higher; over the three seeds together the paired interval excludes 0. The baselines are those
of the bootstrap rule, BM25 and popularity; the retriever also beats the encoder that it starts from. Search: the test
fold of the queries. Recommendations: what users bought in the last 28 days and never before.
"""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from feature_store.snapshot import build_snapshot
from feature_store.sources.sample.write import write_sample
from recsys.metrics.intervals import paired_bootstrap
from recsys.settings import load_settings
from training import compose, plan
from training.evaluate import run

pytestmark = [pytest.mark.learned, pytest.mark.timeout(7200)]

SEEDS = (101, 202, 303)
METRIC = "ndcg@10"
STOCK = "encoder, not fine-tuned"
COMPARED = (
    ("cross-encoder", "BM25"),
    ("retriever", "BM25"),
    ("retriever", STOCK),
    ("retriever, whole catalogue", "BM25, whole catalogue"),
    ("item-knn", "popularity"),
    ("als", "popularity"),
    ("bpr", "popularity"),
    ("two-tower", "popularity"),
)

Values = NDArray[np.float64]


def measured(seed: int, folder: Path) -> dict[str, Values]:
    """The metric of every system on one sample shop, a value for each query or user."""
    home = folder / "home"
    settings = load_settings(home=home, tracking_uri=f"sqlite:///{home / 'mlflow.db'}")
    shop = write_sample(folder / "shop", seed=seed).folder
    snapshot = build_snapshot(shop, out=folder / "snapshot", settings=settings).path

    def learn(stage: str, base: str | None) -> str:
        # what the validation part chose is learned anew with it only where that is quick
        search = stage in ("relevance", "retriever")
        request = plan.Request(stage, snapshot, settings=(), base=base, start="stock", refit=not search)
        done = compose.train(request, settings=settings)
        assert done is not None
        return str(done["uri"])

    def measure(model: str, task: str) -> dict[str, Values]:
        request = run.Request(model, snapshot, split="test", task=task, stages=None, repeats="excluded", cuts=(10,))
        return {name: found[METRIC] for name, found in run.measure(request, settings=settings)[0].systems.items()}

    model = learn("relevance", "none")
    judged, whole = measure(model, "judged"), measure(model, "retrieval")
    model = learn("retriever", model)
    tuned, tuned_whole = measure(model, "judged"), measure(model, "retrieval")
    model = learn("popularity", "none")
    for stage in ("item-knn", "als", "bpr", "two-tower"):
        model = learn(stage, model)
    return {
        "BM25": judged["BM25 all text fields"],
        STOCK: judged["dense"],
        "cross-encoder": judged["cross-encoder"],
        "retriever": tuned["dense"],
        "BM25, whole catalogue": whole["BM25 all text fields"],
        "retriever, whole catalogue": tuned_whole["dense"],
        **measure(model, "recommend"),
    }


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Values]]:
    return [measured(seed, tmp_path_factory.mktemp(f"seed{seed}")) for seed in SEEDS]


@pytest.mark.parametrize(("learned", "baseline"), COMPARED)
def test_learned_beats_baseline(learned: str, baseline: str, shops: list[dict[str, Values]]) -> None:
    for values in shops:
        assert np.nanmean(values[learned]) > np.nanmean(values[baseline])
    ours, theirs = (np.concatenate([values[name] for values in shops]) for name in (learned, baseline))
    assert paired_bootstrap(ours, theirs, seed=0).above
