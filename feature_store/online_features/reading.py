"""What a read gives, and under which keys it looks."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_store.event_log.parts import Position
from feature_store.online_features.layout import CODES, LONGEST_PART, key_of
from feature_store.online_features.state import About
from feature_store.point_in_time.definitions import ENTITIES, Entity

SHORT = LONGEST_PART // 4
"""Characters of a part of a key that stands as it is, whatever they are."""
UNKNOWN = "\x01"
"""A key that nothing stands under."""


class Read(NamedTuple):
    """Features of some keys.

    Attributes:
        entity: whose features they are.
        keys: as the store knows them: users by the names they have there, queries in one spelling.
        names: of the features.
        values: float32 [keys, features], NaN where there is none.
        now: the instant as of which they are, microseconds since 1970.
        newest: what was known by then is in them, microseconds since 1970; later news is not.
        position: how far into the event log they reach.
        about: what the generation says of itself.
    """

    entity: Entity
    keys: Sequence[Sequence[str]]
    names: tuple[str, ...]
    values: NDArray[np.float32]
    now: int
    newest: int
    position: Position
    about: About

    def only(self, names: Sequence[str]) -> "Read":
        """Some of the features, by names that are there."""
        return self._replace(names=tuple(names), values=self.values[:, [self.names.index(name) for name in names]])


def stored_keys(entity: Entity, keys: Sequence[Sequence[str]]) -> list[str]:
    """Under which keys the records of an entity stand."""
    if len(ENTITIES[entity]) == 1:
        letter = CODES[entity]
        return [letter + key[0] if 0 < len(key[0]) <= SHORT else key_of(entity, key) for key in keys]
    return [key_of(entity, key) if all(key) else UNKNOWN for key in keys]
