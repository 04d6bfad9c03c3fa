"""What a generation says of itself, made ready for reading and for adding events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from feature_store.online_features.cells import Plan
from feature_store.online_features.deltas import Counting
from feature_store.online_features.layout import Layout, layouts
from feature_store.online_features.state import AGAIN, About, drawn
from feature_store.point_in_time.choice import named
from feature_store.point_in_time.definitions import Entity, Feature, Measure
from recsys.errors import StorageError, UsageError


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


def serve(packed: bytes, definitions: Sequence[Feature], *, mask: str) -> Served:
    """Make ready what a generation says of itself.

    Args:
        packed: its own words.
        definitions: ours.
        mask: fingerprint of our key, "" without one.

    Raises:
        StorageError: it is of other definitions or another key than ours.
    """
    about = About.of(packed)
    features = tuple(fitting(about, definitions))
    if about.mask != mask:
        raise StorageError(
            "the user ids of the online features are masked otherwise", expected="the same key", action=AGAIN
        )
    found = layouts(features)
    countings: dict[Entity, Counting] = {
        entity: Counting(layout) for entity, layout in found.items() if entity != "follow"
    }
    return Served(packed, about, features, found, countings)


def fitting(about: About, definitions: Sequence[Feature]) -> list[Feature]:
    """The definitions that were published; StorageError where they have changed since."""
    try:
        features = named(list(about.features), definitions)
    except UsageError as error:
        raise StorageError(error.found, expected="the definitions of this release", action=AGAIN) from error
    if changed := [one.name for one in features if one.version != about.features[one.name]]:
        raise StorageError(
            f"the online features serve other definitions of {', '.join(changed)}",
            expected="those of this release",
            action=AGAIN,
        )
    return features
