"""How a Redis server is reached, and a warning where it may throw away what it takes."""

import logging
from typing import TYPE_CHECKING

from recsys.errors import MissingDependencyError, UsageError

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)


def host_of(client: "Redis", url: str) -> object:
    """What people know a client's server by: its host, else the whole address."""
    return client.connection_pool.connection_kwargs.get("host", url)


def warn_of_eviction(client: "Redis", host: object, *, again: str) -> None:
    """Say so where a server may throw away what it took.

    Args:
        client: of the server.
        host: what people know it by.
        again: what brings lost values back.
    """
    memory = client.info("memory")
    policy, most = memory.get("maxmemory_policy", "noeviction"), memory.get("maxmemory", 0)
    if most and policy != "noeviction":
        log.warning(
            "Redis at %s throws values away when its %s bytes are full (maxmemory-policy %s): reads then fail until "
            "you %s; noeviction refuses what is too much instead and keeps what was there",
            host,
            f"{most:,}",
            policy,
            again,
        )


def connect(url: str, *, timeout_s: float) -> "Redis":
    """A client for the server; it connects at its first call."""
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise MissingDependencyError(
            "the package redis is not installed",
            expected="it for an online store in Redis",
            action="pip install 'shoprank[redis]', or use the LMDB store",
        ) from error
    try:
        again = Retry(NoBackoff(), 1)  # at once: a connection that lay idle may have been closed
        return Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=again)
    except ValueError as error:
        raise UsageError(
            f"an online store at {url.partition(':')[0]}:…",
            expected="an address such as redis://host:6379/0",
            action="correct RECSYS_ONLINE_STORE, or leave it out for LMDB in RECSYS_HOME",
        ) from error
