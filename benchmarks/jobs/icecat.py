"""Search over a whole catalogue (icecat): BM25, dense, hybrid, hybrid + cross-encoder.

The cross-encoder has seen homedepot once and all of crowdflower, never a judgment of icecat; the text encoder is not
fine-tuned. The weights of the stages are chosen on crowdflower queries that a cross-encoder trained on the other folds
had not seen (rows "weights on crowdflower"): the best by the mean of both figures, and the lightest that is within one
standard error of it; both again where the cross-encoder looks at 300 products, not at 100 at most. The engine's default
weights are those of a bundle without a policy of its own, and beside them feedback's is chosen on the same queries.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.job import Measured, Place, Result, Table, Unit, mean, of, span
from benchmarks.jobs.relevance_crowdflower import BEFORE, FEEDBACK, TUNING, after_homedepot
from benchmarks.judged import NETWORKS, shop_snapshot
from benchmarks.weights import EVERYTHING, Grid, pick, reweighed, title, weighted
from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import PRODUCT_SEARCH, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.bundle.write import write_bundle
from recsys.engine.build import build_index
from recsys.engine.engine import Engine
from recsys.engine.policy import SearchPolicy
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
DEEP, DEEP_LIGHT = "hybrid + cross-encoder, 300 deep", "hybrid + cross-encoder, 300 deep, lightest weights"
DEFAULT = "hybrid + cross-encoder, the engine's default weights"
HEARD = "hybrid + cross-encoder, the engine's default weights + feedback"
WEIGHTS_DEEP, WEIGHTS_HEARD = f"{WEIGHTS}, 300 deep", "feedback on crowdflower"
GRIDS: Mapping[str, Grid] = {
    WEIGHTS: Grid(weighted(20, 50, 100)),
    WEIGHTS_DEEP: Grid(weighted(300), depth=600),
    WEIGHTS_HEARD: Grid(tuple(SearchPolicy().model_copy(update={"feedback": weight}) for weight in FEEDBACK)),
}
CHOSEN: Mapping[str, str] = {
    FULL: WEIGHTS,
    LIGHT: WEIGHTS,
    DEEP: WEIGHTS_DEEP,
    DEEP_LIGHT: WEIGHTS_DEEP,
    HEARD: WEIGHTS_HEARD,
}
"""By row with a cross-encoder, the grid that its policy is chosen from."""
TRAINED = (FULL, LIGHT, DEEP, DEEP_LIGHT, DEFAULT, HEARD)
UNITS = (
    *(Unit(name) for name in (*BM25, UNSTEMMED)),
    *(Unit(name) for name in STAGES),
    *(Unit(name, fold, WEIGHTS_SEED) for name in GRIDS for fold in FOLDS),
    *(Unit(name, seed=seed) for name in TRAINED for seed in SEEDS),
)


def measure(unit: Unit, place: Place) -> Measured:
    """One row on icecat, or the weights' figures on one fold of crowdflower."""
    shared = place.of(NETWORKS)
    if unit.variant in GRIDS:
        return weigh(shared, place.work, grid=unit.variant, fold=unit.fold or 0)
    snapshot = shop_snapshot("icecat", place, fold=0)
    queries = read_queries(snapshot, split="all")
    config: dict[str, Any] = {}
    if unit.variant in (*BM25, UNSTEMMED):
        rankings = by_words(snapshot, queries, name=unit.variant)
    else:
        policy = policy_of(unit.variant, shared, place.work)
        bundle = None
        if unit.variant in TRAINED:
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


def weigh(shared: Place, work: Path, *, grid: str, fold: int) -> Measured:
    """Both figures of every policy of a grid, on the crowdflower queries of one outer fold."""
    found, counts = weighed(shared, work, grid=grid, fold=fold)
    metrics = {
        f"{name}, {title(policy)}": float(np.mean(figures[name]))
        for policy, figures in found.items()
        for name in FIGURES
    }
    return Measured(metrics=metrics, counts=counts, config={"policies tried": len(found)})


@cache
def weighed(
    shared: Place, work: Path, *, grid: str, fold: int
) -> tuple[dict[SearchPolicy, dict[str, list[float]]], dict[str, int]]:
    """By policy and figure, a number for each query of the fold; what was left out."""
    snapshot = shop_snapshot("crowdflower", shared, fold=fold)
    bundle = trained(snapshot, shared, work / f"fold{fold}", seed=WEIGHTS_SEED, fold=fold)
    engine = open_engine(snapshot, bundle, work / f"index-fold{fold}", cache=work / "vectors")
    queries = read_queries(snapshot, split="test")
    finder = replace(engine.finder, policy=EVERYTHING.model_copy(update={"depth": GRIDS[grid].depth}))
    rows = list(finder.run([query.query for query in queries], k=DEPTH, allowed=None, stages="full"))
    assert finder.dense is not None  # noqa: S101 - the stock encoder is at hand where networks learn
    vectors = [finder.dense.index.at(row.positions) for row in rows]
    found: dict[SearchPolicy, dict[str, list[float]]] = {}
    for policy in GRIDS[grid].policies:
        rankings = [reweighed(row, own, policy=policy) for row, own in zip(rows, vectors, strict=True)]
        values = retrieval_metrics(queries, rankings, cuts=CUTS, relevant=threshold(snapshot))
        found[policy] = {name: values[name][~np.isnan(values[name])].tolist() for name in FIGURES}
    return found, dict(left_out(queries))


