"""A month of nights: a two-tower that goes on from the night before, against one that learns from the beginning.

Night 0 learns from the beginning. Each later night knows one day more: "updated" goes on from the night before, "anew"
learns from the beginning as the product does it (epochs chosen on the validation days, then the refit), and "left
alone" is night 0's model as it was. What users bought in the seven days behind the night, or until the data ends, is to
be found; a later night's history is longer, so nights are compared within themselves. A night on which nothing was sold
keeps the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from benchmarks.job import Measured, Place, Result, Table, Unit, of, span
from benchmarks.recommenders import Bench
from feature_store.snapshot import Snapshot, build_snapshot
from recsys.bundle.manifest import ComponentInfo
from recsys.catalogue import Catalogue
from recsys.errors import NothingToLearnError
from recsys.metrics.intervals import paired_bootstrap
from recsys.retrieval.two_tower import TwoTowerRecommender
from recsys.storage import write_text
from recsys.types import Recommender, Vectors
from training.evaluate.measured import ByMetric, means
from training.holdout import Holdout
from training.metric_log import Silent
from training.two_tower.config import TwoTowerSettings
from training.two_tower.start import Start
from training.two_tower.train import train_component

PROTOCOL = "time split, the seven days behind each of 28 nights, full ranking, averaged over ties; seconds of one night"
SHOPS = ("online_retail",)
SEEDS = (0, 1, 2)
NIGHTS, SOLD_DAYS, WEEK = 28, 7, 7
EVERY = 3
"""Nights between two that are also learned from the beginning, which takes minutes each."""
UPDATED, ANEW, ALONE = "updated", "anew", "left alone"
METRICS = ("recall@20", "ndcg@20")
TABLES = ("repeats excluded", "repeats allowed")
UNITS = tuple(
    Unit(variant, fold=night, seed=seed)
    for seed in SEEDS
    for variant, nights in ((UPDATED, range(1, NIGHTS)), (ANEW, range(EVERY, NIGHTS, EVERY)))
    for night in nights
)


def settings(*, seed: int) -> TwoTowerSettings:
    """Those of the online_retail job."""
    return TwoTowerSettings(seed=seed, profile="baskets").resolved(basket=0.0)


@dataclass(frozen=True)
class Night:
    """What is known on a night, and where its models stand.

    Attributes:
        number: 0-based; night 0 is the evening before the online_retail job's test days.
        shop: the whole shop, with the text vectors of its products.
        seed: of the training.
    """

    number: int
    shop: Bench
    seed: int

    @cached_property
    def snapshot(self) -> Snapshot:
        """The shop as of the days that are to be found: they are the test part."""
        folder = self.shop.place.work / f"night-{self.number}"
        if not folder.exists():
            end = self.shop.snapshot.manifest.watermark
            left = NIGHTS - self.number
            days = min(left, SOLD_DAYS)
            build_snapshot(
                self.shop.place.data / self.shop.shop,
                out=folder,
                split="time",
                as_of=None if end is None else end - timedelta(days=left - days),
                options={"test_days": str(days)},
            )
        return Snapshot.open(folder)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The products of the night."""
        return self.snapshot.catalogue()

    @property
    def text(self) -> Vectors:
        """float32 [products, width], their text vectors."""
        return self.shop.text[self.shop.catalogue.positions(self.catalogue.product_ids)]

    def train(self, variant: str, *, start: Start | None = None) -> tuple[Start, float]:
        """The night's model of a variant and the seconds that it took; made once, and gone on with where killed."""
        place = self.shop.place.work / f"{variant}-seed{self.seed}" / f"night-{self.number}"
        folder, done = place / "two_tower", place / "info.json"
        if not done.exists():
            begun = perf_counter()
            info = train_component(
                self.snapshot,
                catalogue=self.catalogue,
                text=self.text,
                config=settings(seed=self.seed),
                folder=folder,
                work=place / "work",
                run=Silent(),
                refit=True,
                start=start,
            )
            info = info.model_copy(update={"metrics": {**info.metrics, "seconds": perf_counter() - begun}})
            write_text(done, info.model_dump_json())
        return read(place)

    def recommender(self, start: Start) -> Recommender:
        """A model over the night's products."""
        return TwoTowerRecommender.load(start.folder, catalogue=self.catalogue, text=self.text)

    def score(self, start: Start) -> ByMetric:
        """Each user's figures, of both tables by prefix; NaN where nothing is to be found."""
        found: dict[str, NDArray[np.float64]] = {}
        for table in TABLES:
            holdout = Holdout.read(
                self.snapshot, catalogue=self.catalogue, part="test", repeats=table == "repeats allowed"
            )
            scores = holdout.score(self.recommender(start))
            found |= {f"{table}: {metric}": scores[metric] for metric in METRICS}
        return found


def read(place: Path) -> tuple[Start, float]:
    """A model that stands, and the seconds that it took."""
    info = ComponentInfo.model_validate_json((place / "info.json").read_bytes())
    return Start(place / "two_tower", info), info.metrics["seconds"]


