"""A new bundle's policy: what the stage just trained found out, over what the base had and what still holds of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from recsys.bundle.manifest import ComponentInfo
from recsys.bundle.read import Bundle
from recsys.engine.blending import COMPONENTS
from recsys.engine.policy import RecommendPolicy, SearchPolicy, search_policy
from training.calibration.config import POLICY

SUM = ("fusion", "bm25", "dense", "cross_encoder", "feedback", "feedback_temperature")
"""The fields that the weighted sum follows, from which a blender starts."""


def next_policy(base: Bundle | None, *, component: str, info: ComponentInfo) -> dict[str, Any]:
    """The policy of the base with a new component in it.

    Fields that were set by hand stay until they are set again. Weights that were chosen, and stages that were switched
    off, are forgotten with a new network: what was found out about others says nothing about it.

    Args:
        base: the bundle whose other components are carried over; None where there is none.
        component: the one that is new.
        info: what its training says.
    """
    policy = dict(base.manifest.policy) if base else {}
    if component == "calibration":
        return calibrated(policy, info.config)
    if component == "blender":
        return policy | {"off": info.config["off"]}
    if component == "recommend_blender":
        return policy | {name: info.config[name] for name in ("blend", "repeat_order")}
    if component in COMPONENTS and base is not None and "off" in policy:
        chosen = chosen_weights(base)
        return {name: value for name, value in policy.items() if name not in chosen} | {"off": list(SearchPolicy().off)}
    return policy


def set_by_hand(base: Bundle) -> dict[str, Any]:
    """The fields of a bundle's policy that no calibration has chosen, among those that can be set."""
    chosen = chosen_weights(base)
    return {name: value for name, value in base.manifest.policy.items() if name in POLICY and name not in chosen}


def chosen_weights(bundle: Bundle) -> dict[str, float]:
    """The weights that the bundle's calibration has chosen; none where there is no calibration."""
    known = bundle.manifest.components.get("calibration")
    found: dict[str, float] = {} if known is None else known.config.get("chosen", {})
    return found


def calibrated(before: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The policy after a calibration: its fields, and what goes off by it.

    A blender was fitted over one weighted sum; under another it stays off until it is fitted again.
    """
    policy = {name: value for name, value in before.items() if name not in POLICY}
    policy |= {**config["policy"], **config["chosen"]}
    off = before.get("off")
    blends = off is not None and "blender" not in off
    if blends and weights(policy) == weights(before):
        return policy
    found = config["off"] if config["off"] is not None else off if blends else None
    return policy if found is None else policy | {"off": [*found, "blender"]}


def weights(policy: Mapping[str, Any]) -> dict[str, Any]:
    """What the weighted sum follows."""
    found: dict[str, Any] = search_policy(policy).model_dump(include=set(SUM))
    return found


def recommend_order(components: Sequence[ComponentInfo]) -> dict[str, Any]:
    """Personal recommenders by NDCG@10 on the validation part, best first; those not measured stand last."""
    default = RecommendPolicy().order
    scores = {one.name.replace("_", "-"): one.metrics.get("validation/ndcg@10", -1.0) for one in components}
    known = sorted((name for name in default if name in scores), key=lambda name: -scores[name])
    return {"order": known}
