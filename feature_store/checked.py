"""The work behind `recsys validate` and `recsys doctor`."""

from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from feature_store.doctor import Tier, advice, examine, highest
from feature_store.staging import staging_folder
from feature_store.validate import CleanShop, clean_shop
from recsys.settings import Settings
from recsys.storage import atomic_file


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
        return asdict(self)


def validate_shop(
    shop: Path, *, quarantine: Path | None, as_of: datetime | None, settings: Settings
) -> tuple[CleanShop, Path | None]:
    """Check a shop and write what was set aside.

    Args:
        shop: the shop folder.
        quarantine: where the rows set aside are written; RECSYS_HOME/quarantine/NAME.parquet where None.
        as_of: leave out what is later.
        settings: where state lives.

    Returns:
        The checked shop (its frames are gone, its reports stay) and the quarantine file, None where nothing was set
        aside.
    """
    with staging_folder(settings) as staging:
        clean = clean_shop(shop, staging=staging, as_of=as_of)
    rows = clean.quarantine()
    file = quarantine or settings.home / "quarantine" / f"{clean.config.name or shop.resolve().name}.parquet"
    if rows.is_empty():
        file.unlink(missing_ok=True)
        return clean, None
    with atomic_file(file) as partial:
        rows.write_parquet(partial)
    return clean, file


def examine_shop(shop: Path, *, as_of: datetime | None, settings: Settings) -> DoctorReport:
    """Check a shop and count what each tier needs, without what is later than `as_of`."""
    with staging_folder(settings) as staging:
        clean = clean_shop(shop, staging=staging, as_of=as_of)
        tiers = examine(clean)
        return DoctorReport(clean.config.name, tiers, highest(tiers), advice(clean))
