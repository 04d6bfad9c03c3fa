"""Which stages a shop's data can support, which of them are due, and when a first model may go live."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from feature_store.manifest import Manifest
from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import PRODUCT_SEARCH, RECOMMENDER
from recsys.errors import SnapshotError
from recsys.promotion import BASELINES, GAIN, Promotions
from recsys.registry.version import CHALLENGER, Version
from recsys.settings import Settings


@dataclass(frozen=True, slots=True)
class Trainable:
    """One stage that `recsys train` knows, and the least data it is worth training on.

    Attributes:
        stage: its name on the command line.
        kind: the model it belongs to.
        component: what it puts into the bundle.
        needs: the smallest count of each kind of row in a snapshot's manifest.
    """

    stage: str
    kind: str
    component: str
    needs: Mapping[str, int]


LOYAL = {"interactions_train": 200, "users_with_interactions": 20}
TRAINABLE = (
    Trainable("retriever", PRODUCT_SEARCH, "text_encoder", {"judgments": 200}),
    Trainable("relevance", PRODUCT_SEARCH, "cross_encoder", {"judgments": 200}),
    Trainable("popularity", RECOMMENDER, "popularity", {"interactions_train": 1}),
    Trainable("item-knn", RECOMMENDER, "item_knn", LOYAL),
    Trainable("als", RECOMMENDER, "als", LOYAL),
    Trainable("bpr", RECOMMENDER, "bpr", LOYAL),
    Trainable("two-tower", RECOMMENDER, "two_tower", {"interactions_train": 2000, "users_with_interactions": 200}),
)
METRIC = "ndcg@10"
TASKS = {PRODUCT_SEARCH: "judged", RECOMMENDER: "recommend"}
STAGES = tuple(one.stage for one in TRAINABLE)


def supported(counts: Mapping[str, int]) -> list[Trainable]:
    """The stages for which a snapshot has enough rows, in the order of training."""
    return [one for one in TRAINABLE if all(counts.get(name, 0) >= least for name, least in one.needs.items())]


def due(one: Trainable, promotions: Promotions, *, manifest: Manifest, settings: Settings, days: float) -> bool:
    """True where a stage was never trained for the shop, or on data that is `days` old by the shop's own clock."""
    registry = promotions.registry
    version = registry.find(one.kind, shop=manifest.shop, alias=CHALLENGER) or registry.find(
        one.kind, shop=manifest.shop
    )
    if version is None:
        return True
    component = registry.fetch(version).manifest.components.get(one.component)
    if component is None or not component.snapshot:
        return True
    if component.snapshot == manifest.snapshot_id:
        return False
    try:
        seen = Snapshot.open(settings.snapshots / component.snapshot, settings=settings).manifest.watermark
    except SnapshotError:
        return True
    return seen is None or manifest.watermark is None or manifest.watermark - seen >= timedelta(days=days)


def gain(report: Mapping[str, Any], *, kind: str) -> float | None:
    """The lower end of the 95 % interval of a model's gain over its baseline; None where it was not measured."""
    against = report.get("baselines", {}).get(BASELINES[kind], {})
    interval = against.get("difference", {}).get(METRIC)
    return None if interval is None else float(interval["low"])


def gain_name(kind: str) -> str:
    """The metric of a version in which the bootstrap rule looks for that gain."""
    return GAIN.format(baseline=BASELINES[kind])


def standing(promotions: Promotions, *, kind: str, shop: str) -> tuple[Version | None, Version | None]:
    """The champion and the challenger of a shop's model, None where there is none."""
    registry = promotions.registry
    return registry.find(kind, shop=shop), registry.find(kind, shop=shop, alias=CHALLENGER)
