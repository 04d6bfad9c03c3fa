"""What a generation says of itself, made ready for reading and for adding events."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from feature_store.online_features.cells import Plan
from feature_store.online_features.deltas import Counting
from feature_store.online_features.layout import Layout, layouts
from feature_store.online_features.state import AGAIN, About, drawn
from feature_store.point_in_time.definitions import Entity, Feature, Measure
from feature_store.point_in_time.own import behind
from recsys.errors import StorageError


@dataclass(frozen=True)
class Served:
    """What a generation's own words say, made ready once."""

    packed: bytes
    about: About
    features: tuple[Feature, ...]
    layouts: Mapping[Entity, Layout]
    countings: Mapping[Entity, Counting]

    @cached_property
    def plans(self) -> dict[Entity, Plan]:
        """How each entity's features are read."""
        return {entity: Plan(layout) for entity, layout in self.layouts.items()}

    @cached_property
    def names(self) -> dict[Entity, tuple[str, ...]]:
        """Of each entity's features."""
        return {entity: tuple(one.name for one in layout.features) for entity, layout in self.layouts.items()}

    @cached_property
    def drawn(self) -> list[Measure]:
        """The measures of `State.sums`."""
        return drawn(self.features)


def serve(packed: bytes, *, mask: str) -> Served:
    """Make ready what a generation says of itself.

    Args:
        packed: its own words.
        mask: fingerprint of our key, "" without one.

    Raises:
        StorageError: it is of other definitions than this release's, or another key than ours.
    """
    about = About.of(packed)
    features = tuple(fitting(about))
    if about.mask != mask:
        raise StorageError(
            "the user ids of the online features are masked otherwise", expected="the same key", action=AGAIN
        )
    found = layouts(features)
    countings: dict[Entity, Counting] = {
        entity: Counting(layout) for entity, layout in found.items() if entity != "follow"
    }
    return Served(packed, about, features, found, countings)


def fitting(about: About) -> list[Feature]:
    """The definitions that were published; StorageError where they have changed since."""
    try:
        return behind(about.features, about.own)
    except ValueError as error:
        raise StorageError(
            f"the online features serve other definitions of {error}",
            expected="those of this release",
            action=AGAIN,
        ) from error
