"""Two-tower, matrix factors, item-kNN, popularity and the users' own histories on a shop with a calendar."""

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.job import Measured, Place, Result, Table, Unit, mean, of, span
from benchmarks.recommenders import Bench, measured
from recsys.retrieval.own_history import OwnHistoryRecommender
from recsys.types import Recommender
from training.evaluate.baselines import LatestPopularity
from training.factors import BprConfig, FactorConfig
from training.item_knn import ItemKnnConfig
from training.popularity import PopularityConfig
from training.two_tower.config import TwoTowerSettings

PROTOCOL = "time split, test 28 days, refit on all before, full ranking, averaged over ties"
SHOPS = ("online_retail",)
SEEDS = (0, 1, 2)
METRICS = ("recall@20", "ndcg@20")
BASELINES = ("item-knn BM25", "item-knn BM25 recent")

KNN = {
    "item-knn cosine": ItemKnnConfig(weighting="cosine", neighbours=20),
    "item-knn BM25": ItemKnnConfig(weighting="bm25", neighbours=4000, k1=1.2, b=0.75),
    "item-knn BM25 recent": ItemKnnConfig(weighting="bm25", neighbours=4000, k1=100.0, b=0.3, half_life_days=45.0),
}
OWN = ("own history by frequency", "own history by recency")
LATEST = "popularity, last 28 days"
TABLES = ("repeats excluded", "repeats allowed")
UNITS = (
    *(Unit(name) for name in ("popularity", LATEST, *KNN)),
    *(Unit(name) for name in OWN),
    *(Unit(name, seed=seed) for name in ("als", "bpr", "two-tower") for seed in SEEDS),
)


def measure(unit: Unit, place: Place) -> Measured:
    """One row and seed on the test days, for both tables."""
    bench = Bench(shop="online_retail", place=place)
    own, config = learn(bench, unit)
    baselines = {name: bench.train("item-knn", config=KNN[name], refit=True, key=name)[0] for name in BASELINES}
    merged = Measured(metrics={}, config=config)
    for table in TABLES:
        if table == TABLES[0] and unit.variant in OWN:
            continue
        holdout = bench.holdout(repeats=table == TABLES[1])
        found = measured(
            holdout.score(own),
            baselines={name: holdout.score(baseline) for name, baseline in baselines.items() if name != unit.variant},
            metrics=METRICS,
            counts={f"users, {table}": sum(len(row) > 0 for row in holdout.relevant), "products": holdout.products},
            prefix=f"{table}: ",
        )
        merged = replace(
            merged,
            metrics={**merged.metrics, **found.metrics},
            intervals={**merged.intervals, **found.intervals},
            counts={**merged.counts, **found.counts},
        )
    return merged


def learn(bench: Bench, unit: Unit) -> tuple[Recommender, dict[str, object]]:
    """The recommender of a row and its settings, all chosen on the validation days."""
    name, seed = unit.variant, unit.seed or 0
    if name in OWN:
        return OwnHistoryRecommender(by="frequency" if name == OWN[0] else "recency"), {}
    if name == LATEST:
        return LatestPopularity.fit(bench.snapshot, split="test", products=len(bench.catalogue)), {}
    stage, config = choose(name, seed=seed)
    recommender, info = bench.train(stage, config=config, refit=True, key=f"{name}-{seed}")
    return recommender, {**info.config, "validation": info.metrics}


def choose(name: str, *, seed: int) -> tuple[str, TwoTowerSettings | FactorConfig | ItemKnnConfig | PopularityConfig]:
    """Stage and settings of a row."""
    if name == "two-tower":
        return name, TwoTowerSettings(seed=seed, profile="baskets").resolved(basket=0.0)
    if name == "als":
        return name, FactorConfig(
            factors=128, iterations=15, regularization=30.0, alpha=5.0, half_life_days=45.0, seed=seed
        )
    if name == "bpr":
        return name, BprConfig(seed=seed)
    return ("popularity", PopularityConfig()) if name == "popularity" else ("item-knn", KNN[name])


def tables(results: Sequence[Result]) -> list[Table]:
    """The two tables of the protocol, never mixed."""
    return [table(results, name) for name in TABLES]


def table(results: Sequence[Result], name: str) -> Table:
    """One table: means over users, and the paired gap to the better item-kNN for each seed."""
    rows = []
    for variant in dict.fromkeys(unit.variant for unit in UNITS):
        own = of(results, variant)
        gaps = [result["intervals"].get(f"{name}: {METRICS[1]} - {BASELINES[1]}") for result in own]
        cells = [mean(own, f"{name}: {metric}") for metric in METRICS]
        if any(cell != "-" for cell in cells):
            rows.append((variant, *cells, "; ".join(span(gap) for gap in gaps if gap)))
    return Table(
        title=f"online_retail, {name}",
        columns=("model", "R@20", "NDCG@20", f"NDCG@20 - {BASELINES[1]}, 95 %, each seed"),
        rows=rows,
        note=f"{PROTOCOL}; {name}; mean ± standard deviation over seeds. Settings chosen on the 28 days before.",
    )