def updated(night: Night) -> tuple[Start, float]:
    """The model that has gone on every night until this one, and the seconds of this night."""
    model, seconds = Night(0, night.shop, night.seed).train(ANEW)
    for number in range(1, night.number + 1):
        before = model
        begun = perf_counter()
        try:
            model, seconds = Night(number, night.shop, night.seed).train(UPDATED, start=before)
        except NothingToLearnError:
            model, seconds = before, perf_counter() - begun
    return model, seconds


def measure(unit: Unit, place: Place) -> Measured:
    """One night of a variant against those that it is held against, on the users of the days behind it."""
    shop = Bench(shop=SHOPS[0], place=place)
    night = Night(unit.fold or 0, shop, unit.seed or 0)
    alone = Night(0, shop, night.seed).train(ANEW)[0]
    others = {ALONE: alone} if unit.variant == UPDATED else {UPDATED: updated(night)[0], ALONE: alone}
    model, seconds = updated(night) if unit.variant == UPDATED else night.train(ANEW)
    own, theirs = night.score(model), {name: night.score(other) for name, other in others.items()}
    sizes = {name: int(np.isfinite(values).sum()) for name, values in own.items()}
    found = {f"{name}: {metric}": value for name, scores in theirs.items() for metric, value in known(scores).items()}
    return Measured(
        metrics={**known(own), **found, "training seconds": seconds},
        intervals={
            f"{metric} - {name}": paired_bootstrap(own[metric], scores[metric], seed=0)
            for name, scores in theirs.items()
            for metric in own
            if sizes[metric] > 1
        },
        counts={f"users, {table}": sizes[f"{table}: {METRICS[0]}"] for table in TABLES},
        config=dict(model.info.config),
    )


def known(scores: ByMetric) -> dict[str, float]:
    """The means of what has one."""
    return {name: value for name, value in means(scores).items() if value is not None}


def tables(results: Sequence[Result]) -> list[Table]:
    """Both tables over the month, by night where the same night was also learned from the beginning; then by week."""
    by_night = [table(results, name) for name in TABLES if of(results, ANEW)]
    return [*by_night, weeks(results)] if of(results, UPDATED) else by_night


def table(results: Sequence[Result], name: str) -> Table:
    """The nights that were also learned from the beginning, and the means over them."""
    metric = f"{name}: {METRICS[1]}"
    anew = [result for result in of(results, ANEW) if metric in result["metrics"]]
    by_night = {(one["fold"], one["seed"]): one["metrics"]["training seconds"] for one in of(results, UPDATED)}
    rows = [
        (
            f"{one['fold']}, seed {one['seed']}",
            *(f"{one['metrics'][key]:.4f}" for key in (f"{UPDATED}: {metric}", metric, f"{ALONE}: {metric}")),
            span(one["intervals"][f"{metric} - {UPDATED}"]) if f"{metric} - {UPDATED}" in one["intervals"] else "-",
            f"{by_night[one['fold'], one['seed']]:.0f}" if (one["fold"], one["seed"]) in by_night else "-",
            f"{one['metrics']['training seconds']:.0f}",
        )
        for one in anew
    ]
    gaps = [one["metrics"][f"{UPDATED}: {metric}"] - one["metrics"][metric] for one in anew]
    spread = float(np.std(gaps, ddof=1) / len(gaps) ** 0.5) if len(gaps) > 1 else float("nan")
    slow, fast = (float(np.mean(list(values))) if values else float("nan") for values in (
        [one["metrics"]["training seconds"] for one in anew], list(by_night.values())
    ))  # fmt: skip
    note = (
        f"Updated less anew over {len(gaps)} nights: {np.mean(gaps) if gaps else float('nan'):+.4f} NDCG@20, standard "
        f"error over nights {spread:.4f}, whose days overlap. A training from the beginning takes {slow:.0f} seconds, "
        f"an update {fast:.0f}, both without the text vectors and the snapshot. {name}; the interval is of anew less "
        "updated, over users."
    )
    columns = ("night", "updated", "anew", "left alone", "anew - updated, 95 %", "s, updated", "s, anew")
    return Table(f"online_retail by night, NDCG@20, {name}", columns, rows, note)


def weeks(results: Sequence[Result]) -> Table:
    """What updating is worth by the week: every night's update against the first night's model as it was."""
    rows = []
    for name in TABLES:
        metric = f"{name}: {METRICS[1]}"
        for first in range(1, NIGHTS, WEEK):
            nights = range(first, min(first + WEEK, NIGHTS))
            own = [one for one in of(results, UPDATED) if one["fold"] in nights and metric in one["metrics"]]
            if own:
                new, old = (np.array([one["metrics"][key] for one in own]) for key in (metric, f"{ALONE}: {metric}"))
                gaps = new - old
                error = f"{np.std(gaps, ddof=1) / len(gaps) ** 0.5:.4f}" if len(gaps) > 1 else "-"
                means_of = (f"{new.mean():.4f}", f"{old.mean():.4f}", f"{gaps.mean():+.4f}", error)
                rows.append((f"{name}, nights {nights[0]} to {nights[-1]}", str(len(own)), *means_of))
    note = (
        "A night on which nothing is to be found is left out. The standard error is over nights, whose days overlap. "
        "The more a shop has changed since the first night, the more an update is worth."
    )
    columns = ("week", "nights", "updated", "left alone", "updated - left alone", "standard error")
    return Table("online_retail by week, NDCG@20: updated every night, against left alone", columns, rows, note)
