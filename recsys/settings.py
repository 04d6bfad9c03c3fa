"""Where state lives and which server is asked: flag > environment > shop.toml > default."""

import os
from dataclasses import dataclass
from pathlib import Path

from recsys.errors import UsageError

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

NAMELESS = "default"
"""The folder of a shop without a name; no shop may take it for its own."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The folders and addresses of one installation.

    Attributes:
        home: RECSYS_HOME, the folder that holds all state.
        tracking_uri: the MLflow tracking and registry server; SQLite inside home by default.
        event_log: the PostgreSQL server that keeps event logs; "" keeps each in a file inside home.
        online_store: the Redis server that serving hosts read histories and features from; "" is LMDB inside home.
    """

    home: Path
    tracking_uri: str
    event_log: str = ""
    online_store: str = ""

    @property
    def artifacts(self) -> Path:
        """Where MLflow keeps artefacts of the embedded server."""
        return self.home / "artifacts"

    @property
    def snapshots(self) -> Path:
        """Snapshots by content hash."""
        return self.home / "snapshots"

    @property
    def bundles(self) -> Path:
        """Downloaded bundles by digest."""
        return self.home / "bundles"

    @property
    def vectors(self) -> Path:
        """Text vectors kept from one index build to the next."""
        return self.home / "vectors"

    @property
    def ledger(self) -> Path:
        """The hash-chained record of promotions."""
        return self.home / "ledger.jsonl"

    @property
    def locks(self) -> Path:
        """One file for each job that must not run twice at once."""
        return self.home / "locks"

    def index(self, shop: str) -> Path:
        """The folder of a shop's indexes; `current` inside names the live one."""
        return self.home / "indexes" / (shop or NAMELESS)

    def online(self, shop: str) -> Path:
        """The folder of a shop's online store."""
        return self.home / "online" / (shop or NAMELESS)

    def features(self, shop: str) -> Path:
        """The folder of a shop's online features."""
        return self.home / "features" / (shop or NAMELESS)

    def events(self, shop: str) -> Path:
        """The folder of a shop's event log."""
        return self.home / "events" / (shop or NAMELESS)

    def served(self, shop: str) -> Path:
        """The log of features that the services of a shop have answered with."""
        return self.home / "served" / f"{shop or NAMELESS}.db"

    def parity(self, shop: str) -> Path:
        """What the last replay of a shop's served features found."""
        return self.home / "parity" / f"{shop or NAMELESS}.json"

    def people(self, shop: str) -> Path:
        """The keys of a shop's users, and the tombstones of those who were forgotten."""
        return self.home / "keys" / f"{shop or NAMELESS}.db"


def load_settings(
    *,
    home: Path | None = None,
    tracking_uri: str | None = None,
    event_log: str | None = None,
    online_store: str | None = None,
) -> Settings:
    """Settings from the arguments, else the environment, else the defaults.

    Raises:
        UsageError: the folder is that of a user who is not known.
    """
    named = home or Path(os.environ.get("RECSYS_HOME") or ".recsys")
    try:
        folder = named.expanduser().resolve()
    except RuntimeError:
        raise UsageError(
            f"no home folder of the user in {named}", expected="a folder for all state", action="write its whole path"
        ) from None
    address = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow.db'}"
    log = os.environ.get("RECSYS_EVENT_LOG", "") if event_log is None else event_log
    online = os.environ.get("RECSYS_ONLINE_STORE", "") if online_store is None else online_store
    return Settings(home=folder, tracking_uri=address, event_log=log, online_store=online)
