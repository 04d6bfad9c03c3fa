"""Snapshots: immutable training data of one shop, named by the hash of its canonical content."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl
from pydantic import ValidationError

from feature_store.build import build
from feature_store.frames import FRAMES, PARTS
from feature_store.manifest import FORMAT_VERSION, READABLE, SHOP, Manifest
from recsys.catalogue import Catalogue
from recsys.digest import file_sha256
from recsys.errors import SnapshotError
from recsys.settings import Settings, load_settings

ROWS = 1_000_000
"""Rows of a frame that `stream` holds at once."""


@dataclass(frozen=True)
class Snapshot:
    """An opened snapshot folder.

    Attributes:
        path: the folder.
        manifest: what it says about itself.
    """

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path, *, settings: Settings | None = None) -> "Snapshot":
        """Open a snapshot folder, or the one of a bare snapshot id under RECSYS_HOME.

        Raises:
            SnapshotError: no snapshot stands there, its manifest is damaged or of another format version.
        """
        folder = path
        if not (folder / "manifest.json").is_file():
            folder = (settings or load_settings()).snapshots / path.name
        try:
            manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
        except OSError as error:
            raise SnapshotError(
                f"{path} is no snapshot",
                expected="a folder with manifest.json",
                action="make one: recsys features SHOP",
            ) from error
        except ValidationError as error:
            raise SnapshotError(
                f"{folder / 'manifest.json'} is damaged or of another version",
                expected=f"a manifest of format version {FORMAT_VERSION}",
                action="build the snapshot again: recsys features SHOP",
            ) from error
        if manifest.format_version not in READABLE:
            raise SnapshotError(
                f"{path} has format version {manifest.format_version}",
                expected=f"version {FORMAT_VERSION}",
                action="build the snapshot again: recsys features SHOP",
            )
        return cls(folder, manifest)

    def catalogue(self) -> Catalogue:
        """The products in the order of their positions."""
        return Catalogue.read(self.path / "catalogue.parquet")

    def interactions(self, *parts: str) -> pl.DataFrame:
        """Views, clicks, cart additions and net purchases of the parts named (all if none), sorted by user and time."""
        return self.read("interactions", parts)

    def judgments(self, *parts: str) -> pl.DataFrame:
        """Graded query-product pairs of the parts named (all if none), sorted by query and product."""
        return self.read("judgments", parts)

    def impressions(self, *parts: str) -> pl.DataFrame:
        """What was shown and at which position, of the parts named (all if none)."""
        return self.read("impressions", parts)

    def searches(self, *parts: str) -> pl.DataFrame:
        """What shoppers typed, of the parts named (all if none)."""
        return self.read("searches", parts)

    def users(self) -> pl.DataFrame:
        """Everyone the shop knows, sorted by user_id."""
        return self.read("users", ())

    @property
    def pictures(self) -> Path | None:
        """The shop folder, in which pictures are looked up; None where it is gone or was never known."""
        folder = self.manifest.settings.get(SHOP)
        return Path(folder) if folder and Path(folder).is_dir() else None

    def verify(self) -> None:
        """Compare every file with the sha256 in the manifest.

        Raises:
            SnapshotError: a file is missing or altered.
        """
        for name, stored in self.manifest.files.items():
            file = self.path / f"{name}.parquet"
            if not file.is_file() or file_sha256(file) != stored.sha256:
                raise SnapshotError(
                    f"{file} is missing or altered",
                    expected="the bytes that were written",
                    action="remove the snapshot and build it again: recsys features SHOP",
                )

    def scan(self, name: str, *parts: str) -> pl.LazyFrame:
        """One frame of the snapshot, cut to some parts (all if none), for what need not be in memory at once.

        Raises:
            SnapshotError: the file is missing or damaged, or a part has another name than train, validation and test.
        """
        if unknown := set(parts) - set(PARTS):
            raise SnapshotError(
                f"part {', '.join(sorted(unknown))}", expected=f"some of {', '.join(PARTS)}", action="name one of these"
            )
        file = self.path / f"{name}.parquet"
        with whole(file):
            frame = pl.scan_parquet(file)
            check_columns(name, frame.collect_schema(), file=file)
        return frame.filter(pl.col("part").is_in(parts)) if parts else frame

    def stream(self, name: str, *parts: str, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Some columns of a frame, cut to some parts (all if none), in its order, ROWS rows at a time.

        Raises:
            SnapshotError: as `scan`.
        """
        frame = self.scan(name, *parts).select(columns)
        with whole(self.path / f"{name}.parquet"):
            yield from frame.collect_batches(chunk_size=ROWS, maintain_order=True)

    def read(self, name: str, parts: tuple[str, ...]) -> pl.DataFrame:
        """One frame of the snapshot, cut to some parts (all if none).

        Raises:
            SnapshotError: as `scan`.
        """
        frame = self.scan(name, *parts)
        with whole(self.path / f"{name}.parquet"):
            return frame.collect()


@contextmanager
def whole(file: Path) -> Iterator[None]:
    """Name the file where it can't be read.

    Raises:
        SnapshotError: it is missing or damaged.
    """
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        raise SnapshotError(
            f"{file} is missing or damaged", expected="a whole snapshot", action="build it again: recsys features"
        ) from error


def check_columns(name: str, found: pl.Schema, *, file: Path) -> None:
    """Refuse a file whose columns are not those of its contract; what is in them was checked when it was written.

    Raises:
        SnapshotError: a column is missing or has another type.
    """
    wrong = [column for column, dtype in pl.Schema(FRAMES[name]).items() if found.get(column) != dtype]
    if wrong:
        raise SnapshotError(
            f"{file} has no fit column {', '.join(wrong)}",
            expected=f"the columns of {FRAMES[name].__name__}",
            action="build the snapshot again: recsys features SHOP",
        )


def build_snapshot(
    shop: Path,
    *,
    out: Path | None = None,
    split: str | None = None,
    as_of: datetime | None = None,
    options: Mapping[str, str] | None = None,
    settings: Settings | None = None,
) -> Snapshot:
    """Turn a shop folder into a snapshot folder; the same content gives the same snapshot.

    Args:
        shop: the folder of raw tables.
        out: where the snapshot is written; RECSYS_HOME/snapshots/ID where not given.
        split: "time", "leave-one-out" or "query-folds"; the shop's own, else by its timestamps, where not given.
        as_of: nothing known later comes in; the result is the one of a shop that holds no later rows. Products stand
            as they are valid at the newest event known by then.
        options: fold, test_days, validation_days as text.
        settings: where state lives; from the environment where not given.

    Raises:
        ShopError: a table's contract fails as a whole.
        UsageError: an option makes no sense.
        SnapshotError: another snapshot stands at `out`.
        StorageError: the disk is full or not writable.
    """
    where = settings or load_settings()
    return Snapshot.open(build(shop, out=out, split=split, as_of=as_of, options=options or {}, settings=where))
