"""Search over a whole catalogue (icecat): BM25, dense, hybrid, hybrid + cross-encoder.

The cross-encoder has seen homedepot once and all of crowdflower, never a judgment of icecat; the text encoder is not
fine-tuned. The weights of the stages are chosen on crowdflower queries that a cross-encoder trained on the other folds
had not seen (rows "weights on crowdflower"): the best by the mean of both figures, and the lightest that is within one
standard error of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.job import Measured, Place, Result, Table, Unit, mean, of, span
from benchmarks.jobs.relevance_crowdflower import BEFORE, TUNING, after_homedepot
from benchmarks.judged import NETWORKS, shop_snapshot
from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import PRODUCT_SEARCH, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.bundle.write import write_bundle
from recsys.engine.build import build_index
from recsys.engine.engine import Engine
from recsys.engine.policy import SearchPolicy
from recsys.engine.ranked import Ranked
from recsys.metrics.intervals import paired_bootstrap
from recsys.retrieval.lexical import LexicalIndex
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
LIGHT = "hybrid + cross-encoder, lightest weights"
UNSTEMMED = "BM25 all text fields, no stemming"
WORDS = (*BM25, UNSTEMMED, *list(STAGES)[:1])
FIGURES = ("ndcg@10", "ndcg@10 judged-only")
UNITS = (
    *(Unit(name) for name in (*BM25, UNSTEMMED)),
    *(Unit(name) for name in STAGES),
    *(Unit(WEIGHTS, fold, WEIGHTS_SEED) for fold in FOLDS),
    *(Unit(name, seed=seed) for name in (FULL, LIGHT) for seed in SEEDS),
)
EVERYTHING = SearchPolicy(bm25=1.0, dense=1.0, cross_encoder=1.0, candidates=100, depth=200)
Weights = tuple[float, float, int]
DENSE_WEIGHTS, CROSS_WEIGHTS, DEPTHS = (0.0, 1.0, 2.0, 3.0), (0.0, 0.5, 1.0, 2.0, 4.0), (20, 50, 100)


def measure(unit: Unit, place: Place) -> Measured:
    """One row on icecat, or the weights' figures on one fold of crowdflower."""
    shared = place.of(NETWORKS)
    if unit.variant == WEIGHTS:
        return weigh(shared, place.work, fold=unit.fold or 0)
    snapshot = shop_snapshot("icecat", place, fold=0)
    queries = read_queries(snapshot, split="all")
    config: dict[str, Any] = {}
    if unit.variant in (*BM25, UNSTEMMED):
        rankings = by_words(snapshot, queries, name=unit.variant)
    else:
        policy = choose(shared, place.work, cross=unit.variant in (FULL, LIGHT), light=unit.variant == LIGHT)
        bundle = None
        if unit.variant in (FULL, LIGHT):
            bundle = trained(snapshot, shared, place.work / f"seed{unit.seed}", seed=unit.seed or 0)
            config = {"homedepot": BEFORE.model_dump(), "crowdflower": TUNING.model_dump()}
        engine = open_engine(snapshot, bundle, place.work / f"index-{unit.stem}", cache=place.work / "vectors")
        finder = replace(engine.finder, policy=policy)
        config["policy"] = policy.model_dump()
        stages = STAGES.get(unit.variant, "full")
        found = finder.run([query.query for query in queries], k=DEPTH, allowed=None, stages=stages)
        rankings = [Ranking(row.positions, row.scores) for row in found]
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


def by_words(snapshot: Snapshot, queries: Sequence[JudgedQuery], *, name: str) -> list[Ranking]:
    """The rankings of a BM25 baseline."""
    asked = [query.query for query in queries]
    if name in BM25:
        with bm25_baselines(snapshot.catalogue()) as indexes:
            return [Ranking(row.positions, row.scores) for row in indexes[name].retrieve(asked, k=DEPTH)]
    with TemporaryDirectory() as folder:
        index = LexicalIndex.build(snapshot.catalogue(), Path(folder) / "words", weights=BM25[BASE], language="")
        return [Ranking(row.positions, row.scores) for row in index.retrieve(asked, k=DEPTH)]


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
        policy=SearchPolicy().model_dump(),
        snapshot=source.manifest.snapshot_id,
        config={},
    )


def weigh(shared: Place, work: Path, *, fold: int) -> Measured:
    """Both figures of every policy of the grid, on the crowdflower queries of one outer fold."""
    grid, counts = weighed(shared, work, fold=fold)
    metrics = {
        f"{name}, {title(*row)}": float(np.mean(figures[name])) for row, figures in grid.items() for name in FIGURES
    }
    return Measured(metrics=metrics, counts=counts, config={"policies tried": len(grid)})


