"""Which stages a shop's data can support, which of them are due, and when a first model may go live."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from feature_store.manifest import Manifest
from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import PRODUCT_SEARCH, RECOMMENDER
from recsys.bundle.read import Bundle
from recsys.bundle.recommenders import COMPONENTS, changed
from recsys.errors import SnapshotError
from recsys.promotion import BASELINES, GAIN, Promotions
from recsys.ranking.held_out import has_held_out
from recsys.registry.version import CHALLENGER, Version
from recsys.settings import Settings
from recsys.steps import REJECTED


@dataclass(frozen=True, slots=True)
class Trainable:
    """One stage that `recsys train` knows.

    Attributes:
        stage: its name on the command line.
        kind: the model it belongs to.
        component: what it puts into the bundle.
        tier: the tier of `recsys doctor` that the shop's data must support.
        of: the component whose held-out scores it is fitted on, "" where it stands by itself.
        beside: other components whose scores it reads, where there are any.
        goes_on: whether it can go on from its newest model with what is new since.
        blends: whether it is learned over all the model's other recommenders, by the settings that they had.
    """

    stage: str
    kind: str
    component: str
    tier: str
    of: str = ""
    beside: tuple[str, ...] = ()
    goes_on: bool = False
    blends: bool = False


VECTORS = ("text_encoder", "image_tower")
TRAINABLE = (
    Trainable("retriever", PRODUCT_SEARCH, "text_encoder", "relevance"),
    Trainable("relevance", PRODUCT_SEARCH, "cross_encoder", "relevance"),
    Trainable("calibration", PRODUCT_SEARCH, "calibration", "relevance", of="cross_encoder", beside=VECTORS),
    Trainable("blender", PRODUCT_SEARCH, "blender", "relevance", of="cross_encoder", beside=VECTORS),
    Trainable("popularity", RECOMMENDER, "popularity", "popularity"),
    Trainable("category-popularity", RECOMMENDER, "category_popularity", "popularity"),
    Trainable("trending", RECOMMENDER, "trending", "popularity"),
    Trainable("repeat", RECOMMENDER, "repeat", "popularity"),
    Trainable("bought-together", RECOMMENDER, "bought_together", "behavioural"),
    Trainable("item-knn", RECOMMENDER, "item_knn", "behavioural"),
    Trainable("als", RECOMMENDER, "als", "behavioural"),
    Trainable("bpr", RECOMMENDER, "bpr", "behavioural"),
    Trainable("two-tower", RECOMMENDER, "two_tower", "personalised", goes_on=True),
    Trainable("recommend-blender", RECOMMENDER, "recommend_blender", "behavioural", blends=True),
)
"""Every stage that a night may train, in this order: what reads others' scores comes after them, and popularity, the
recommenders' baseline, is a version of its own before any other stands beside it."""
METRIC = "ndcg@10"
TASKS = {PRODUCT_SEARCH: "judged", RECOMMENDER: "recommend"}
STAGES = tuple(one.stage for one in TRAINABLE)


def supported(tiers: Iterable[Mapping[str, Any]]) -> list[Trainable]:
    """The stages for which `recsys doctor` finds enough data, in the order of training."""
    reached = {tier["name"] for tier in tiers if tier["supported"]}
    return [one for one in TRAINABLE if one.tier in reached]


def newest(one: Trainable, promotions: Promotions, *, shop: str) -> Bundle | None:
    """The bundle that a training of the stage would take over: the challenger, else the champion; None without any."""
    registry = promotions.registry
    version = registry.find(one.kind, shop=shop, alias=CHALLENGER) or registry.find(one.kind, shop=shop)
    return None if version is None else registry.fetch(version)


def lacking(one: Trainable, promotions: Promotions, *, shop: str) -> str:
    """What a stage needs and does not find: the component that it is fitted on, its held-out scores; "" for nothing."""
    if not one.of and not one.blends:
        return ""
    bundle = newest(one, promotions, shop=shop)
    if one.blends:
        some = bundle is not None and any(name in bundle.manifest.components for name in COMPONENTS.values())
        return "" if some else "the model has no recommender yet"
    place = None if bundle is None else bundle.component(one.of)
    name = one.of.replace("_", "-")
    if place is None:
        return f"the model has no {name} yet"
    return "" if has_held_out(place) else f"the {name} has no held-out scores, for want of judged validation queries"


def unsupported(tiers: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """By stage that `recsys doctor` finds too little data for, what was counted and what it takes."""
    short = {tier["name"]: tier for tier in tiers if not tier["supported"]}
    return {one.stage: told(short[one.tier]) for one in TRAINABLE if one.tier in short}


def told(tier: Mapping[str, Any]) -> str:
    """Why a tier is not reached."""
    if "counted" not in tier:
        return f"the shop's data does not reach the tier {tier['name']}"
    return f"{tier['found']:,} {tier['counted']}, where it takes {tier['needed']:,}"


def due(one: Trainable, promotions: Promotions, *, manifest: Manifest, settings: Settings, days: float) -> bool:
    """True where a stage was never trained for the shop, or on data that is `days` old by the shop's own clock.

    One that is fitted on another component's scores is due where it was fitted on other scores, however old it is; a
    blend also where a recommender under it has other settings by now, as it would stay out.
    """
    bundle = newest(one, promotions, shop=manifest.shop)
    component = None if bundle is None else bundle.manifest.components.get(one.component)
    if bundle is None or component is None or not component.snapshot:
        return True
    if one.of:
        known = bundle.manifest.components
        digests = {name: known[name].digest if name in known else None for name in (one.of, *one.beside)}
        return any(component.config.get(name) != digest for name, digest in digests.items())
    if one.blends and changed(component.config["learned_over"], bundle):
        return True
    if component.snapshot == manifest.snapshot_id:
        return False
    try:
        seen = Snapshot.open(settings.snapshots / component.snapshot, settings=settings).manifest.watermark
    except SnapshotError:
        return True
    return seen is None or manifest.watermark is None or manifest.watermark - seen >= timedelta(days=days)


def updates(one: Trainable, promotions: Promotions, *, manifest: Manifest, days: float) -> bool:
    """True where a stage can go on from its newest model, which last learned anew on data less than `days` old.

    By the shop's own clock; never where the shop or the component has no calendar, or was learned on this data.
    """
    bundle = newest(one, promotions, shop=manifest.shop) if one.goes_on and days else None
    component = None if bundle is None else bundle.manifest.components.get(one.component)
    anew = "" if component is None else component.config.get("learned_anew", "")
    if component is None or not anew or manifest.watermark is None or component.snapshot == manifest.snapshot_id:
        return False
    return manifest.watermark - datetime.fromisoformat(anew) < timedelta(days=days)


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


def is_baseline(version: Version) -> bool:
    """True where a version is nothing but what its kind is measured against."""
    return version.tags.get("components") == BASELINES[version.kind]


def newest_baseline(promotions: Promotions, challenger: Version) -> Version | None:
    """The newest version of a challenger's model that is the baseline itself and was not rejected."""
    versions = promotions.registry.versions(challenger.name)
    return next((one for one in versions if is_baseline(one) and one.tags.get("status") != REJECTED), None)
