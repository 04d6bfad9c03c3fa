"""Switches of the two-tower on a shop with a calendar, each against the defaults of its profile (online_retail).

Each row learns from what lies before the validation days and is measured on them, on products that a user had not
bought, with the epoch that is best there. No test event is read. What most of them are for, calendar, clock, spans
between events, does not exist in a shop without a calendar, or has its rows in beauty-screening.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.job import Measured, Place, Result, Table, Unit
from benchmarks.jobs.online_retail import choose
from benchmarks.recommenders import Bench
from training.two_tower.config import TwoTowerSettings

PROTOCOL = "time split, the 28 days before the test days, no refit, full ranking, averaged over ties; repeats excluded"
SHOPS = ("online_retail",)
SEEDS = (0, 1)
METRICS = ("recall@20", "ndcg@20")
PLAIN = "the defaults"
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    PLAIN: {},
    "ids alone": {"text": False, "id_dropout": 0.0},
    "popularity and age (calendar)": {"calendar": True},
    "hour and weekday (clock)": {"clock": True},
    "price buckets (features)": {"features": True},
    "two blocks of attention over spans of time": {"blocks": 2, "pool": "last", "positions": True, "spans": 32},
    "two blocks of attention": {"blocks": 2, "pool": "last", "positions": True},
    "all states of a history": {"states": 0},
    "the next basket alone": {"horizon": 1},
    "cosine, learned temperature": {"similarity": "cosine", "learned_temperature": True},
    "the step's own targets as negatives": {"in_batch": True},
    "1,024 negatives": {"negatives": 1024},
    "all events read": {"event_dropout": 0.0},
    "old targets count alike": {"half_life_days": 0.0, "last_half_life_days": 0.0},
}
UNITS = tuple(Unit(name, seed=seed) for seed in SEEDS for name in VARIANTS)


def measure(unit: Unit, place: Place) -> Measured:
    """One row on the validation days."""
    bench = Bench(shop=SHOPS[0], place=place.of("online-retail"))
    _, plain = choose("two-tower", seed=unit.seed or 0)
    config = TwoTowerSettings.model_validate({**plain.model_dump(), **VARIANTS[unit.variant]})
    _, info = bench.train("two-tower", config=config, refit=False, key=f"two-tower-{unit.seed}")
    return Measured(metrics=info.metrics, config=dict(info.config))


def tables(results: Sequence[Result]) -> list[Table]:
    """The rows by what they bring, the mean over the seeds that were measured."""
    by_name = {name: [result for result in results if result["variant"] == name] for name in VARIANTS}
    found = {name: own for name, own in by_name.items() if own}
    values = {name: {metric: validation(own, metric) for metric in METRICS} for name, own in found.items()}
    rows = [
        (
            name,
            str(len(own)),
            *(f"{values[name][metric]:.4f}" for metric in METRICS),
            gain(own, found.get(PLAIN, []), plain_row=name == PLAIN),
            f"{np.mean([result['seconds'] for result in own]) / 60:.0f}",
        )
        for name, own in sorted(found.items(), key=lambda row: -values[row[0]][METRICS[1]])
    ]
    note = (
        f"{PROTOCOL}. {len(rows)} settings tried; the gain is over the defaults at the same seeds. Minutes on a "
        "machine that others used, too."
    )
    columns = ("settings", "seeds", "R@20", "NDCG@20", "NDCG@20 - the defaults'", "minutes")
    return [Table("online_retail, settings of the two-tower", columns, rows, note)]


def validation(results: Sequence[Result], metric: str) -> float:
    """The mean of a figure on the validation days."""
    return float(np.mean([result["metrics"][f"validation/{metric}"] for result in results]))


def gain(own: Sequence[Result], plain: Sequence[Result], *, plain_row: bool = False) -> str:
    """The mean gain in NDCG@20 at the seeds that both have; "-" without any."""
    metric = f"validation/{METRICS[1]}"
    base = {result["seed"]: result["metrics"][metric] for result in plain}
    gaps = [result["metrics"][metric] - base[result["seed"]] for result in own if result["seed"] in base]
    return "-" if plain_row or not gaps else f"{np.mean(gaps):+.4f}"
