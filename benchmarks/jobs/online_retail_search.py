"""How the baselines of the online_retail job were tuned: every configuration on the validation days, both tables.

Each family has a grid over what matters to it. A configuration learns from what lies before the validation days and is
measured on them; no test event is read. The job online-retail takes each family's best of each table.
"""

from collections.abc import Sequence
from itertools import product

from pydantic import BaseModel

from benchmarks.job import Measured, Place, Result, Table, Unit
from benchmarks.jobs.online_retail import LATEST, METRICS, OWN, SHOPS, TABLES
from benchmarks.recommenders import Bench
from recsys.retrieval.own_history import OwnHistoryRecommender
from recsys.types import Recommender
from training.evaluate.baselines import LatestPopularity
from training.evaluate.measured import means
from training.factors import BprConfig, FactorConfig
from training.holdout import Holdout
from training.item_knn import ItemKnnConfig
from training.popularity import PopularityConfig
from training.repeat import RepeatConfig

PROTOCOL = "time split, the 28 days before the test days, no refit, full ranking, averaged over ties"
HALF_LIVES = (0.0, 45.0, 90.0)


def configurations() -> dict[str, tuple[str, str, BaseModel]]:
    """By the row's name: family, stage and settings."""
    found: dict[str, tuple[str, str, BaseModel]] = {}

    def add(family: str, stage: str, config: BaseModel) -> None:
        given = [name for name in type(config).model_fields if name in config.model_fields_set]
        told = ", ".join(f"{name} {getattr(config, name)}" for name in given)
        found[f"{family}: {told}"] = (family, stage, config)

    for half_life in (7.0, 14.0, 28.0, 0.0):
        add("popularity", "popularity", PopularityConfig(half_life_days=half_life))
    for neighbours, half_life in product((20, 100), HALF_LIVES):
        config = ItemKnnConfig(weighting="cosine", neighbours=neighbours, half_life_days=half_life)
        add("item-kNN, cosine", "item-knn", config)
    for neighbours, k1, b, half_life in product((100, 4000), (1.2, 100.0), (0.3, 0.75), (0.0, 45.0)):
        config = ItemKnnConfig(weighting="bm25", neighbours=neighbours, k1=k1, b=b, half_life_days=half_life)
        add("item-kNN, BM25", "item-knn", config)
    for ridge, alpha, half_life in product((10.0, 30.0, 100.0), (1.0, 5.0, 20.0), (0.0, 45.0)):
        factors = FactorConfig(factors=128, regularization=ridge, alpha=alpha, half_life_days=half_life)
        add("ALS", "als", factors)
    for rate, ridge in product((0.03, 0.1), (0.02, 0.08)):
        add("BPR", "bpr", BprConfig(learning_rate=rate, regularization=ridge))
    for shrink in (1.0, 5.0, 20.0):
        add("repeat purchases", "repeat", RepeatConfig(shrink=shrink))
    return found


CONFIGURATIONS = configurations()
UNITS = (*(Unit(name) for name in CONFIGURATIONS), Unit(LATEST), *(Unit(name) for name in OWN))


def measure(unit: Unit, place: Place) -> Measured:
    """One configuration on the validation days, for both tables."""
    bench = Bench(shop=SHOPS[0], place=place.of("online-retail"))
    recommender, config = learn(unit.variant, bench=bench)
    users = Holdout.read(bench.snapshot, catalogue=bench.catalogue, part="validation")
    metrics: dict[str, float] = {}
    for table, holdout in zip(TABLES, (users, users.with_repeats()), strict=True):
        found = means(holdout.score(recommender, cuts=(20,)))
        metrics |= {f"{table}: {metric}": found[metric] or 0.0 for metric in METRICS}
    return Measured(metrics=metrics, config={} if config is None else config.model_dump())


def learn(name: str, *, bench: Bench) -> tuple[Recommender, BaseModel | None]:
    """The recommender of a row, from what lies before the validation days."""
    if name == LATEST:
        return LatestPopularity.fit(bench.snapshot, split="validation", products=len(bench.catalogue)), None
    if name not in CONFIGURATIONS:
        return OwnHistoryRecommender(by="frequency" if name == OWN[0] else "recency"), None
    _, stage, config = CONFIGURATIONS[name]
    return bench.train(stage, config=config, refit=False, key=f"search-{stage}")[0], config


def tables(results: Sequence[Result]) -> list[Table]:
    """Each family's best by NDCG@20 of each table, and how many were tried."""
    return [table(results, name) for name in TABLES]


def table(results: Sequence[Result], name: str) -> Table:
    """One row for each family."""
    families: dict[str, list[Result]] = {}
    for result in results:
        families.setdefault(result["variant"].split(":")[0], []).append(result)
    rows = []
    for family, own in families.items():
        best = max(own, key=lambda result: result["metrics"][f"{name}: {METRICS[1]}"])
        told = best["variant"].partition(": ")[2] or "-"
        rows.append(
            (family, str(len(own)), told, *(f"{best['metrics'][f'{name}: {metric}']:.4f}" for metric in METRICS))
        )
    return Table(
        title=f"online_retail, {name}: the search for the baselines",
        columns=("family", "tried", "best", "R@20", "NDCG@20"),
        rows=sorted(rows, key=lambda row: -float(row[-1])),
        note=f"{PROTOCOL}; {name}. The best is the one with the highest NDCG@20 on the validation days.",
    )
