"""What the recommendation jobs share: snapshots, text vectors and two-tower runs that several units use."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pydantic import BaseModel

from benchmarks.job import Measured, Place
from feature_store.snapshot import Snapshot, build_snapshot
from recsys.bundle.manifest import ComponentInfo
from recsys.bundle.recommenders import COMPONENTS
from recsys.catalogue import Catalogue
from recsys.engine.recommenders import load_recommender
from recsys.metrics.intervals import Interval, paired_bootstrap
from recsys.retrieval.two_tower import TwoTowerRecommender
from recsys.storage import atomic_file
from recsys.types import Recommender, Vectors
from training.evaluate.measured import ByMetric, means
from training.holdout import Holdout
from training.metric_log import Silent
from training.stage import find_stage
from training.two_tower.config import TwoTowerSettings
from training.two_tower.read import catalogue_text
from training.two_tower.train import train_component


@dataclass(frozen=True)
class Bench:
    """One shop's snapshot and what is computed from it once.

    Attributes:
        shop: folder of the real data.
        place: where the job works.
    """

    shop: str
    place: Place

    @cached_property
    def snapshot(self) -> Snapshot:
        """The shop's snapshot, built at the first call."""
        folder = self.place.work / "snapshot"
        if not folder.exists():
            build_snapshot(self.place.data / self.shop, out=folder)
        return Snapshot.open(folder)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The shop's products."""
        return self.snapshot.catalogue()

    @cached_property
    def text(self) -> Vectors:
        """float32 [products, width], text vectors of the stock encoder; kept between runs."""
        file = self.place.work / "text.npy"
        if not file.exists():
            with atomic_file(file) as partial, partial.open("wb") as stream:
                np.save(stream, catalogue_text(self.catalogue, folder=None), allow_pickle=False)
        vectors: Vectors = np.load(file, allow_pickle=False)
        return vectors

    def train(self, stage: str, *, config: BaseModel, refit: bool, key: str) -> tuple[Recommender, ComponentInfo]:
        """The recommender of a stage; two-tower runs of one key and settings go on where they stopped."""
        key = f"{key}-{hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:8]}"
        component = self.place.work / "components" / f"{key}-{'refit' if refit else 'no-refit'}"
        work = self.place.work / "runs" / key
        if isinstance(config, TwoTowerSettings):
            info = train_component(
                self.snapshot,
                catalogue=self.catalogue,
                text=self.text if config.text else None,
                config=config,
                folder=component,
                work=work,
                run=Silent(),
                refit=refit,
            )
            return TwoTowerRecommender.load(component, catalogue=self.catalogue, text=self.text), info
        info = find_stage(stage).train(
            self.snapshot, config=config, folder=component, work=work, run=Silent(), base=None, start=None, refit=refit
        )
        return load_recommender(COMPONENTS[stage], component, catalogue=self.catalogue), info

    def holdout(self, *, repeats: bool) -> Holdout:
        """The test users."""
        return Holdout.read(self.snapshot, catalogue=self.catalogue, part="test", repeats=repeats)


def compare(
    own: ByMetric, baselines: Mapping[str, ByMetric], *, metrics: tuple[str, ...], seed: int
) -> dict[str, Interval]:
    """Paired intervals over users: "recall@10 - item-knn" and so on."""
    return {
        f"{metric} - {name}": paired_bootstrap(own[metric], scores[metric], seed=seed)
        for name, scores in baselines.items()
        for metric in metrics
    }


def measured(
    own: ByMetric,
    *,
    baselines: Mapping[str, ByMetric],
    metrics: tuple[str, ...],
    counts: Mapping[str, int],
    info: ComponentInfo | None = None,
    prefix: str = "",
) -> Measured:
    """One unit's figures: means over users, intervals against each baseline, what was chosen."""
    intervals = compare(own, baselines, metrics=metrics, seed=0)
    values = {name: value for name, value in means(own).items() if value is not None}
    validation = info.metrics if info else {}
    return Measured(
        metrics={prefix + name: value for name, value in values.items()} | dict(validation),
        intervals={prefix + name: interval for name, interval in intervals.items()},
        counts=counts,
        config=dict(info.config) if info else {},
    )
