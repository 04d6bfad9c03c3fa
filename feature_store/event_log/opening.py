"""Which event log a shop has: a file in RECSYS_HOME, or a PostgreSQL server."""

from pathlib import Path

from feature_store.event_log.log import EventLog
from feature_store.event_log.sqlite import SqliteLog
from recsys.errors import UsageError
from recsys.settings import Settings

FILE = "log.db"
SERVERS = ("postgresql://", "postgres://")


def open_log(settings: Settings, *, shop: str, mask: str | None = None) -> EventLog:
    """The shop's event log; nothing is read or written until its first call.

    Args:
        settings: name the server, or where the file stands.
        shop: the shop's name.
        mask: fingerprint of the mask of user ids, "" for none; None takes the log as it is.

    Raises:
        UsageError: the address is of no known server.
        MissingDependencyError: the package for that server is not installed.
    """
    if not settings.event_log:
        return SqliteLog(log_file(settings, shop=shop), mask=mask)
    if not settings.event_log.startswith(SERVERS):
        raise UsageError(
            f"an event log at {settings.event_log.partition(':')[0]}:…",
            expected=f"an address that begins with {SERVERS[0]}",
            action="correct RECSYS_EVENT_LOG, or leave it out to keep events in RECSYS_HOME",
        )
    from feature_store.event_log.postgres import PostgresLog

    return PostgresLog(settings.event_log, shop=shop, mask=mask)


def log_file(settings: Settings, *, shop: str) -> Path:
    """Where the file of a shop's log stands."""
    return settings.events(shop) / FILE


def has_log(settings: Settings, *, shop: str) -> bool:
    """True where a log may hold events of the shop."""
    return bool(settings.event_log) or log_file(settings, shop=shop).exists()
