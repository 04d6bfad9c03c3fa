"""Products that no training event names: a tenth of beauty's, hidden by a hash of their ids.

Every training event on a hidden product is left out. Test events are those on hidden products, each with what its user
had before it, hidden products included: they are known by their text. A user's later events may stand in the training
part. What carrying new products costs the others is told by the leave-one-out test of the events that are left: ranked
among all products, and among those alone that have events.
"""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from benchmarks.job import Measured, Place, Result, Table, Unit, mean, of, span
from benchmarks.recommenders import Bench
from feature_store.snapshot import Snapshot, build_snapshot
from recsys.catalogue import Catalogue
from recsys.metrics.intervals import paired_bootstrap
from recsys.retrieval.dense import DenseIndex
from recsys.retrieval.text_neighbours import TextNeighbours
from recsys.retrieval.two_tower import TwoTowerRecommender
from recsys.types import EVENT_CODES, Candidates, Mask, PositionHistories, Positions, Recommender, Vectors
from training.evaluate.trial import Trial
from training.holdout import Holdout
from training.metric_log import Silent
from training.two_tower.config import TwoTowerSettings
from training.two_tower.train import train_component

PROTOCOL = (
    "cold products: 10 % hidden by id hash, R@10 (a) among the hidden, (b) among all; full ranking, ties averaged"
)
SHOPS = ("beauty",)
SEEDS = (0, 1, 2)
SHARE = 10  # one product in so many is hidden
TEXT, TOWER, IDS = "text neighbours of the last product", "two-tower", "two-tower on ids alone"
UNITS = (Unit(TEXT), *(Unit(name, seed=seed) for seed in SEEDS for name in (TOWER, IDS)))
AMONG, ALL, WARM = "recall@10 among the hidden", "recall@10 among all", "recall@10 of warm products"
APART = "recall@10 of warm products among themselves"


@dataclass(frozen=True)
class Cold:
    """beauty without its hidden products' events.

    Attributes:
        place: where the job works.
    """

    place: Place

    @cached_property
    def snapshot(self) -> Snapshot:
        """The shop's snapshot without them, built at the first call."""
        folder = self.place.work / "snapshot"
        if not folder.exists():
            shop, own = self.place.work / "shop", self.place.data / "beauty"
            shutil.rmtree(shop, ignore_errors=True)
            shop.mkdir(parents=True)
            for name in ("shop.toml", "products.parquet"):
                shutil.copyfile(own / name, shop / name)
            events = pl.read_parquet(own / "events.parquet")
            kept = events.filter(~pl.Series([hides(product) for product in events["product_id"]]))
            kept.write_parquet(shop / "events.parquet")
            build_snapshot(shop, out=folder)
        return Snapshot.open(folder)

    @cached_property
    def catalogue(self) -> Catalogue:
        """All products, hidden ones as well."""
        return self.snapshot.catalogue()

    @cached_property
    def text(self) -> Vectors:
        """float32 [products, width], text vectors of the stock encoder."""
        return Bench(shop="beauty", place=self.place.of("beauty")).text

    @cached_property
    def hidden(self) -> Mask:
        """bool [products]."""
        return np.array([hides(product) for product in self.catalogue.product_ids], dtype=np.bool_)

    @cached_property
    def events(self) -> Holdout:
        """Every event on a hidden product that is not its user's first, with the history before it."""
        whole = pl.read_parquet(self.place.data / "beauty" / "events.parquet").sort("user_id", "timestamp")
        positions = self.catalogue.positions(whole["product_id"])
        users = whole["user_id"].rle_id().to_numpy()
        firsts = np.searchsorted(users, users)
        asked = np.flatnonzero(self.hidden[positions] & (np.arange(len(users)) > firsts))
        sizes = asked - firsts[asked]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        read = np.arange(offsets[-1]) + np.repeat(firsts[asked] - offsets[:-1], sizes)
        histories = PositionHistories(
            offsets=offsets,
            positions=positions[read],
            timestamps=whole["timestamp"].dt.timestamp("us").to_numpy()[read],
            event_types=np.full(len(read), EVENT_CODES["purchase"], dtype=np.int8),
        )
        relevant = [positions[event : event + 1] for event in asked]
        names = [str(number) for number in range(len(asked))]
        trial = Trial(
            names, histories, ("",) * len(asked), relevant, left_out=int(self.hidden[positions].sum()) - len(asked)
        )
        owned = [np.unique(histories.of(row)) for row in range(len(asked))]
        fresh = [np.setdiff1d(product, own) for product, own in zip(relevant, owned, strict=True)]
        return Holdout(trial, fresh, owned, len(self.catalogue))

    @cached_property
    def chance(self) -> float:
        """R@10 among the hidden of a ranking by lot."""
        exclude = self.events.exclude or []
        left = [int(self.hidden.sum()) - int(self.hidden[own].sum()) for own in exclude]
        return float(np.mean([min(1.0, 10 / count) for count in left]))


