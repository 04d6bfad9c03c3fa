"""The blend of all recommenders on a shop with a calendar, against every baseline, on the same users.

The blend is that of `recsys train recommend-blender`: it learns from the validation days, by sources that have not seen
them, and orders what the same sources bring once they have. The baselines have the settings that were best on the
validation days (job online-retail-search), for each table its own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel

from benchmarks.job import Measured, Place, Result, Table, Unit, of, span
from benchmarks.jobs.online_retail import LATEST, METRICS, SEEDS, SHOPS, TABLES, choose
from benchmarks.recommenders import Bench, compare
from recsys.bundle.recommenders import COMPONENTS
from recsys.engine.recommend_blending import BlendRecommender, read_facts
from recsys.engine.recommenders import own_histories
from recsys.metrics.intervals import Interval
from recsys.ranking.candidate_blender import ALLOWED, EXCLUDED
from recsys.types import Recommender
from training.bought_together import BoughtTogetherConfig
from training.evaluate.baselines import LatestPopularity
from training.evaluate.measured import ByMetric, means
from training.factors import FactorConfig
from training.holdout import Holdout
from training.item_knn import ItemKnnConfig
from training.popularity import PopularityConfig
from training.recommend_blender.config import RecommendBlenderConfig
from training.recommend_blender.stage import learn_blender
from training.repeat import RepeatConfig
from training.trending import TrendingConfig

PROTOCOL = "time split, test 28 days, refit on all before, full ranking, averaged over ties"
UNITS = tuple(Unit("blend", seed=seed) for seed in SEEDS)
BLEND, TOWER = "blend", "two-tower"
BY_TABLE = dict(zip(TABLES, (EXCLUDED, ALLOWED), strict=True))
SOURCES = (TOWER, "item-knn", "als", "bpr", "bought-together", "repeat", "trending", "popularity")
NAMES = {"item-knn": "item-knn BM25 recent"}
"""What the job online-retail calls a source."""
TUNED: Mapping[str, Mapping[str, BaseModel]] = {
    EXCLUDED: {"popularity": PopularityConfig(half_life_days=7.0)},
    ALLOWED: {
        "item-knn": ItemKnnConfig(weighting="bm25", neighbours=4000, k1=1.2, b=0.3, half_life_days=45.0),
        "als": FactorConfig(factors=128, regularization=10.0, alpha=5.0, half_life_days=45.0),
        "repeat": RepeatConfig(shrink=1.0),
        "popularity": PopularityConfig(half_life_days=7.0),
    },
}
"""By table, the baselines that were better there with other settings than the sources'."""


def measure(unit: Unit, place: Place) -> Measured:
    """The blend and every baseline on the test days, for both tables."""
    seed = unit.seed or 0
    bench = Bench(shop=SHOPS[0], place=place.of("online-retail"))
    sources = {refit: learned(bench, seed=seed, refit=refit) for refit in (False, True)}
    blends, reports = blended(bench, sources=sources, place=place, seed=seed)
    metrics: dict[str, float] = {}
    intervals: dict[str, Interval] = {}
    counts: dict[str, int] = {}
    for name, table in BY_TABLE.items():
        holdout = bench.holdout(repeats=table == ALLOWED)
        scores = {BLEND: holdout.score(blends[table], cuts=(20,))}
        for other, recommender in baselines(bench, sources[True], table=table).items():
            scores[other] = holdout.score(recommender, cuts=(20,))
        rest = {other: one for other, one in scores.items() if other != BLEND}
        gaps = compare(scores[BLEND], rest, metrics=METRICS, seed=0)
        metrics |= figures(scores, prefix=name)
        intervals |= {f"{name}: {gap}": interval for gap, interval in gaps.items()}
        counts[f"users, {name}"] = sum(len(row) > 0 for row in holdout.relevant)
    return Measured(metrics=metrics, intervals=intervals, counts=counts, config={"validation": reports})


def learned(bench: Bench, *, seed: int, refit: bool) -> dict[str, Recommender]:
    """The blend's sources, in the engine's order: from what lies before the validation days, or the test days."""
    own: Mapping[str, BaseModel] = {
        "bought-together": BoughtTogetherConfig(),
        "repeat": RepeatConfig(),
        "trending": TrendingConfig(),
    }
    found: dict[str, Recommender] = {}
    for source in SOURCES:
        stage, config = (source, own[source]) if source in own else choose(NAMES.get(source, source), seed=seed)
        drawn = seed if "seed" in type(config).model_fields else 0
        found[source] = bench.train(stage, config=config, refit=refit, key=f"{NAMES.get(source, source)}-{drawn}")[0]
    return {name: found[name] for name in COMPONENTS if name in found} | own_histories()


