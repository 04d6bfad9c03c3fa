"""Search over a whole catalogue (icecat): BM25, dense, hybrid, hybrid + cross-encoder.

The cross-encoder has seen homedepot once and all of crowdflower, never a judgment of icecat; the text
encoder is not fine-tuned. The weights of the stages are chosen on crowdflower queries that a cross-encoder trained on
the other folds had not seen (rows "weights on crowdflower"); where those rows are missing, the engine's default stands
unmeasured.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.job import Measured, Place, Result, Table, Unit, mean, of
from benchmarks.jobs.relevance_crowdflower import BEFORE, TUNING, after_homedepot, shop_snapshot
from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import PRODUCT_SEARCH, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.bundle.write import write_bundle
from recsys.engine.build import build_index
from recsys.engine.engine import Engine
from recsys.engine.policy import SearchPolicy
from recsys.engine.ranked import Ranked
from recsys.metrics.intervals import paired_bootstrap
from recsys.text.tokenizer import TextTokenizer
from training.evaluate.baselines import BM25, bm25_baselines
from training.evaluate.measured import ByMetric, means
from training.evaluate.queries import JudgedQuery, Ranking, left_out, read_queries, retrieval_metrics, threshold
from training.relevance.data import read_pairs
from training.relevance.learn import learn

WEIGHTS_SEED = 0
PROTOCOL = "catalogue retrieval, all 65 queries, unjudged as grade 0, ties averaged"
SHOPS = ("icecat", "crowdflower", "homedepot")
SEEDS, FOLDS, CUTS, DEPTH = range(3), range(3), (10,), 1000
STAGES = {"BM25, title twice (the engine's)": "bm25", "dense": "dense", "hybrid": "hybrid"}
FULL, WEIGHTS, BASE = "hybrid + cross-encoder", "weights on crowdflower", "BM25 all text fields"
UNITS = (
    *(Unit(name) for name in BM25),
    *(Unit(name) for name in STAGES),
    *(Unit(WEIGHTS, fold, WEIGHTS_SEED) for fold in FOLDS),
    *(Unit(FULL, seed=seed) for seed in SEEDS),
)
EVERYTHING = SearchPolicy(bm25=1.0, dense=1.0, cross_encoder=1.0, candidates=100, depth=200)
DENSE_WEIGHTS, CROSS_WEIGHTS, DEPTHS = (0.0, 1.0, 2.0, 3.0), (0.0, 0.5, 1.0, 2.0, 4.0), (20, 50, 100)


def measure(unit: Unit, place: Place) -> Measured:
    """One row on icecat, or the weights' figures on one fold of crowdflower."""
    shared = Place(place.data, place.work.parent / "relevance-crowdflower")
    if unit.variant == WEIGHTS:
        return measure_weights(shared, place.work, fold=unit.fold or 0)
    snapshot = shop_snapshot("icecat", place, fold=0)
    queries = read_queries(snapshot, split="all")
    config: dict[str, Any] = {}
    if unit.variant in BM25:
        with bm25_baselines(snapshot.catalogue()) as indexes:
            found = indexes[unit.variant].retrieve([query.query for query in queries], k=DEPTH)
        rankings = [Ranking(row.positions, row.scores) for row in found]
    else:
        bundle = None
        if unit.variant == FULL:
            bundle = trained(snapshot, shared, place.work / f"seed{unit.seed}", seed=unit.seed or 0)
            config = {"homedepot": BEFORE.model_dump(), "crowdflower": TUNING.model_dump()}
        engine = open_engine(snapshot, bundle, place.work / f"index-{unit.stem}", cache=place.work / "vectors")
        config["policy"] = engine.finder.policy.model_dump()
        rankings = [
            Ranking(row.positions, row.scores) for row in run(engine, queries, STAGES.get(unit.variant, "full"))
        ]
    values = retrieval_metrics(queries, rankings, cuts=CUTS, relevant=threshold(snapshot))
    return as_measured(values, counts=left_out(queries), config=config)


def as_measured(values: ByMetric, *, counts: Mapping[str, int], config: Mapping[str, Any]) -> Measured:
    """Means, and each query's number where it counts."""
    return Measured(
        metrics={name: value for name, value in means(values).items() if value is not None},
        counts=counts,
        config=config,
        scores={name: row[~np.isnan(row)].tolist() for name, row in values.items()},
    )


def run(engine: Engine, queries: Sequence[JudgedQuery], stages: str) -> Iterator[Ranked]:
    """The engine's rankings."""
    return engine.finder.run([query.query for query in queries], k=DEPTH, allowed=None, stages=stages)


def open_engine(snapshot: Snapshot, bundle: Bundle | None, folder: Path, *, cache: Path) -> Engine:
    """The engine over a snapshot's catalogue."""
    shop = snapshot.manifest.shop
    build_index(snapshot.catalogue(), search=bundle, recommender=None, folder=folder, shop=shop, cache=cache)
    return Engine.open(folder)


