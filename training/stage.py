"""What `recsys train` asks of a stage, and the table of stages."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import ComponentInfo
from recsys.bundle.read import Bundle
from recsys.errors import UsageError
from recsys.registry.client import Registry
from recsys.settings import Settings
from training.metric_log import MetricLog

REPORT = "report.json"
"""What a stage that finds out more than metrics leaves in its working folder, as one JSON object."""


class Stage(Protocol):
    """One way to learn one component of a bundle."""

    name: str
    kind: str
    component: str
    config_type: type[BaseModel]

    def train(
        self,
        snapshot: Snapshot,
        *,
        config: BaseModel,
        folder: Path,
        work: Path,
        run: MetricLog,
        base: Bundle | None,
        start: Path | None,
        refit: bool,
    ) -> ComponentInfo:
        """Learn the component and write its files.

        Args:
            snapshot: the training data; the test part is never read.
            config: settings of the stage's `config_type`.
            folder: where the component's files go; empty at the start.
            work: where resume checkpoints live; kept when the run is killed, so that the same command goes on.
            run: receives metrics by epoch; silent in all processes but the first.
            base: the bundle whose other components stand beside the new one, where the stage needs one of them.
            start: component folder from whose weights to start; None starts from the stage's own default.
            refit: after settings and epochs are chosen on the validation part, learn anew on train and validation.

        Returns:
            The component's manifest entry; `metrics` are those of the validation part before the refit.
        """
        ...


@runtime_checkable
class JoinsShops(Protocol):
    """A stage that can learn from the snapshots of several shops in one run."""

    def beside(self, others: Sequence[Snapshot]) -> Stage:
        """The stage that learns from these as well; their test parts are never read."""
        ...


@runtime_checkable
class LooksUp(Protocol):
    """A stage whose settings name models or snapshots that it learns from."""

    def looking_up(self, config: BaseModel, *, start: Path | None, registry: Registry, settings: Settings) -> Stage:
        """The stage that has found them.

        Args:
            config: settings of the stage's `config_type`.
            start: component folder from whose weights training starts; None for the stage's own default.
            registry: where models are named.
            settings: say where snapshots live.
        """
        ...

    def told(self) -> Mapping[str, Any]:
        """What tells one run from another beside its settings; nothing where there is nothing."""
        ...


STAGES: Mapping[str, str] = {
    "relevance": "training.relevance.stage:RelevanceStage",
    "calibration": "training.calibration.stage:CalibrationStage",
    "retriever": "training.retriever.stage:RetrieverStage",
    "images": "training.images.stage:ImagesStage",
    "blender": "training.blender.stage:BlenderStage",
    "two-tower": "training.two_tower.train:TwoTowerStage",
    "als": "training.factors:AlsStage",
    "bpr": "training.factors:BprStage",
    "item-knn": "training.item_knn:ItemKnnStage",
    "popularity": "training.popularity:PopularityStage",
    "bought-together": "training.bought_together:BoughtTogetherStage",
    "repeat": "training.repeat:RepeatStage",
    "trending": "training.trending:TrendingStage",
    "category-popularity": "training.category_popularity:CategoryPopularityStage",
    "recommend-blender": "training.recommend_blender.stage:RecommendBlenderStage",
}


def find_stage(name: str) -> Stage:
    """The stage by name.

    Raises:
        UsageError: there is no such stage.
    """
    if name not in STAGES:
        raise UsageError(f"no stage {name!r}", expected=f"one of {', '.join(STAGES)}", action="see recsys train --help")
    module, _, attribute = STAGES[name].partition(":")
    stage: Stage = getattr(importlib.import_module(module), attribute)()
    return stage
