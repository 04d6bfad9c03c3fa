"""Measure a shop's parity by its served log, and keep what was found."""

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from time import time_ns
from typing import Any

from feature_store.config import load_config
from feature_store.event_log.log import moment
from feature_store.forgetting.opening import open_people
from feature_store.owner import claim_state
from feature_store.point_in_time.definitions import DAY, Feature
from feature_store.point_in_time.own import definitions_of
from feature_store.served_log.log import ServedLog
from feature_store.served_log.replay import Replay, Replayed
from feature_store.staging import staging_folder
from feature_store.validate import clean_shop
from recsys.errors import UsageError
from recsys.parity import LEAST
from recsys.settings import Settings
from recsys.storage import write_text


@dataclass(frozen=True)
class Measured:
    """What a measurement found.

    Attributes:
        at: when it was made.
        since: the earliest instant of a row that was looked at.
        until: the latest.
        least: the share that each feature has to reach.
        replayed: the figures.
        versions: by name those of the definitions.
    """

    at: datetime
    since: datetime
    until: datetime
    least: float
    replayed: Replayed
    versions: dict[str, str]

    @property
    def failed(self) -> list[str]:
        """The features below the least share."""
        return [one.name for one in self.replayed.features if one.share < self.least]

    def as_json(self) -> dict[str, Any]:
        """The report for machines, and what is kept."""
        told = self.replayed
        features = [
            {"name": one.name, "version": self.versions[one.name], "rows": one.rows, "equal": one.equal}
            | {"share": one.share, "served_mean": one.served_mean, "known_mean": one.known_mean}
            for one in told.features
        ]
        lags = {"median": median(told.lags), "longest": max(told.lags)} if told.lags else {}
        return {
            "at": self.at.isoformat(timespec="seconds"),
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "rows": told.rows,
            "features": features,
            "least": self.least,
            "failed": self.failed,
            "ok": not self.failed,
            "left_out": {reason: rows for reason, rows in told.left_out.items() if rows},
            "other_definitions": dict(told.other),
            "behind": {"rows": len(told.lags), "seconds": lags},
        }


def measure(
    shop: Path,
    *,
    sample: int,
    seed: int,
    least: float = LEAST,
    since: datetime | None = None,
    definitions: Sequence[Feature] | None = None,
    settings: Settings,
    clock: Callable[[], int] = lambda: time_ns() // 1000,
) -> Measured:
    """Replay a sample of what was served; where anything could be compared, the result takes the last one's place.

    Args:
        shop: the shop folder, its event log compacted into it.
        sample: how many rows at most, one for each key of an answer.
        seed: of the sample.
        least: the share of equal values that each feature has to reach.
        since: rows of before are passed over; None looks back a day from the newest.
        definitions: what is compared; DEFAULTS and the shop's own where None.
        settings: where the log stands and the result is kept.
        clock: microseconds since 1970.

    Raises:
        UsageError: nothing was logged.
        ShopError: a table's contract fails as a whole.
        StorageError: the log fails.
    """
    name = load_config(shop).name
    known = definitions_of(shop) if definitions is None else definitions
    claim_state(shop, name=name, settings=settings)
    with closing(ServedLog(settings.served(name))) as served, staging_folder(settings) as staging:
        if (newest := served.newest()) is None:
            raise UsageError(
                f"no served features are logged in {served.file}",
                expected="those of a service that logs a share of them",
                action="start it by `recsys serve --log-features 0.01`, or name a file of requests with --log",
            )
        served.erase(open_people(settings, shop=name).forgotten().until(served.users()))
        border = newest - DAY if since is None else round(since.timestamp() * 1_000_000)
        clean = clean_shop(shop, staging=staging, settings=settings)
        replay = Replay(clean, definitions=known, served=served, settings=settings, staging=staging)
        replayed = replay.run(since=border, sample=sample, seed=seed)
    versions = {feature.name: feature.version for feature in known}
    found = Measured(moment(clock()), moment(border), moment(newest), least, replayed, versions)
    if replayed.features:
        write_text(settings.parity(name), json.dumps({"shop": name} | found.as_json(), indent=1))
    return found
