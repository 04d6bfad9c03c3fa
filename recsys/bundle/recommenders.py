"""The components behind a recommender's names, and whether a blend still fits those that it was learned over."""

import hashlib
from collections.abc import Mapping

from recsys.bundle.manifest import canonical
from recsys.bundle.read import Bundle

COMPONENTS: Mapping[str, str] = {
    "two-tower": "two_tower",
    "item-knn": "item_knn",
    "als": "als",
    "bpr": "bpr",
    "bought-together": "bought_together",
    "category-popularity": "category_popularity",
    "repeat": "repeat",
    "trending": "trending",
    "popularity": "popularity",
}
"""The component of each recommender that was learned from events, by the name that answers give it."""
TEXT_ENCODER = "text_encoder"
"""The component behind "text", which learns from no event; see `recsys.retrieval.text_neighbours`."""
RESULTS = ("best_epoch", "learned_until", "learned_anew")
"""What trainings write among their settings though it is found out, not set."""
MACHINE = ("precision", "devices", "strategy", "accelerator", "checkpoint_steps")
"""Settings of the machine that learned: what is learned has the same meaning on any."""


def changed(learned_over: Mapping[str, str], bundle: Bundle) -> list[str]:
    """The components of a bundle that a blend was learned over, and that are gone or have other settings by now.

    Args:
        learned_over: by component, what `settings_digests` gave then.
        bundle: the blend's.
    """
    now = settings_digests(bundle)
    return [name for name, digest in learned_over.items() if now.get(name) != digest]


def settings_digests(bundle: Bundle) -> dict[str, str]:
    """By component that recommends, sha256 of the settings it was learned with; of the text encoder, of its files.

    Settings of the machine do not count.
    """
    encoder = bundle.manifest.components.get(TEXT_ENCODER)
    return ({} if encoder is None else {TEXT_ENCODER: encoder.digest}) | {
        name: hashlib.sha256(
            canonical({key: value for key, value in one.config.items() if key not in (*RESULTS, *MACHINE)}).encode()
        ).hexdigest()
        for name, one in bundle.manifest.components.items()
        if name in COMPONENTS.values()
    }
