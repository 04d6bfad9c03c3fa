"""Two-tower, matrix factors, item-kNN and popularity on a shop without a calendar.

Batches of 256 were the two-tower's default until the validation events said that 128 are better (beauty-screening).
"""

from collections.abc import Sequence

from benchmarks.job import Measured, Place, Result, Table, Unit, mean, of, span
from benchmarks.recommenders import Bench, measured
from training.factors import BprConfig, FactorConfig
from training.item_knn import ItemKnnConfig
from training.popularity import PopularityConfig
from training.two_tower.config import TwoTowerSettings

PROTOCOL = "leave-one-out, full ranking of all products outside the user's history, averaged over ties"
SHOPS = ("beauty",)
SEEDS = (0, 1, 2)
METRICS = ("recall@10", "ndcg@10")
BASELINE = "item-knn BM25"

KNN = {
    "item-knn cosine": ItemKnnConfig(weighting="cosine", neighbours=500),
    "item-knn BM25": ItemKnnConfig(weighting="bm25", neighbours=500, k1=0.2, b=0.75),
}
IDS = "two-tower, no titles, brands or categories"
BROAD = "two-tower, batches of 256"
TOWERS = ("two-tower", BROAD, IDS)
KINDS = ("refit", "no refit")
UNITS = (
    Unit("popularity (refit)"),
    *(Unit(f"{name} (refit)") for name in KNN),
    Unit(f"{BASELINE} (no refit)"),
    *(Unit(f"{name} (refit)", seed=seed) for name in ("bpr", "als") for seed in SEEDS),
    *(Unit(f"{name} ({kind})", seed=seed) for seed in SEEDS for name in TOWERS for kind in ("no refit", "refit")),
)


def measure(unit: Unit, place: Place) -> Measured:
    """One row and seed on the test events."""
    bench = Bench(shop="beauty", place=place)
    name, refit = unit.variant.rsplit(" (", 1)[0], unit.variant.endswith("(refit)")
    holdout = bench.holdout(repeats=False)
    baseline, _ = bench.train("item-knn", config=KNN[BASELINE], refit=refit, key="baseline")
    stage, config = choose(name, seed=unit.seed or 0)
    recommender, info = bench.train(stage, config=config, refit=refit, key=f"{stage}-{unit.seed}")
    return measured(
        holdout.score(recommender),
        baselines={} if name == BASELINE else {BASELINE: holdout.score(baseline)},
        metrics=METRICS,
        info=info,
        counts={"users": len(holdout.relevant), "products": holdout.products},
    )


def choose(name: str, *, seed: int) -> tuple[str, TwoTowerSettings | FactorConfig | ItemKnnConfig | PopularityConfig]:
    """Stage and settings of a row, all chosen on the validation events."""
    if name == "two-tower":
        return name, TwoTowerSettings(patience=0, seed=seed).resolved(basket=0.0)
    if name == BROAD:
        return "two-tower", TwoTowerSettings(patience=0, batch_size=256, seed=seed).resolved(basket=0.0)
    if name == IDS:
        return "two-tower", TwoTowerSettings(patience=0, features=False, seed=seed).resolved(basket=0.0, texts=False)
    if name == "als":
        return name, FactorConfig(factors=128, iterations=15, regularization=10.0, alpha=10.0, seed=seed)
    if name == "bpr":
        return name, BprConfig(seed=seed)
    return ("popularity", PopularityConfig()) if name == "popularity" else ("item-knn", KNN[name])


def tables(results: Sequence[Result]) -> list[Table]:
    """One table for what learned from the validation events, too, and one for what did not: never mixed."""
    return [table(results, kind) for kind in KINDS]


def table(results: Sequence[Result], kind: str) -> Table:
    """The rows of one kind, each against item-kNN of the same kind."""
    rows = []
    for variant in dict.fromkeys(unit.variant for unit in UNITS):
        name, of_kind = variant.rsplit(" (", 1)
        own = of(results, variant)
        if of_kind.rstrip(")") == kind and own:
            gaps = [result["intervals"].get(f"recall@10 - {BASELINE}") for result in own]
            printed = "; ".join(span(gap) for gap in gaps if gap)
            rows.append((name, mean(own, "recall@10"), mean(own, "ndcg@10"), printed))
    return Table(
        title=f"beauty, {kind}",
        columns=("model", "R@10", "NDCG@10", f"R@10 - {BASELINE}, 95 %, each seed"),
        rows=rows,
        note=f"{PROTOCOL}; {kind}; mean ± standard deviation over seeds. Settings chosen on the validation events.",
    )