def trained(
    snapshot: Snapshot,
    shared: Place,
    work: Path,
    *,
    seed: int,
    fold: int | None = None,
    policy: SearchPolicy | None = None,
) -> Bundle:
    """A bundle whose cross-encoder has seen homedepot and crowdflower, all of it or without a fold; made once."""
    folder = work / "bundle"
    if (folder / "manifest.json").is_file():
        return Bundle.open(folder)
    start = after_homedepot(shared, seed=seed)
    config = TUNING.model_copy(update={"seed": seed})
    source = shop_snapshot("crowdflower", shared, fold=fold or 0)
    parts = () if fold is None else ("train", "validation")
    pairs = read_pairs(source, *parts, tokenizer=TextTokenizer.load(start), config=config)
    assert pairs is not None  # noqa: S101 - crowdflower has judgments
    learn(pairs, None, config=config, start=start, work=work / "work").save(work / "component")
    info = ComponentInfo(name="cross_encoder", snapshot=source.manifest.snapshot_id, config=config.model_dump())
    return write_bundle(
        folder,
        kind=PRODUCT_SEARCH,
        shop=snapshot.manifest.shop,
        components={"cross_encoder": (work / "component", info)},
        policy=(policy or SearchPolicy()).model_dump(),
        snapshot=source.manifest.snapshot_id,
        config={},
    )


def measure_weights(shared: Place, work: Path, *, fold: int) -> Measured:
    """Both figures of every policy of the grid, on the crowdflower queries of one outer fold."""
    snapshot = shop_snapshot("crowdflower", shared, fold=fold)
    bundle = trained(snapshot, shared, work / f"fold{fold}", seed=WEIGHTS_SEED, fold=fold, policy=EVERYTHING)
    engine = open_engine(snapshot, bundle, work / f"index-fold{fold}", cache=work / "vectors")
    queries = read_queries(snapshot, split="test")
    found = list(run(engine, queries, "full"))
    metrics: dict[str, float] = {}
    for dense, cross, depth in product(DENSE_WEIGHTS, CROSS_WEIGHTS, DEPTHS):
        rankings = [reweighed(row, dense=dense, cross=cross, depth=depth) for row in found]
        values = means(retrieval_metrics(queries, rankings, cuts=CUTS, relevant=threshold(snapshot)))
        for name in ("ndcg@10", "ndcg@10 judged-only"):
            metrics[f"{name}, dense {dense:g}, cross-encoder {cross:g}, depth {depth}"] = values[name] or 0.0
    return Measured(metrics=metrics, counts=left_out(queries), config={"policies tried": len(metrics) // 2})


def reweighed(row: Ranked, *, dense: float, cross: float, depth: int) -> Ranking:
    """What a policy would have said, from the parts of one that scored everything."""
    first = row.parts["bm25"] + np.float32(dense) * row.parts["dense"]
    top = np.lexsort((row.positions, -first))[:depth]
    total = first.copy()
    total[top] += np.float32(cross) * row.parts["cross_encoder"][top]
    order = np.lexsort((row.positions, -total))
    return Ranking(row.positions[order], total[order])


def tables(results: Sequence[Result]) -> list[Table]:
    """The rows on icecat with their gain over BM25 on all text fields, and the best policies on crowdflower."""
    names = ("ndcg@10", "ndcg@10 judged-only")
    rows = []
    for variant in (*BM25, *STAGES, FULL):
        own = of(results, variant)
        if own:
            figures = [mean(own, name) for name in (*names, "unjudged@10", "recall@100")]
            gains = [gain(results, variant, name) if variant != BASE else "-" for name in names]
            rows.append([variant, *figures, *gains])
    columns = ("stages", "NDCG@10", "judged-only", "unjudged in top 10", "recall@100")
    note = (
        "Left out: queries without a positive product (both figures), and with a single grade (judged-only). "
        "A trained row's gain is over each query's mean of its seeds."
    )
    wide = (*columns, "gain over BM25 all fields", "judged-only gain")
    return [Table("Retrieval over 19,406 products", wide, rows, note), *weights_table(results)]


def gain(results: Sequence[Result], variant: str, name: str) -> str:
    """The paired gain over the base, over queries."""
    base = of(results, BASE)
    if not base:
        return "-"
    values = np.mean([result["scores"][name] for result in of(results, variant)], axis=0)
    found = paired_bootstrap(values, base[0]["scores"][name], seed=0)
    return f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def weights_table(results: Sequence[Result]) -> list[Table]:
    """The ten best policies, by the mean of both figures over the folds."""
    own = of(results, WEIGHTS)
    if not own:
        return []
    policies = [name.removeprefix("ndcg@10, ") for name in own[0]["metrics"] if name.startswith("ndcg@10, ")]
    found = []
    for policy in policies:
        both = [
            float(np.mean([result["metrics"][f"{name}, {policy}"] for result in own]))
            for name in ("ndcg@10", "ndcg@10 judged-only")
        ]
        found.append((policy, *both))
    found.sort(key=lambda row: -(row[1] + row[2]))
    rows = [[policy, f"{whole:.4f}", f"{alone:.4f}"] for policy, whole, alone in found[:10]]
    queries = sum(result["counts"]["queries"] for result in own)
    note = f"{len(policies)} policies tried on {queries} unseen queries; BM25's weight is 1 in all. The best ten:"
    return [Table("Weights of the stages, chosen on crowdflower", ("policy", "NDCG@10", "judged-only"), rows, note)]