def blended(
    bench: Bench, *, sources: Mapping[bool, Mapping[str, Recommender]], place: Place, seed: int
) -> tuple[dict[str, BlendRecommender], dict[str, Any]]:
    """The blend of each table over the refitted sources, and what was found on the validation days."""
    folder, config = place.work / f"blender-{seed}", RecommendBlenderConfig(seed=seed)
    users = Holdout.read(bench.snapshot, catalogue=bench.catalogue, part="validation")
    blender, reports = learn_blender(
        bench.snapshot,
        users,
        sources[False],
        catalogue=bench.catalogue,
        learned={},
        config=config,
        folder=folder,
        refit=True,
    )
    own, facts = tuple(sources[True].values()), read_facts(folder, bench.catalogue, calendar=True)
    blends = {table: BlendRecommender(blender, table, own, facts) for table in BY_TABLE.values()}
    return blends, {report["table"]: report for report in reports}


def baselines(bench: Bench, sources: Mapping[str, Recommender], *, table: str) -> dict[str, Recommender]:
    """What the blend has to beat: every source, what was tuned for the table, and the latest popularity."""
    tuned = {
        f"{stage}, tuned for this table": bench.train(stage, config=config, refit=True, key=f"{stage}-{table}")[0]
        for stage, config in TUNED[table].items()
    }
    latest = LatestPopularity.fit(bench.snapshot, split="test", products=len(bench.catalogue))
    return {**sources, **tuned, LATEST: latest}


def figures(scores: Mapping[str, ByMetric], *, prefix: str) -> dict[str, float]:
    """The means over users by "TABLE: SYSTEM: METRIC"."""
    return {
        f"{prefix}: {name}: {metric}": means(one)[metric] or 0.0 for name, one in scores.items() for metric in METRICS
    }


def tables(results: Sequence[Result]) -> list[Table]:
    """The two tables of the protocol, never mixed."""
    return [table(of(results, BLEND), name) for name in TABLES]


def table(own: Sequence[Result], name: str) -> Table:
    """One row for each system: its means over the seeds, and by how much the blend is above it, for each seed."""
    keys = [key for key in own[0]["metrics"] if key.startswith(f"{name}: ") and key.endswith(METRICS[1])]
    systems = [key.removeprefix(f"{name}: ").removesuffix(f": {METRICS[1]}") for key in keys]
    values = {
        system: [float(np.mean([one["metrics"][f"{name}: {system}: {metric}"] for one in own])) for metric in METRICS]
        for system in systems
    }
    ranked = sorted((system for system in systems if values[system][1] > 0), key=lambda system: -values[system][1])
    rows = []
    for system in ranked:
        gaps = [
            "; ".join(span(one["intervals"][f"{name}: {metric} - {system}"]) for one in own) if system != BLEND else ""
            for metric in METRICS
        ]
        rows.append((system, *(f"{value:.4f}" for value in values[system]), *gaps))
    leads = [
        [
            values[BLEND][place] / max(values[s][place] for s in systems if s not in (BLEND, *left)) - 1
            for place in (0, 1)
        ]
        for left in ((), (TOWER,))
    ]
    note = (
        f"{PROTOCOL}; {name}; means over the {'seed' if len(own) == 1 else 'seeds'} "
        f"{', '.join(str(one['seed']) for one in own)}. The blend is {leads[0][0]:+.1%} R@20 and {leads[0][1]:+.1%} "
        f"NDCG@20 above the best of all others by each figure, {leads[1][0]:+.1%} and {leads[1][1]:+.1%} above "
        "the best without our two-tower. Settings chosen on the 28 days before; the search for those of the baselines "
        "stands in online-retail-search, sources that have no random numbers are the same for all seeds."
    )
    columns = ("system", "R@20", "NDCG@20", "R@20: blend - system, 95 %, each seed", "NDCG@20: blend - system")
    return Table(f"online_retail, {name}: the blend", columns, rows, note)