@dataclass(frozen=True)
class Among:
    """A recommender that may bring some products alone."""

    recommender: Recommender
    allowed: Mask

    @property
    def name(self) -> str:
        """That of the recommender."""
        return self.recommender.name

    def recommend(
        self,
        histories: PositionHistories,
        *,
        k: int,
        allowed: Mask | None = None,
        exclude: Sequence[Positions] | None = None,
    ) -> list[Candidates]:
        """See Recommender."""
        both = self.allowed if allowed is None else self.allowed & allowed
        return self.recommender.recommend(histories, k=k, allowed=both, exclude=exclude)


def hides(product_id: str) -> bool:
    """Whether a product is among the hidden ones."""
    return int(hashlib.sha256(product_id.encode()).hexdigest(), 16) % SHARE == 0


def measure(unit: Unit, place: Place) -> Measured:
    """Both rankings of the hidden products, and that of the others."""
    cold = Cold(place)
    recommender = learned(unit, cold)
    warm = Holdout.read(cold.snapshot, catalogue=cold.catalogue, part="test")
    scores = {
        AMONG: cold.events.score(Among(recommender, cold.hidden), cuts=(10,))["recall@10"],
        ALL: cold.events.score(recommender, cuts=(10,))["recall@10"],
        WARM: warm.score(recommender, cuts=(10,))["recall@10"],
        APART: warm.score(Among(recommender, ~cold.hidden), cuts=(10,))["recall@10"],
    }
    intervals = {WARM: paired_bootstrap(scores[WARM], scores[APART], seed=0)}
    if unit.variant != TEXT:
        base = cold.events.score(Among(neighbours(cold), cold.hidden), cuts=(10,))["recall@10"]
        intervals[AMONG] = paired_bootstrap(scores[AMONG], base, seed=0)
    return Measured(
        metrics={**{name: float(np.nanmean(values)) for name, values in scores.items()}, "by lot": cold.chance},
        intervals=intervals,
        counts={
            "hidden products": int(cold.hidden.sum()),
            "events": int(np.isfinite(scores[AMONG]).sum()),
            "warm users": int(np.isfinite(scores[WARM]).sum()),
        },
    )


def learned(unit: Unit, cold: Cold) -> Recommender:
    """The recommender of a row."""
    if unit.variant == TEXT:
        return neighbours(cold)
    config = TwoTowerSettings(patience=0, text=unit.variant == TOWER, seed=unit.seed or 0).resolved(basket=0.0)
    component = cold.place.work / "components" / unit.stem
    text = cold.text if config.text else None
    train_component(
        cold.snapshot,
        catalogue=cold.catalogue,
        text=text,
        config=config,
        folder=component,
        work=cold.place.work / "runs" / unit.stem,
        run=Silent(),
        refit=True,
    )
    return TwoTowerRecommender.load(component, catalogue=cold.catalogue, text=text)


def neighbours(cold: Cold) -> Recommender:
    """Text neighbours of the last product alone."""
    folder = cold.place.work / "text"
    index = DenseIndex.open(folder) if folder.exists() else DenseIndex.build(cold.text, folder, kind="flat")
    return TextNeighbours(index, latest=1)


def tables(results: Sequence[Result]) -> list[Table]:
    """One row for each recommender, over its seeds."""
    rows = []
    for variant in (TEXT, TOWER, IDS):
        own = of(results, variant)
        gaps = "; ".join(span(result["intervals"][AMONG]) for result in own if AMONG in result["intervals"])
        if own:
            lost = "; ".join(span(result["intervals"][WARM]) for result in own if WARM in result["intervals"])
            rows.append((variant, *(mean(own, name) for name in (AMONG, ALL, WARM)), lost or "-", gaps or "-"))
    if not rows:
        return []
    first = results[0]
    note = (
        f"{first['counts']['hidden products']:,} hidden products, {first['counts']['events']:,} test events; by lot "
        f"R@10 among the hidden is {first['metrics']['by lot']:.4f}. Warm: leave-one-out over "
        f"{first['counts']['warm users']:,} users. {PROTOCOL}."
    )
    columns = (
        "recommender",
        "(a) among the hidden",
        "(b) among all",
        "warm products",
        "warm: new ones among the candidates - without them",
        "(a) - text neighbours, 95 %, each seed",
    )
    return [Table("beauty, products without events", columns, rows, note)]
