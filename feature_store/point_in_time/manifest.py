"""What a table of features says about itself: a typed manifest.json."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

FORMAT_VERSION = 1
STRICT = ConfigDict(extra="forbid", frozen=True)


class Day(BaseModel):
    """One day of a table, in DATE.parquet.

    Attributes:
        rows: how many.
        asked: the digest of the rows as they were given.
        past: the hash of what the shop knew by the end of that day.
        digest: of the rows and the bits of their features, whatever the file format is.
    """

    model_config = STRICT

    rows: int
    asked: str
    past: str
    digest: str


class TableManifest(BaseModel):
    """The identity card of a table of features.

    Attributes:
        format_version: of the folder.
        table_id: 16 hex digits of the sha256 over the features' versions and every day's content: the same for a table
            that was built at once and one that grew day by day.
        shop: the shop's name, "" where shop.toml gives none.
        features: by name the version of its definition.
        left_out: by name why the shop or the rows can't have it.
        days: by date (UTC, as in 2026-03-01).
        as_of: where given, nothing known later was read.
        versions: of the libraries and the commit that built it last.
    """

    model_config = STRICT

    format_version: int
    table_id: str
    shop: str
    features: dict[str, str]
    left_out: dict[str, str]
    days: dict[str, Day]
    as_of: datetime | None
    versions: dict[str, str]


def table_id(features: Mapping[str, str], days: Mapping[str, Day]) -> str:
    """16 hex digits over what a table holds."""
    content = {
        "format_version": FORMAT_VERSION,
        "features": dict(features),
        "days": {date: day.digest for date, day in sorted(days.items())},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def read_manifest(folder: Path) -> TableManifest | None:
    """The manifest of a table, None where the folder is no table of this format."""
    try:
        found = TableManifest.model_validate_json((folder / "manifest.json").read_bytes())
    except (OSError, ValidationError):
        return None
    return found if found.format_version == FORMAT_VERSION else None


def is_table(folder: Path) -> bool:
    """True where a folder is a table of features of this format."""
    return read_manifest(folder) is not None
