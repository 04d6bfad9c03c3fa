"""Settings of the two-tower, each against the defaults, on ids alone and with titles, brands and categories (beauty).

On ids alone the order of events is all that is read, as in a shop without titles. Rows that name neither batches nor
negatives have 256 and 1,024. Each row learns from what lies before
the validation events and is measured on them, with the epoch that is best there. No test event is read.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.job import Measured, Place, Result, Table, Unit
from benchmarks.jobs.beauty import IDS, choose
from benchmarks.recommenders import Bench
from training.two_tower.config import TwoTowerSettings

PROTOCOL = "leave-one-out, validation events, no refit, full ranking, averaged over ties; one seed"
SHOPS = ("beauty",)
METRICS = ("recall@10", "ndcg@10")
WORDS = "with texts: "
BROAD: Mapping[str, Any] = {"negatives": 1024, "batch_size": 256}
"""What was the default when most rows were measured."""
CHOSEN = "batches of 128, 3,000 negatives"
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "1,024 negatives": BROAD,
    "dropout .5": {**BROAD, "dropout": 0.5},
    "dropout .2": {**BROAD, "dropout": 0.2},
    "negatives by popularity ** .5": {**BROAD, "popularity_power": 0.5},
    "batches of 128": {"negatives": 1024, "batch_size": 128},
    "twice the rate": {**BROAD, "learning_rate": 2e-3},
    "four times the rate": {**BROAD, "learning_rate": 4e-3},
    "3,000 negatives": {**BROAD, "negatives": 3000},
    "6,000 negatives": {**BROAD, "negatives": 6000},
    CHOSEN: {"negatives": 3000, "batch_size": 128},
    f"{CHOSEN}, a fifth of the events not read": {"event_dropout": 0.2},
    f"{CHOSEN}, weight decay .1": {"weight_decay": 0.1},
    f"{CHOSEN}, 36 epochs": {"epochs": 36},
    f"{CHOSEN}, averaged weights (EMA .999)": {"ema": 0.999},
    f"{CHOSEN}, 256 wide": {"width": 256},
    f"{WORDS}1,024 negatives": BROAD,
    f"{WORDS}twice the rate": {**BROAD, "learning_rate": 2e-3},
    f"{WORDS}batches of 128": {"negatives": 1024, "batch_size": 128},
    f"{WORDS}6,000 negatives": {**BROAD, "negatives": 6000},
}
UNITS = tuple(Unit(name, seed=0) for name in VARIANTS)


def measure(unit: Unit, place: Place) -> Measured:
    """One row on the validation events."""
    bench = Bench(shop=SHOPS[0], place=place.of("beauty"))
    stage, plain = choose("two-tower" if unit.variant.startswith(WORDS) else IDS, seed=unit.seed or 0)
    config = TwoTowerSettings.model_validate({**plain.model_dump(), **VARIANTS[unit.variant]})
    _, info = bench.train(stage, config=config, refit=False, key=f"{stage}-{unit.seed}")
    return Measured(metrics=info.metrics, config=dict(info.config))


def tables(results: Sequence[Result]) -> list[Table]:
    """The rows by what they bring."""
    ranked = sorted(results, key=lambda result: -result["metrics"][f"validation/{METRICS[1]}"])
    rows = [
        (
            result["variant"],
            *(f"{result['metrics'][f'validation/{metric}']:.4f}" for metric in METRICS),
            str(result["config"].get("best_epoch", "-")),
            f"{result['seconds'] / 60:.0f}",
        )
        for result in ranked
    ]
    note = f"{PROTOCOL}. {len(rows)} settings tried. Minutes on a machine that others used, too."
    return [
        Table("beauty, settings of the two-tower", ("settings", "R@10", "NDCG@10", "best epoch", "minutes"), rows, note)
    ]
