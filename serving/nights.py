"""Write a night from an index of a shop and the histories beside it; both stay the same to the end of the batch."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from feature_store.online.lmdb import LmdbStore
from recsys.engine.current import current_index, current_until
from recsys.engine.engine import Engine
from recsys.errors import ShopError, UsageError
from recsys.settings import Settings
from recsys.types import HistorySource
from serving.batch import CHUNK, Order, run_batch
from serving.moments import START
from serving.opening import find_shop

MICROSECONDS_A_DAY = 86_400_000_000


def write_night(
    settings: Settings,
    *,
    shop: str | None,
    out: Path,
    night: date | None,
    k: int,
    repeats: bool | None,
    index: Path | None = None,
    histories: str | None = None,
) -> dict[str, Any]:
    """Write recommendations for every known user of a shop; give the night's figures and its folder.

    Args:
        settings: where index and histories stand.
        shop: its name; None takes the only one.
        out: the folder of all nights.
        night: its date; None takes the day of the newest event.
        k: rows for each user.
        repeats: whether bought products may come back; None follows the bundle's policy.
        index: which one answers; None takes the live one.
        histories: which generation of the online store is read; None takes the current one.

    Raises:
        ShopError: the shop knows no user; what stands in the folder stays.
        UsageError: the shop has no calendar and no date is given.
    """
    name = find_shop(settings, shop=shop)
    pinned = LmdbStore(settings.online(name)).pin(histories)
    users = pinned.user_ids()
    if not users:
        raise ShopError(
            f"no user in the histories of the shop `{name}`",
            expected="the table users, or events with a user_id",
            action="add one of them and run `recsys index SHOP`; the last good night stays",
        )
    newest = newest_moment(pinned, users)
    where = index or current_index(settings.index(name))
    now = None if current_until(settings.index(name)) is None else newest
    engine = Engine.open(where, settings=settings, histories=pinned, now=now)
    order = Order(
        out=out,
        night=night or day_of(newest),
        k=k,
        users=pl.Series(users, dtype=pl.String),
        state=pinned.name,
        repeats=repeats,
    )
    manifest = run_batch(engine, pinned, order, locks=settings.locks)
    return manifest.summary() | {"path": str(order.folder)}


def newest_moment(histories: HistorySource, users: list[str]) -> int | None:
    """The newest event, microseconds since 1970-01-01 UTC; None where there is none that could be a day."""
    newest = 0
    for start in range(0, len(users), CHUNK):
        newest = max(newest, int(histories.read(users[start : start + CHUNK]).timestamps.max(initial=0)))
    return newest if newest >= MICROSECONDS_A_DAY else None


def day_of(moment: int | None) -> date:
    """The day of a moment; UsageError where there is none."""
    if moment is None:
        raise UsageError(
            "no event with a calendar date", expected="the date of the night", action="give it with --date YYYY-MM-DD"
        )
    return (START + timedelta(microseconds=moment)).date()
