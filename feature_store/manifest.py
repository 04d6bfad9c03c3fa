"""What a snapshot says about itself: a typed manifest.json."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

FORMAT_VERSION = 2
READABLE = (1, FORMAT_VERSION)
"""Versions whose folders read alike: what the first had in its id, and which events it let in, was another matter."""
SHOP = "shop_folder"
"""The setting that says where the shop lay; no part of the content, so it decides nothing but where pictures are."""

Calendar = Literal["calendar", "order"]
SplitKind = Literal["time", "leave-one-out", "query-folds"]


STRICT = ConfigDict(extra="forbid", frozen=True)


class Source(BaseModel):
    """One file of the shop folder as it was read.

    Attributes:
        path: the file's path inside the shop folder.
        sha256: of its bytes.
        rows: how many it holds, quarantined ones included.
    """

    model_config = STRICT

    path: str
    sha256: str
    rows: int


class Split(BaseModel):
    """How the parts were made.

    Attributes:
        kind: of the events; judgments are always split by query.
        fold: the outer fold of queries that is the test part, 0 to 4.
        test_days: length of the test part of a time split, days.
        validation_days: length of the validation part before it, days.
        validation_after: events later than this instant are the validation part of a time split ...
        test_after: ... and those later than this one the test part.
        known_from: from when on the shop tells when its events were known, None where it never does; see
            `feature_store.splits.known_late`. No part of the content.
    """

    model_config = STRICT

    kind: SplitKind
    fold: int = 0
    test_days: float | None = None
    validation_days: float | None = None
    validation_after: datetime | None = None
    test_after: datetime | None = None
    known_from: datetime | None = None


class StoredFile(BaseModel):
    """One file of the snapshot: its rows, the sha256 of its bytes and the digest of its content."""

    model_config = STRICT

    rows: int
    sha256: str
    digest: str


class Manifest(BaseModel):
    """The identity card of a snapshot.

    Attributes:
        format_version: of the snapshot folder.
        snapshot_id: 16 hex digits of the sha256 over shop, split and the content of every frame.
        shop: the shop's name, "" where shop.toml gives none.
        currency: of the prices, where the shop says so.
        max_grade: the best grade a judgment can have, 0.0 where there is no judgment.
        timestamps: "calendar", or "order" where only each user's order is real.
        split: how the parts were made.
        counts: rows by frame, part and event type, and what cleaning did.
        watermark: the newest event; "now" for this shop. None where the shop has no calendar or no event.
        as_of: where given, nothing known later is inside; no part of the content.
        quarantine: for each table the rows set aside by reason.
        unknown_columns: for each table the columns outside the contract, which are kept as text.
        sources: for each table the file it came from.
        files: for each frame the file that holds it.
        settings: resolved options of the build.
        versions: of the libraries and the commit that built it.
    """

    model_config = STRICT

    format_version: int
    snapshot_id: str
    shop: str
    currency: str | None
    max_grade: float
    timestamps: Calendar
    split: Split
    counts: dict[str, int]
    watermark: datetime | None
    as_of: datetime | None
    quarantine: dict[str, dict[str, int]]
    unknown_columns: dict[str, list[str]]
    sources: dict[str, Source]
    files: dict[str, StoredFile]
    settings: dict[str, str]
    versions: dict[str, str]