@cache
def weighed(shared: Place, work: Path, *, fold: int) -> tuple[dict[Weights, dict[str, list[float]]], dict[str, int]]:
    """By policy and figure, a number for each query of the fold; what was left out."""
    snapshot = shop_snapshot("crowdflower", shared, fold=fold)
    bundle = trained(snapshot, shared, work / f"fold{fold}", seed=WEIGHTS_SEED, fold=fold)
    engine = open_engine(snapshot, bundle, work / f"index-fold{fold}", cache=work / "vectors")
    queries = read_queries(snapshot, split="test")
    finder = replace(engine.finder, policy=EVERYTHING)
    found = list(finder.run([query.query for query in queries], k=DEPTH, allowed=None, stages="full"))
    grid: dict[Weights, dict[str, list[float]]] = {}
    for dense, cross, depth in product(DENSE_WEIGHTS, CROSS_WEIGHTS, DEPTHS):
        rankings = [reweighed(row, dense=dense, cross=cross, depth=depth) for row in found]
        values = retrieval_metrics(queries, rankings, cuts=CUTS, relevant=threshold(snapshot))
        grid[dense, cross, depth] = {name: values[name][~np.isnan(values[name])].tolist() for name in FIGURES}
    return grid, dict(left_out(queries))


def title(dense: float, cross: float, depth: int) -> str:
    """A policy's name in the results."""
    return f"dense {dense:g}, cross-encoder {cross:g}, depth {depth}"


def choose(shared: Place, work: Path, *, cross: bool, light: bool = False) -> SearchPolicy:
    """The policy of the grid with the best mean of both figures, or the lightest within one standard error of it.

    Source: the one-standard-error rule of Breiman et al., "Classification and regression trees" (1984), 3.4.3; the
    error is that of the paired differences. Lighter is less weight beside BM25's, then fewer pairs to score.
    """
    folds = [weighed(shared, work, fold=fold)[0] for fold in FOLDS]
    worth = {
        row: np.concatenate([np.mean([found[row][name] for name in FIGURES], axis=0) for found in folds])
        for row in folds[0]
        if (row[1] > 0) == cross
    }
    best = max(worth, key=lambda row: float(worth[row].mean()))
    if light:
        gaps = {row: worth[best] - values for row, values in worth.items()}
        near = [row for row, gap in gaps.items() if gap.mean() <= gap.std(ddof=1) / np.sqrt(len(gap))]
        best = min(near, key=lambda row: (row[0] + row[1], row[2]))
    dense, weight, depth = best
    return EVERYTHING.model_copy(update={"dense": dense, "cross_encoder": weight, "depth": depth})


def reweighed(row: Ranked, *, dense: float, cross: float, depth: int) -> Ranking:
    """What a policy would have said, from the parts of one that scored everything."""
    first = row.parts["bm25"] + np.float32(dense) * row.parts["dense"]
    top = np.lexsort((row.positions, -first))[:depth]
    total = first.copy()
    total[top] += np.float32(cross) * row.parts["cross_encoder"][top]
    order = np.lexsort((row.positions, -total))
    return Ranking(row.positions[order], total[order])


def tables(results: Sequence[Result]) -> list[Table]:
    """The rows on icecat with their gains over BM25, and the best policies on crowdflower."""
    strongest = max(WORDS, key=lambda name: max((row["metrics"][FIGURES[1]] for row in of(results, name)), default=0.0))
    rows = []
    for variant in (*BM25, UNSTEMMED, *STAGES, FULL, LIGHT):
        if own := of(results, variant):
            figures = [mean(own, name) for name in (*FIGURES, "unjudged@10", "recall@100")]
            gains = [gain(results, variant, name, over=BASE) for name in FIGURES]
            rows.append([variant, *figures, *gains, gain(results, variant, FIGURES[1], over=strongest)])
    columns = ("stages", "NDCG@10", "judged-only", "unjudged in top 10", "recall@100")
    wide = (*columns, "gain over BM25 all fields", "judged-only gain", "judged-only gain over the best BM25")
    note = (
        "Left out: queries without a positive product (both figures), and with a single grade (judged-only). "
        f"A trained row's gain is over each query's mean of its seeds. The best BM25 by the judged-only figure: "
        f"{strongest}. The row with the lightest weights was added after the one above it was known."
    )
    return [Table("Retrieval over 19,406 products", wide, rows, note), *weights_table(results)]


def gain(results: Sequence[Result], variant: str, name: str, *, over: str) -> str:
    """The paired gain over a baseline, over queries."""
    base = of(results, over)
    if not base or variant == over:
        return "-"
    values = np.mean([result["scores"][name] for result in of(results, variant)], axis=0)
    return span(paired_bootstrap(values, base[0]["scores"][name], seed=0))


def weights_table(results: Sequence[Result]) -> list[Table]:
    """The ten best policies, by the mean of both figures over the folds."""
    own = of(results, WEIGHTS)
    if not own:
        return []
    policies = [name.removeprefix("ndcg@10, ") for name in own[0]["metrics"] if name.startswith("ndcg@10, ")]
    found = []
    for policy in policies:
        both = [float(np.mean([result["metrics"][f"{name}, {policy}"] for result in own])) for name in FIGURES]
        found.append((policy, *both))
    found.sort(key=lambda row: -(row[1] + row[2]))
    rows = [[policy, f"{whole:.4f}", f"{alone:.4f}"] for policy, whole, alone in found[:10]]
    queries = sum(result["counts"]["queries"] for result in own)
    note = f"{len(policies)} policies tried on {queries} unseen queries, BM25's weight 1 in all; the best ten."
    return [Table("Weights of the stages, chosen on crowdflower", ("policy", "NDCG@10", "judged-only"), rows, note)]
