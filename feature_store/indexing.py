"""The index of a shop: today's catalogue joined with its champions, and everyone's history beside it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from feature_store.forgetting.opening import open_people
from feature_store.live import LiveShop, read_live
from feature_store.online.lmdb import LmdbStore
from feature_store.online.opening import shared_histories
from feature_store.online.store import Holds
from feature_store.owner import claim_state
from recsys.bundle.read import Bundle
from recsys.engine.build import build_index
from recsys.engine.current import current_until, set_current
from recsys.engine.image_vectors import images_stamp
from recsys.engine.manifest import IndexManifest, is_index, is_whole, read_manifest
from recsys.registry.client import Registry
from recsys.settings import Settings
from recsys.storage import refuse_other_files

KINDS = ("product-search", "recommender")


@dataclass(frozen=True)
class IndexOptions:
    """How the index is made.

    Attributes:
        out: where it comes to stand; a folder of its own below RECSYS_HOME where None.
        models: by kind, the address of a version or bundle folder; the champion, if there is one, where not named.
        dense_kind: "flat", "hnsw", "ivf-pq" or "auto".
        backbone: the encoder taken where no bundle brings one; "" is none.
        live: whether service and batch take it from now on; None leaves a backfill aside and takes all else.
    """

    out: Path | None
    models: Mapping[str, str]
    dense_kind: Literal["auto", "flat", "hnsw", "ivf-pq"]
    backbone: str
    live: bool | None


@dataclass(frozen=True)
class Indexed:
    """What was made.

    Attributes:
        folder: of the index.
        manifest: what it says about itself.
        shop: the shop's name.
        generation: the histories' generation in the online store; not the current one where the index is not live.
        users: how many users have a record there.
        live: whether service and batch take it from now on.
        reused: True where an index of the same content stood there already, whole.
        behind: the last moment that the live index knows of, where this one is a backfill and was left aside for it.
    """

    folder: Path
    manifest: IndexManifest
    shop: str
    generation: str
    users: int
    live: bool
    reused: bool
    behind: datetime | None

    def as_json(self) -> dict[str, Any]:
        """The report for machines."""
        return {
            "index": str(self.folder),
            "shop": self.shop,
            "live": self.live,
            "histories": self.generation,
            "users": self.users,
            "reused": self.reused,
            "behind": self.behind and self.behind.isoformat(),
            **self.manifest.model_dump(mode="json"),
            "digest": self.manifest.digest,
        }


def index_shop(shop: Path, *, as_of: datetime | None, options: IndexOptions, settings: Settings) -> Indexed:
    """Build the index of a shop and make it the live one; the last good one stays where anything fails.

    An index of an earlier time than the live one knows is left aside unless `options.live` says otherwise.

    Raises:
        UsageError: the folder that is asked for holds something else.
        ShopError: a table's contract fails as a whole, or the shop has no name and another one without has an index.
        RegistryError: a model named does not exist or belongs to another shop.
        TrackingError: the registry can't be reached.
        StorageError: the disk is full.
    """
    if options.out is not None:
        refuse_other_files(options.out, what="index", older=is_index)
    now = read_live(shop, as_of=as_of, settings=settings)
    name = now.config.name
    claim_state(shop, name=name, settings=settings)
    bundles, versions = find_bundles(name, options=options, settings=settings)
    folder = options.out or settings.index(name) / folder_name(now, bundles, options, shop=shop)
    reused = options.out is None and is_whole(folder)
    if not reused:
        build_index(
            now.catalogue,
            search=bundles.get("product-search"),
            recommender=bundles.get("recommender"),
            folder=folder,
            shop=name,
            dense_kind=options.dense_kind,
            versions=versions,
            backbone=options.backbone,
            cache=settings.vectors,
            pictures=shop,
            lists=now.config.lists,
        )
    behind = newer_live(now, as_of=as_of, settings=settings) if options.live is None else None
    live = options.live if options.live is not None else behind is None
    holds = Holds(now.position, now.mask)
    store = LmdbStore(settings.online(name), holds=holds)
    if live:
        generation = store.materialise(now.histories)
        ttl_s = now.config.online.ttl_days * 86_400
        if (shared := shared_histories(settings, shop=name, holds=holds, ttl_s=ttl_s)) is not None:
            shared.materialise(now.histories)
        set_current(settings.index(name), folder, until=now.until)
    else:
        generation = store.set_aside(now.histories)
    late = store.erase(open_people(settings, shop=name).forgotten())  # whoever was forgotten since the tables were read
    generation = late.generations.get(generation, generation)
    return Indexed(
        folder=folder,
        manifest=read_manifest(folder),
        shop=name,
        generation=generation,
        users=len(now.histories.users),
        live=live,
        reused=reused,
        behind=behind,
    )


def newer_live(now: LiveShop, *, as_of: datetime | None, settings: Settings) -> datetime | None:
    """The last moment that the live index knows of, where an earlier present was asked for; else None.

    A shop whose newest events were taken back is no backfill: without `as_of`, today's tables are today.
    """
    latest = current_until(settings.index(now.config.name))
    older = as_of is not None and now.until is not None and latest is not None and now.until < latest
    return latest if older else None


def find_bundles(shop: str, *, options: IndexOptions, settings: Settings) -> tuple[dict[str, Bundle], dict[str, str]]:
    """The bundles by kind and the names people know them by: those named, else the champions that exist."""
    registry = Registry(settings)
    bundles, versions = {}, {}
    for kind in KINDS:
        if (address := options.models.get(kind)) is not None:
            bundles[kind], versions[kind] = registry.open(address, shop=shop)
        elif (champion := registry.find(kind, shop=shop)) is not None:
            bundles[kind], versions[kind] = registry.fetch(champion), champion.label
    return bundles, versions


def folder_name(now: LiveShop, bundles: Mapping[str, Bundle], options: IndexOptions, *, shop: Path) -> str:
    """16 hex digits over what the index is made of."""
    parts = [now.catalogue.digest, options.dense_kind, options.backbone]
    parts += [f"{kind}:{bundles[kind].digest}" for kind in sorted(bundles)]
    parts += [json.dumps(told, sort_keys=True)] if (told := now.config.lists.told()) else []
    parts += [stamp] if (stamp := images_stamp(bundles.get("product-search"), now.catalogue, shop)) else []
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
