"""Users' histories out of a snapshot or a cleaned shop."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store.snapshot import Snapshot
from feature_store.users import user_attributes
from recsys.digest import frame_digest
from recsys.lookup import find_sorted
from recsys.types import EVENT_CODES, Histories, Mask

COLUMNS = ("user_id", "product_id", "timestamp", "event_type")


@dataclass(frozen=True)
class HistoryTable:
    """All users' histories as one ragged array in memory.

    Attributes:
        users: String [users], sorted, each once.
        segments: String [users], "" where unknown.
        attributes: String [users], what else is known of each, as of `Histories`.
        offsets: int64 [users + 1]; user i owns events offsets[i] to offsets[i + 1].
        product_ids: String [events], each user's oldest first.
        timestamps: int64 [events], microseconds since 1970-01-01 UTC.
        event_types: int8 [events], codes of EVENT_CODES.
    """

    users: pl.Series
    segments: pl.Series
    attributes: pl.Series
    offsets: NDArray[np.int64]
    product_ids: pl.Series
    timestamps: NDArray[np.int64]
    event_types: NDArray[np.int8]

    @classmethod
    def of(cls, interactions: pl.DataFrame, users: pl.DataFrame) -> "HistoryTable":
        """Build from frames as they stand in a snapshot.

        Args:
            interactions: sorted by user_id and time; rows without a user or of users outside `users` are left out.
            users: sorted by user_id; users without interactions have an empty history.
        """
        owned = interactions.select(COLUMNS).filter(pl.col("user_id").is_not_null())
        rows = find_sorted(users["user_id"], owned["user_id"])
        if (rows < 0).any():
            owned, rows = owned.filter(pl.Series(rows >= 0)), rows[rows >= 0]
        counts = np.bincount(rows, minlength=users.height)
        codes = owned["event_type"].cast(pl.String).replace_strict(EVENT_CODES, return_dtype=pl.Int8)
        return cls(
            users=users["user_id"],
            segments=users["segment"].fill_null(""),
            attributes=user_attributes(users),
            offsets=np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts, dtype=np.int64)]),
            product_ids=owned["product_id"].rechunk(),
            timestamps=owned["timestamp"].dt.timestamp("us").to_numpy(),
            event_types=codes.to_numpy(),
        )

    @cached_property
    def digest(self) -> str:
        """sha256 of the content."""
        events = pl.DataFrame({"product": self.product_ids, "time": self.timestamps, "type": self.event_types})
        told = {"segment": self.segments, "attributes": self.attributes}
        owners = pl.DataFrame({"user": self.users, **told, "end": self.offsets[1:]})
        return hashlib.sha256((frame_digest(events) + frame_digest(owners)).encode()).hexdigest()

    def read(self, user_ids: Sequence[str]) -> Histories:
        """Histories of the users in the order asked; unknown users have none."""
        rows = find_sorted(self.users, user_ids)
        known = rows >= 0
        starts = np.where(known, self.offsets[rows], 0)
        lengths = np.where(known, self.offsets[rows + 1] - starts, 0)
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
        events = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
        owners = pl.Series(rows).replace(-1, None)
        segments, attributes = (told.gather(owners).fill_null("") for told in (self.segments, self.attributes))
        return Histories(
            offsets=offsets,
            product_ids=tuple(self.product_ids.gather(events)),
            timestamps=self.timestamps[events],
            event_types=self.event_types[events],
            segments=tuple(segments),
            attributes=tuple(attributes),
        )

    def known(self, user_ids: Sequence[str]) -> Mask:
        """bool [users], True where the user stands in the table, with or without events."""
        return find_sorted(self.users, user_ids) >= 0

    def user_ids(self) -> list[str]:
        """All users, sorted."""
        return self.users.to_list()


class SnapshotHistories:
    """A HistorySource over some parts of a snapshot."""

    def __init__(self, snapshot: Snapshot, *, parts: Sequence[str] = ()) -> None:
        """Read the parts named, all where none is."""
        read = snapshot.scan("interactions", *parts).select(COLUMNS).collect()
        self.table = HistoryTable.of(read, snapshot.users())

    def read(self, user_ids: Sequence[str]) -> Histories:
        """Histories of the users in the order asked; unknown users have none."""
        return self.table.read(user_ids)

    def known(self, user_ids: Sequence[str]) -> Mask:
        """bool [users], True where the shop knows the user."""
        return self.table.known(user_ids)

    def user_ids(self) -> list[str]:
        """Everyone the shop knows, sorted; those without events in these parts too."""
        return self.table.user_ids()
