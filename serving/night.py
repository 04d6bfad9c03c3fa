"""A published night: its columns, its manifest, and the check that both still agree."""

import json
from collections import Counter
from datetime import date
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from recsys.errors import IndexMismatchError, StorageError

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
LATEST = "latest.json"
SCHEMA: dict[str, type[pl.DataType]] = {
    "user_id": pl.String,
    "rank": pl.Int32,
    "product_id": pl.String,
    "score": pl.Float32,
    "source": pl.String,
    "rung": pl.String,
    "model_version": pl.String,
    "night": pl.Date,
}
AGAIN = "run `recsys batch run` for this night again"


class Part(BaseModel):
    """One Parquet file of a night.

    Attributes:
        path: the file's name.
        sha256: of its bytes.
        rows: recommendations.
        users: users with at least one row.
        rungs: rows by rung.
        sources: rows by source.
        loyal: users with two purchases or more.
        loyal_personal: those of them whose best row is personal.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    sha256: str
    rows: int
    users: int
    rungs: dict[str, int]
    sources: dict[str, int]
    loyal: int
    loyal_personal: int


class NightManifest(BaseModel):
    """What a night says of itself; equal inputs give equal bytes, so no time of day stands here.

    Attributes:
        night: the date that the rows carry.
        shop: the shop's name, "" where it has none.
        model_version: the versions that answered.
        index: digest of the index.
        inputs: digest of all that the rows depend on.
        k: rows asked for each user.
        users: known users, whether or not they got rows.
        parts: the files, in order.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: int = FORMAT_VERSION
    night: date
    shop: str
    model_version: str
    index: str
    inputs: str
    k: int
    users: int
    parts: list[Part]

    @property
    def rows(self) -> int:
        """Recommendations of the night."""
        return sum(part.rows for part in self.parts)

    def summary(self) -> dict[str, object]:
        """The figures of the night, for a report."""
        served, loyal = sum(part.users for part in self.parts), sum(part.loyal for part in self.parts)
        return {
            "night": self.night.isoformat(),
            "shop": self.shop,
            "model_version": self.model_version,
            "users": self.users,
            "users_served": served,
            "rows": self.rows,
            "rows_expected": self.users * self.k,
            "rungs": shares(self.parts, "rungs"),
            "sources": shares(self.parts, "sources"),
            "loyal_users": loyal,
            "loyal_personal_share": sum(part.loyal_personal for part in self.parts) / loyal if loyal else None,
            "files": len(self.parts),
        }


def shares(parts: list[Part], name: str) -> dict[str, dict[str, float]]:
    """Rows, and the share of all rows, by rung or by source; the largest first."""
    totals: Counter[str] = Counter()
    for part in parts:
        totals.update(getattr(part, name))
    rows = sum(totals.values())
    return {key: {"rows": number, "share": number / rows} for key, number in totals.most_common()}


def read_night(folder: Path) -> NightManifest:
    """The manifest of a night's folder; StorageError where there is none that can be read."""
    try:
        return NightManifest.model_validate_json((folder / MANIFEST).read_bytes())
    except OSError as error:
        raise StorageError(f"no {MANIFEST} in {folder}", expected="the folder of a night", action=AGAIN) from error
    except ValidationError as error:
        raise StorageError(
            f"{folder / MANIFEST} is damaged or of another version", expected="a night's manifest", action=AGAIN
        ) from error


def latest_night(folder: Path) -> Path:
    """The folder itself where it is a night's, else the night that its `latest.json` names."""
    try:
        return folder / str(json.loads((folder / LATEST).read_text(encoding="utf-8"))["path"])
    except (OSError, ValueError, KeyError, TypeError):
        return folder


def verify_night(folder: Path) -> NightManifest:
    """Read every file of a night again and hold it against the manifest.

    Raises:
        StorageError: a file is missing, added or altered, or its rows break the contract; the first fault is named.
        IndexMismatchError: nobody has a row.
    """
    manifest = read_night(folder)
    refuse_empty(manifest)
    found = {path.name for path in folder.iterdir()} - {MANIFEST}
    named = [part.path for part in manifest.parts]
    if found != set(named):
        odd = sorted(found ^ set(named))[0]
        raise StorageError(f"{folder / odd} is missing or not named", expected="the manifest's files", action=AGAIN)
    last = ""
    for part in manifest.parts:
        last = verify_part(folder / part.path, part, manifest=manifest, after=last)
    return manifest


def refuse_empty(manifest: NightManifest) -> None:
    """Refuse a night without a row for any of its users.

    Raises:
        IndexMismatchError: the index that answered has no recommender, or none that knows a product of today.
    """
    if manifest.users and not manifest.rows:
        raise IndexMismatchError(
            f"0 recommendations for {manifest.users} users from {manifest.model_version}",
            expected="an index with a recommender",
            action="train one (`recsys nightly SHOP -o OUT`, or `recsys train popularity SNAPSHOT`), promote it and "
            "run `recsys index SHOP`",
        )


def verify_part(path: Path, part: Part, *, manifest: NightManifest, after: str) -> str:
    """Hold one file against the manifest; give its last user, after whom the next file must go on."""
    content = path.read_bytes()
    if sha256(content).hexdigest() != part.sha256:
        raise StorageError(f"{path} was altered", expected=f"sha256 {part.sha256[:12]}…", action=AGAIN)
    frame = pl.read_parquet(BytesIO(content))
    ranks = frame.select((pl.col("rank") == pl.int_range(1, pl.len() + 1).over("user_id")).all()).item()
    faults = {
        "columns": dict(frame.schema) != SCHEMA,
        "row count": frame.height != part.rows,
        "rungs": dict(sorted(Counter(frame["rung"]).items())) != part.rungs,
        "order of users": not frame["user_id"].is_sorted() or (frame.height > 0 and frame["user_id"][0] <= after),
        "ranks": not ranks or (frame.height > 0 and int(frame["rank"].max()) > manifest.k),  # type: ignore[arg-type]
        "repeated products": bool(frame.select(pl.struct("user_id", "product_id").is_duplicated().any()).item()),
        "night": bool((frame["night"] != manifest.night).any()),
    }
    wrong = [name for name, fault in faults.items() if fault]
    if wrong:
        raise StorageError(f"{path}: wrong {', '.join(wrong)}", expected="rows as the manifest says", action=AGAIN)
    return str(frame["user_id"][-1]) if frame.height else after
