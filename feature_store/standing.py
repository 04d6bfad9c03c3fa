"""Whether what `recsys index` has made is still there; light, for a night asks it before it starts a child."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from feature_store.online.lmdb import LmdbStore
from feature_store.online.opening import shared_histories
from recsys.engine.current import current_index
from recsys.engine.manifest import is_whole
from recsys.errors import IndexMismatchError, StorageError
from recsys.settings import Settings


def index_stands(report: Mapping[str, Any], *, settings: Settings) -> bool:
    """True where the index and the histories of a report are there, whole, and still live if they were.

    Histories on a server that has kept them for half of their time are written again, so that they never expire.

    Args:
        report: what `recsys index --json` printed.
        settings: where state lives.
    """
    folder, indexes = Path(report["index"]), settings.index(report["shop"])
    store = LmdbStore(settings.online(report["shop"]))
    if not (is_whole(folder) and store.has(report["histories"])):
        return False
    if not report["live"]:
        return True
    try:
        shared = shared_histories(settings, shop=report["shop"])
        if shared is not None and not shared.stands(report["histories"]):
            return False
        return store.generation() == report["histories"] and current_index(indexes) == folder.resolve()
    except (IndexMismatchError, StorageError):
        return False
