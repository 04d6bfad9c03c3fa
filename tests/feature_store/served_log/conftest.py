"""A shop with an event log whose online features are followed and whose answers are logged, on a clock of its own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from feature_store.config import load_config
from feature_store.event_log import sqlite
from feature_store.event_log.compact import compact
from feature_store.event_log.door import Door
from feature_store.event_log.log import EventLog
from feature_store.event_log.opening import open_log
from feature_store.forgetting.opening import names_behind, names_of, open_people
from feature_store.online.lmdb_values import LmdbValues
from feature_store.online_features.follow import Follower
from feature_store.online_features.publish import publish
from feature_store.online_features.reading import Read
from feature_store.online_features.store import OnlineFeatures
from feature_store.point_in_time.definitions import Entity
from feature_store.served_log.log import ServedLog
from feature_store.served_log.measure import Measured, measure
from recsys.settings import Settings, load_settings
from tests.feature_store.point_in_time.test_records import dated_tables
from tests.shops import START, write_shop

NOW = START + timedelta(days=90)
USERS = [(f"u{number:02d}",) for number in range(12)]
PRODUCTS = [(f"p{number:02d}",) for number in range(12)]
ASKED: dict[Entity, Sequence[tuple[str, ...]]] = {
    "user": [*USERS, ("nobody",)],
    "product": [*PRODUCTS, ("nothing",)],
    "user_product": [(user, product) for (user,), (product,) in zip(USERS, PRODUCTS, strict=True)],
    "query": [("blue sofa",), (" Lamp ",)],
    "query_product": [("blue sofa", "p00"), ("lamp", "p04")],
    "follow": [("p00", "p03"), ("p03", "p06")],
}


def microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


@dataclass
class Live:
    """One shop with all that serves it."""

    shop: Path
    settings: Settings
    now: list[datetime]
    made: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name = load_config(self.shop).name
        privacy = load_config(self.shop).privacy
        self.names = names_of(self.settings, shop=self.name, privacy=privacy)
        self.log: EventLog = open_log(self.settings, shop=self.name, mask=self.names.fingerprint if self.names else "")
        self.served = ServedLog(self.settings.served(self.name))
        self.publish()
        store = LmdbValues(self.settings.features(self.name))
        mask = self.names and names_behind(self.names.fingerprint, settings=self.settings, shop=self.name)
        self.online = OnlineFeatures(store, mask=mask, clock=self.clock)
        self.follower = Follower(self.online, self.log)

    def clock(self) -> int:
        return microseconds(self.now[0])

    def go(self, **time: float) -> None:
        """Let time pass."""
        self.now[0] += timedelta(**time)

    def publish(self, **options: float) -> None:
        publish(
            self.shop,
            open_store=lambda name: LmdbValues(self.settings.features(name)),
            settings=self.settings,
            clock=self.clock,
            **{"ttl_days": 7.0, "idle_days": 400.0} | options,  # type: ignore[arg-type]
        )

    def happen(self, count: int, *, follow: bool = True, **changes: Any) -> None:
        """So many events are taken, and followed or not yet."""
        kinds = ("view", "click", "add_to_cart", "purchase", "impression")
        rows = []
        for number in range(self.made, self.made + count):
            row = {
                "event_id": f"e{number}",
                "user_id": f"u{number % 9:02d}",
                "product_id": f"p{number % 10:02d}",
                "timestamp": (self.now[0] - timedelta(minutes=number % 3 * 90)).isoformat(),
                "event_type": kinds[number % len(kinds)],
                "query": "Blue sofa" if number % 2 else None,
                "price": 3.5,
                "quantity": 1.0,
            }
            rows.append({name: one for name, one in (row | changes).items() if one is not None})
        self.made += count
        people = open_people(self.settings, shop=self.name)
        checked = Door(self.names, forgotten=people.forgotten).check(rows, now=self.now[0])
        assert not checked.refused
        self.log.append(checked.events)
        if follow:
            self.follower.catch_up()

    def ask(self, *entities: Entity, spoil: Callable[[Read], Read] = lambda read: read) -> None:
        """What the service would answer is logged."""
        for entity in entities or tuple(ASKED):
            people = open_people(self.settings, shop=self.name)
            self.served.append([spoil(self.online.read(entity, ASKED[entity]))], forgotten=people.forgotten())

    def compact(self) -> None:
        people = open_people(self.settings, shop=self.name)
        compact(self.log, self.shop, lock=self.settings.locks / "compact", people=people, now=self.clock)

    def measure(self, **options: Any) -> Measured:
        return measure(self.shop, settings=self.settings, clock=self.clock, **{"sample": 10**6, "seed": 0} | options)

    def close(self) -> None:
        self.log.close()
        self.served.close()


@pytest.fixture
def open_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Live]]:
    opened: list[Live] = []

    def make(toml: str = "") -> Live:
        now = [NOW]
        monkeypatch.setattr(sqlite, "time_ns", lambda: microseconds(now[0]) * 1000)
        shop = write_shop(tmp_path / "shop", dated_tables(), toml=toml)
        opened.append(Live(shop, load_settings(home=tmp_path / "home"), now))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


@pytest.fixture
def live(open_live: Callable[..., Live]) -> Live:
    return open_live()
