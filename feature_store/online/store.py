"""The online store of histories: written whole by `recsys index`, read by the service.

A store holds generations; readers see one of them as a whole, and a new one takes its place in a single step.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from feature_store.event_log.parts import Position
from feature_store.forgetting.marks import Forgotten
from feature_store.histories import HistoryTable
from recsys.types import HistorySource


class Holds(NamedTuple):
    """What a generation says of its histories.

    Attributes:
        position: how far into the shop's event log they reach.
        mask: fingerprint of the keys that name users, "" where their ids are plain.
    """

    position: Position = Position()
    mask: str = ""


PLAIN = Holds()


class HeldHistories(HistorySource, Protocol):
    """A HistorySource over one generation: as long as it is held, what it reads stays the same."""

    @property
    def holds(self) -> Holds:
        """What it says of its histories."""
        ...


class Erased(NamedTuple):
    """What went from a store.

    Attributes:
        records: of forgotten users, in all generations.
        generations: the name of each that was written again, and its new name.
    """

    records: int = 0
    generations: Mapping[str, str] = MappingProxyType({})


class OnlineStore(HistorySource, Protocol):
    """A HistorySource that can be filled."""

    def materialise(self, table: HistoryTable) -> str:
        """Write all histories as a new generation, then make it the one that is read.

        Returns:
            The generation's name; the same content has the same name and is not written twice.

        Raises:
            StorageError: the store is full or does not answer; the former generation stays.
        """
        ...

    def erase(self, forgotten: Forgotten) -> Erased:
        """Remove forgotten users of whom nothing is held but their past, from every generation.

        Raises:
            StorageError: the store is full or does not answer; run again, it goes on.
        """
        ...

    def generation(self) -> str | None:
        """The name of the generation that is read; None where nothing was written yet."""
        ...

    def now(self) -> HeldHistories | None:
        """The generation that is read; None where nothing was written yet."""
        ...

    def held(self) -> Holds | None:
        """What the generation that is read says of its histories, or said before a server lost it.

        None where nothing was written yet. StorageError where the store does not answer.
        """
        ...

    def user_ids(self) -> list[str]:
        """All users, sorted."""
        ...


def generation_name(table: HistoryTable) -> str:
    """The name of the generation that holds this content, 16 hex digits."""
    return table.digest[:16]
