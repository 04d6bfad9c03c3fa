"""Fill the online store with the features of a shop as they are known now."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import time_ns
from typing import Any

import polars as pl

from feature_store.config import load_config
from feature_store.event_log.parts import reached
from feature_store.forgetting.opening import names_of, open_people
from feature_store.online.values import ValueStore
from feature_store.online_features.layout import streamed
from feature_store.online_features.packing import Packing
from feature_store.online_features.state import ABOUT, STATE, About, State, versions
from feature_store.owner import claim_state
from feature_store.point_in_time.choice import choose, named
from feature_store.point_in_time.definitions import DAY, ENTITIES, Feature
from feature_store.point_in_time.own import carried, definitions_of
from feature_store.point_in_time.streams import Streams, shop_streams
from feature_store.staging import staging_folder
from feature_store.validate import clean_shop
from recsys.settings import Settings


@dataclass(frozen=True)
class Published:
    """What was published.

    Attributes:
        shop: the shop's name.
        generation: its name in the store.
        at: the instant as of which it is.
        records: by entity how many keys have one.
        idle: by entity how many keys were left out, because nothing happened with them for so long.
        features: by name the version of the definition.
        with_tables: the features that no event changes, only the next publication.
        left_out: by name why a feature is not among them.
    """

    shop: str
    generation: str
    at: datetime
    records: dict[str, int]
    idle: dict[str, int]
    features: dict[str, str]
    with_tables: list[str]
    left_out: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """The report for machines."""
        return asdict(self) | {"at": self.at.isoformat()}


def publish(
    shop: Path,
    *,
    open_store: Callable[[str], ValueStore],
    settings: Settings,
    only: Sequence[str] = (),
    definitions: Sequence[Feature] | None = None,
    ttl_days: float,
    idle_days: float,
    log_share: float = 0.0,
    clock: Callable[[], int] = lambda: time_ns() // 1000,
) -> Published:
    """Publish the features of a shop, from where the event log is followed on.

    Args:
        shop: the shop folder.
        open_store: gives the store of a shop, by its name.
        settings: where working files and the mask's key may stand.
        only: names of features; all that the shop can have where empty.
        definitions: what can be named; DEFAULTS and the shop's own where None.
        ttl_days: after so many days without another publication all of it vanishes.
        idle_days: users, queries and pairs with which nothing happened for so many days are left out.
        log_share: of the answers, from 0 to 1, that services log where they are told nothing else.
        clock: microseconds since 1970.

    Raises:
        UsageError: a feature can't be had.
        ShopError: a table's contract fails as a whole.
        StorageError: the store is full or does not answer; what was published before stays.
    """
    name = load_config(shop).name
    wanted = named(only, definitions_of(shop) if definitions is None else definitions)
    # before the tables are read: of whoever is forgotten meanwhile too few may be told of, never too many
    changes = open_people(settings, shop=name).forgotten().changes
    with staging_folder(settings) as staging:
        clean = clean_shop(shop, staging=staging, as_of=None, settings=settings)
        claim_state(shop, name=name, settings=settings)
        streams = shop_streams(clean.tables)
        keys = {key for columns in ENTITIES.values() for key in columns}
        calendar = clean.config.timestamps == "calendar"
        features, left_out = choose(wanted, streams, keys=keys, calendar=calendar, strict=bool(only))
        made = clock()
        at = known_until(streams, now=made)
        packing = Packing(features, streams, at=at, oldest=at - round(idle_days * DAY))
        raw = clean.tables["events"].raw.files if "events" in clean.tables else ()
        names = names_of(settings, shop=name, privacy=clean.config.privacy)
        mask = names.fingerprint if names else ""
        about = About(
            at,
            versions(features),
            mask,
            made=made,
            oldest=packing.oldest,
            forgotten=changes,
            own=carried(features),
            log_share=log_share,
        )
        state = State(reached(raw), at, packing.waiting(), packing.sums())
        state.tidy()
        products = clean.tables["products"].frame.select(pl.col("product_id").unique().sort()).collect()["product_id"]

        def values() -> Any:
            yield ABOUT, about.packed()
            yield STATE, state.packed()
            yield from packing.values(products.to_list())

        generation = open_store(name).publish(values(), ttl_s=ttl_days * 86_400)
    return Published(
        shop=name,
        generation=generation,
        at=datetime.fromtimestamp(at / 1e6, tz=UTC),
        records=packing.records,
        idle={entity: count for entity, count in packing.idle.items() if count},
        features=versions(features),
        with_tables=[one.name for one in features if not streamed(one)],
        left_out=left_out,
    )


def known_until(streams: Streams, *, now: int) -> int:
    """When the newest event became known, microseconds since 1970; not later than now, and now without events.

    Not when it happened: what the log took last may have happened earlier, and is part of what is published.
    """
    if "events" not in streams:
        return now
    newest = streams["events"].frame.select(pl.col("start").max()).collect(engine="streaming").item()
    return now if newest is None else min(now, newest)
