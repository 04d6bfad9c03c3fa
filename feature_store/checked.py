"""The work behind `recsys validate` and `recsys doctor`."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from feature_store.checking import QUARANTINE
from feature_store.config import CONFIG, FEATURES
from feature_store.doctor import Tier, advice, examine, highest
from feature_store.quality.inspect import Quality, inspect
from feature_store.quality.page.render import write_page
from feature_store.report import as_json
from feature_store.snapshot import Snapshot
from feature_store.staging import staging_folder
from feature_store.validate import CleanShop, clean_shop
from recsys.errors import SnapshotError, UsageError
from recsys.settings import Settings
from recsys.storage import atomic_file


@dataclass(frozen=True)
class Checked:
    """What `recsys validate` found.

    Attributes:
        clean: the checked shop; its frames are gone, its reports stay.
        quality: what was measured beyond the contract.
        quarantine: the file with the rows set aside; None where none was.
        page: the page that was asked for; None where none was.
    """

    clean: CleanShop
    quality: Quality
    quarantine: Path | None
    page: Path | None

    def as_json(self) -> dict[str, Any]:
        """The report for machines; no text of the shop is inside."""
        told = as_json(self.clean, quarantine=self.quarantine) | {"quality": self.quality.as_json()}
        return told | {"page": str(self.page) if self.page else None}


@dataclass(frozen=True)
class DoctorReport:
    """What a shop can support.

    Attributes:
        shop: its name.
        tiers: from the least demanding to the most.
        highest: the most demanding tier reached without a gap.
        advice: what would help.
    """

    shop: str
    tiers: list[Tier]
    highest: str
    advice: list[str]

    def as_json(self) -> dict[str, Any]:
        """The report for machines."""
        return asdict(self) | {"tiers": [asdict(one) | {"missing": one.missing} for one in self.tiers]}


def validate_shop(
    shop: Path,
    *,
    quarantine: Path | None = None,
    as_of: datetime | None = None,
    against: Path | None = None,
    page: Path | None = None,
    settings: Settings,
) -> Checked:
    """Check a shop and write what was set aside.

    Args:
        shop: the shop folder.
        quarantine: where the rows set aside are written; RECSYS_HOME/quarantine/NAME.parquet where None.
        as_of: leave out what is later.
        against: the snapshot to compare with; the shop's newest one in RECSYS_HOME where None.
        page: where the page with plots is written; none where None.
        settings: where state lives.

    Raises:
        ShopError: a table's contract fails as a whole.
        UsageError: `page` or `quarantine` is one of the shop's own files.
        SnapshotError: `against` is no snapshot, damaged, or of another shop.
        StorageError: a file can't be written.
    """
    with staging_folder(settings) as staging:
        clean = clean_shop(shop, staging=staging, as_of=as_of, settings=settings)
        refuse_inputs(clean, {"--page": page, "--quarantine": quarantine})
        last = named_snapshot(against, clean, settings) if against else last_snapshot(clean, settings)
        quality = inspect(clean, last=last)
        if page is not None:
            write_page(clean, quality, page)
    rows = clean.quarantine()
    file = quarantine or settings.home / "quarantine" / f"{clean.config.name or shop.resolve().name}.parquet"
    if rows.is_empty():
        remove_older(file)
        return Checked(clean, quality, None, page)
    with atomic_file(file) as partial:
        rows.write_parquet(partial)
    return Checked(clean, quality, file, page)


def refuse_inputs(clean: CleanShop, written: Mapping[str, Path | None]) -> None:
    """Refuse to write where the shop's own files stand.

    Args:
        clean: the checked shop.
        written: by option the file that is to be written.

    Raises:
        UsageError: it is a table, a part of one, shop.toml or features.toml.
    """
    tables = (file for table in clean.tables.values() for file in table.raw.files)
    own = {clean.folder / CONFIG, clean.folder / FEATURES, *tables}
    for option, file in written.items():
        if file is not None and file.resolve() in {one.resolve() for one in own}:
            raise UsageError(
                f"{option} {file} is one of the shop's own files", expected="a new file", action="name another one"
            )


def remove_older(file: Path) -> None:
    """Remove the quarantine of an older check; whatever else stands there stays."""
    with suppress(pl.exceptions.PolarsError, FileNotFoundError):
        if pl.read_parquet_schema(file).keys() == QUARANTINE.keys():
            file.unlink()


def named_snapshot(path: Path, clean: CleanShop, settings: Settings) -> Snapshot:
    """The snapshot that a person names.

    Raises:
        SnapshotError: there is none, one of its files is missing or altered, or it is of another shop.
    """
    found = Snapshot.open(path, settings=settings)
    shop, name = found.manifest.shop, clean.config.name
    if shop and name and shop != name:
        raise SnapshotError(
            f"{path} is a snapshot of shop `{shop}`",
            expected=f"one of shop `{name}`",
            action="name another one, or leave --against out",
        )
    found.verify()
    return found


def last_snapshot(clean: CleanShop, settings: Settings) -> Snapshot | None:
    """The newest snapshot of a shop in RECSYS_HOME, none that knows of later events; nameless shops go by their folder.

    Args:
        clean: the checked shop.
        settings: where state lives.
    """
    shop, name = clean.folder.resolve(), clean.config.name
    found: list[Snapshot] = []
    for file in settings.snapshots.glob("*/manifest.json"):
        try:
            one = Snapshot.open(file.parent, settings=settings)
        except SnapshotError:
            continue  # of another version, or damaged: nothing to compare with
        watermark = one.manifest.watermark
        later = watermark is not None and clean.watermark is not None and watermark > clean.watermark
        if one.manifest.shop == name and (name or one.pictures == shop) and not later:
            found.append(one)
    newest_first = sorted(found, key=lambda one: one.manifest.versions.get("built_at", ""), reverse=True)
    return next(filter(readable_files, newest_first), None)


def readable_files(snapshot: Snapshot) -> bool:
    """True where all files of a snapshot are there and whole to their last bytes, which is cheap to see."""
    try:
        for name in snapshot.manifest.files:
            pl.read_parquet_schema(snapshot.path / f"{name}.parquet")
    except (pl.exceptions.PolarsError, OSError):
        return False
    return True


def examine_shop(shop: Path, *, as_of: datetime | None, settings: Settings) -> DoctorReport:
    """Check a shop and count what each tier needs, without what is later than `as_of`."""
    with staging_folder(settings) as staging:
        clean = clean_shop(shop, staging=staging, as_of=as_of, settings=settings)
        tiers = examine(clean)
        return DoctorReport(clean.config.name, tiers, highest(tiers), advice(clean))
