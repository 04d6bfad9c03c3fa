"""Today's shop for the index: its catalogue and everyone's history, out of the raw tables."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from feature_store.config import ShopConfig
from feature_store.event_log.parts import Position, reached
from feature_store.forgetting.opening import names_of
from feature_store.histories import HistoryTable
from feature_store.interactions import event_frames
from feature_store.manifest import Split
from feature_store.products import catalogue_frame
from feature_store.staging import staging_folder
from feature_store.users import user_frame
from feature_store.validate import clean_shop
from recsys.catalogue import Catalogue
from recsys.settings import Settings


@dataclass(frozen=True)
class LiveShop:
    """What the index needs of a shop.

    Attributes:
        config: its shop.toml.
        catalogue: today's products.
        histories: what every user did so far, net of cancels.
        until: the newest event, else the present that was asked for; None without either.
        position: how far into the shop's event log the histories reach.
        mask: fingerprint of the keys that name users, "" where their ids are plain.
    """

    config: ShopConfig
    catalogue: Catalogue
    histories: HistoryTable
    until: datetime | None
    position: Position
    mask: str


def read_live(shop: Path, *, as_of: datetime | None, settings: Settings) -> LiveShop:
    """Check the shop's tables and read what is valid now.

    Args:
        shop: the shop folder.
        as_of: the present; the shop's newest event where None.
        settings: where working files may stand.

    Raises:
        ShopError: a table's contract fails as a whole.
    """
    with staging_folder(settings) as staging:
        clean = clean_shop(shop, staging=staging, as_of=as_of, settings=settings)
        now = clean.as_of or clean.watermark
        catalogue = catalogue_frame(clean.tables["products"], currency=clean.config.currency, now=now)
        events = event_frames(
            clean.tables.get("events"),
            catalogue=catalogue,
            weights=clean.config.event_weights,
            split=Split(kind="query-folds"),
        )
        raw = clean.tables["events"].raw.files if "events" in clean.tables else ()
        names = names_of(settings, shop=clean.config.name, privacy=clean.config.privacy)
        users = user_frame(clean.tables.get("users"), events=clean.tables.get("events"))
        return LiveShop(
            config=clean.config,
            catalogue=Catalogue(catalogue),
            histories=HistoryTable.of(events.interactions, users),
            until=clean.watermark or clean.as_of,
            position=reached(raw),
            mask=names.fingerprint if names else "",
        )
