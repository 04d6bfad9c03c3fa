"""The online store of histories: written whole by `recsys index`, read by the service.

A store holds generations; readers see one of them as a whole, and a new one takes its place in a single step.
"""

from typing import NamedTuple, Protocol

from feature_store.event_log.parts import Position
from feature_store.histories import HistoryTable
from recsys.types import HistorySource


class Holds(NamedTuple):
    """What a generation says of its histories.

    Attributes:
        position: how far into the shop's event log they reach.
        mask: fingerprint of the key that masks the user ids, "" where they are plain.
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

    def generation(self) -> str | None:
        """The name of the generation that is read; None where nothing was written yet."""
        ...

    def now(self) -> HeldHistories | None:
        """The generation that is read; None where nothing was written yet."""
        ...

    def user_ids(self) -> list[str]:
        """All users, sorted."""
        ...


def generation_name(table: HistoryTable) -> str:
    """The name of the generation that holds this content, 16 hex digits."""
    return table.digest[:16]
