"""Which online stores a shop has: LMDB in RECSYS_HOME, or a Redis server that RECSYS_ONLINE_STORE names."""

from feature_store.online.lmdb import LmdbStore
from feature_store.online.lmdb_values import LmdbValues
from feature_store.online.redis import TTL_SECONDS, RedisStore
from feature_store.online.redis_values import RedisValues
from feature_store.online.store import PLAIN, Holds, OnlineStore
from feature_store.online.values import ValueStore
from recsys.settings import Settings

WRITING_SECONDS, SERVING_SECONDS = 30.0, 0.5
"""How long a server may take for one answer."""


def history_store(settings: Settings, *, shop: str) -> OnlineStore:
    """Where the service reads the histories of a shop; nothing is read yet."""
    return shared_histories(settings, shop=shop, timeout_s=SERVING_SECONDS) or LmdbStore(settings.online(shop))


def shared_histories(
    settings: Settings,
    *,
    shop: str,
    holds: Holds = PLAIN,
    timeout_s: float = WRITING_SECONDS,
    ttl_s: float = TTL_SECONDS,
) -> RedisStore | None:
    """The histories on the server that several hosts share; None where each has its own.

    Raises:
        UsageError: the address is of no known server.
        MissingDependencyError: the package for that server is not installed.
    """
    if not settings.online_store:
        return None
    notes = settings.online(shop)
    return RedisStore(settings.online_store, shop=shop, holds=holds, timeout_s=timeout_s, ttl_s=ttl_s, notes=notes)


def value_store(settings: Settings, *, shop: str, timeout_s: float = WRITING_SECONDS) -> ValueStore:
    """Where the features of a shop are served from; nothing is read yet. Raises as `shared_histories`."""
    if not settings.online_store:
        return LmdbValues(settings.features(shop))
    return RedisValues(settings.online_store, shop=shop, timeout_s=timeout_s, notes=settings.features(shop))