def policy_of(variant: str, shared: Place, work: Path) -> SearchPolicy:
    """The policy of a row on icecat."""
    if variant == DEFAULT:
        return SearchPolicy()
    light = variant in (LIGHT, DEEP_LIGHT)
    return choose(shared, work, grid=CHOSEN.get(variant, WEIGHTS), cross=variant in TRAINED, light=light)


def choose(shared: Place, work: Path, *, grid: str, cross: bool, light: bool = False) -> SearchPolicy:
    """The policy of the grid with the best mean of both figures, or the lightest that is as good; see `pick`."""
    folds = [weighed(shared, work, grid=grid, fold=fold)[0] for fold in FOLDS]
    worth = {
        policy: np.concatenate([np.mean([found[policy][name] for name in FIGURES], axis=0) for found in folds])
        for policy in folds[0]
        if (policy.cross_encoder > 0) == cross
    }
    return pick(worth, light=light)


def tables(results: Sequence[Result]) -> list[Table]:
    """The rows on icecat with their gains over BM25, and the best policies on crowdflower."""
    strongest = max(WORDS, key=lambda name: max((row["metrics"][FIGURES[1]] for row in of(results, name)), default=0.0))
    rows = []
    for variant in (*BM25, UNSTEMMED, *STAGES, *TRAINED):
        if own := of(results, variant):
            figures = [mean(own, name) for name in (*FIGURES, "unjudged@10", "recall@100")]
            gains = [gain(results, variant, name, over=BASE) for name in FIGURES]
            rows.append([named(variant, own[0]), *figures, *gains, gain(results, variant, FIGURES[1], over=strongest)])
    columns = ("stages", "NDCG@10", "judged-only", "unjudged in top 10", "recall@100")
    wide = (*columns, "gain over BM25 all fields", "judged-only gain", "judged-only gain over the best BM25")
    note = (
        "Left out: queries without a positive product (both figures), and with a single grade (judged-only). "
        f"A trained row's gain is over each query's mean of its seeds. The best BM25 by the judged-only figure: "
        f"{strongest}. The row with the lightest weights was added after the one above it was known. A row that joins "
        "stages names their weights, and how many products the cross-encoder scores; the policies of all rows but the "
        "engine's default are chosen on crowdflower alone."
    )
    return [Table("Retrieval over 19,406 products", wide, rows, note), *weights_tables(results)]


def named(variant: str, result: Result) -> str:
    """A row's name, with its weights where it joins stages."""
    if not variant.startswith("hybrid"):
        return variant
    policy = SearchPolicy.model_validate(result["config"]["policy"])
    told = f"BM25 {policy.bm25:g} : dense {policy.dense:g}"
    if variant in TRAINED:
        told += f" : cross-encoder {policy.cross_encoder:g}, {policy.depth} deep"
    if variant == HEARD:
        told += f", feedback {policy.feedback:g}"
    return f"{variant} ({told})"


def gain(results: Sequence[Result], variant: str, name: str, *, over: str) -> str:
    """The paired gain over a baseline, over queries."""
    base = of(results, over)
    if not base or variant == over:
        return "-"
    values = np.mean([result["scores"][name] for result in of(results, variant)], axis=0)
    return span(paired_bootstrap(values, base[0]["scores"][name], seed=0))


def weights_tables(results: Sequence[Result]) -> list[Table]:
    """For each grid that was measured the ten best policies, by the mean of both figures over the folds."""
    return [weights_table(own, grid=grid) for grid in GRIDS if (own := of(results, grid))]


def weights_table(own: Sequence[Result], *, grid: str) -> Table:
    """The best policies of one grid."""
    policies = [name.removeprefix("ndcg@10, ") for name in own[0]["metrics"] if name.startswith("ndcg@10, ")]
    found = []
    for policy in policies:
        both = [float(np.mean([result["metrics"][f"{name}, {policy}"] for result in own])) for name in FIGURES]
        found.append((policy, *both))
    found.sort(key=lambda row: -(row[1] + row[2]))
    rows = [[policy, f"{whole:.4f}", f"{alone:.4f}"] for policy, whole, alone in found[:10]]
    queries = sum(result["counts"]["queries"] for result in own)
    first = GRIDS[grid].policies[0]
    base = "BM25's weight 1 in all; " if first.bm25 == 1 else ""
    note = f"{len(policies)} policies tried on {queries} unseen queries, {base}the best ten."
    name = {WEIGHTS: "", WEIGHTS_DEEP: ", 300 deep", WEIGHTS_HEARD: ", feedback beside the engine's default"}[grid]
    headline = f"Weights of the stages, chosen on crowdflower{name}"
    return Table(headline, ("policy", "NDCG@10", "judged-only"), rows, note)
