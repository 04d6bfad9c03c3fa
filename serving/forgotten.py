"""A night that was written before some of its users were forgotten: it stays whole, and says so."""

from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path

import polars as pl

from feature_store.forgetting.opening import open_people
from recsys.settings import Settings
from serving.moments import microseconds
from serving.night import NightManifest


@dataclass(frozen=True, slots=True)
class ForgottenSince:
    """What a night holds of users who were forgotten after it.

    Attributes:
        users: how many.
        rows: their recommendations.
    """

    users: int
    rows: int

    def as_json(self) -> dict[str, int]:
        """The figures for machines."""
        return {"forgotten_users": self.users, "forgotten_rows": self.rows}


def forgotten_since(folder: Path, manifest: NightManifest, *, settings: Settings) -> ForgottenSince:
    """Count what a night holds of users who were forgotten after it, as far as this home folder knows of them.

    Args:
        folder: of the night, verified.
        manifest: the night's.
        settings: where the tombstones stand.
    """
    forgotten = open_people(settings, shop=manifest.shop).forgotten()
    if not forgotten or not manifest.parts:
        return ForgottenSince(0, 0)
    rows = pl.concat(pl.read_parquet(folder / part.path, columns=["user_id"]) for part in manifest.parts)
    begins = microseconds(datetime.combine(manifest.night, time.min, tzinfo=UTC))
    gone = [user for user, until in forgotten.until(rows["user_id"].unique()).items() if until >= begins]
    return ForgottenSince(len(gone), int(rows["user_id"].is_in(gone).sum()))
