"""A shop's features, published and followed from its event log, are those of its training table at the same instant."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest

from feature_store.event_log.compact import compact
from feature_store.event_log.door import Door
from feature_store.event_log.opening import open_log
from feature_store.event_log.parts import Position
from feature_store.forgetting.marks import FOREVER, NOBODY, Forgotten, mark_of
from feature_store.online.lmdb_values import LmdbValues
from feature_store.online_features.follow import Follower
from feature_store.online_features.layout import beginning, key_of, keys_of
from feature_store.online_features.opening import open_features
from feature_store.online_features.publish import publish
from feature_store.online_features.state import ABOUT, About
from feature_store.online_features.store import OnlineFeatures
from feature_store.point_in_time.defaults import DEFAULTS
from feature_store.point_in_time.definitions import ENTITIES, Entity
from feature_store.point_in_time.engine import compute
from feature_store.point_in_time.streams import shop_streams
from feature_store.validate import clean_shop
from recsys.errors import StorageError, UsageError
from recsys.settings import Settings, load_settings
from tests.command import recsys
from tests.feature_store.point_in_time.test_records import dated_tables
from tests.shops import START, write_shop

NOW = START + timedelta(days=90)
WITH_TABLES = [
    "product_price",
    "product_in_stock",
    "product_price_change_7d",
    "product_price_change_28d",
    "query_product_grade",
    "follow_views_28d",
    "follow_views_all",
]


@pytest.fixture(scope="module")
def dated_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("dated") / "shop", dated_tables())


def microseconds(moment: datetime) -> int:
    return pl.Series([moment], dtype=pl.Datetime("us", "UTC")).dt.timestamp("us").item()  # type: ignore[no-any-return]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path / "home")


def fill(shop: Path, settings: Settings, *, now: datetime = NOW, **options: object) -> dict[str, object]:
    done = publish(
        shop,
        open_store=lambda name: LmdbValues(settings.features(name)),
        settings=settings,
        clock=lambda: microseconds(now),
        **{"ttl_days": 7.0, "idle_days": 400.0} | options,  # type: ignore[arg-type]
    )
    return done.as_json()


def opened(settings: Settings, *, now: datetime, shop: str = "") -> OnlineFeatures:
    return OnlineFeatures(LmdbValues(settings.features(shop)), clock=lambda: microseconds(now))


def check(online: OnlineFeatures, shop: Path, *, now: datetime, without: Sequence[str] = ()) -> int:
    """Compare with the training table's engine on everything that the shop has by now; how many values were not 0."""
    rows = pl.DataFrame(
        {
            "user_id": [f"u{number:02d}" for number in range(30)] + ["nobody"],
            "product_id": [f"p{number:02d}" for number in range(30)] + ["nothing"],
            "query": [" blue  Sofa"] * 30 + ["lamp"],
        }
    ).with_columns(timestamp=pl.lit(now).dt.cast_time_unit("us"))
    with TemporaryDirectory() as staging:
        streams = shop_streams(clean_shop(shop, staging=Path(staging)).tables)
        spelt = rows.with_columns(query=pl.col("query").replace(" blue  Sofa", "blue sofa"))
        asked = [one for one in DEFAULTS if one.entity != "follow"]
        offline = compute(spelt, asked, streams, staging=Path(staging))
    told = 0
    for entity in ("user", "product", "user_product", "query", "query_product"):
        found = online.read(entity, list(rows.select(ENTITIES[entity]).iter_rows()), now=microseconds(now))
        for name, values in zip(found.names, found.values.T, strict=True):
            if name not in without:
                expected = offline[name].cast(pl.Float32).to_numpy()
                np.testing.assert_array_equal(values, expected, err_msg=name)
                told += int((np.nan_to_num(values) != 0).sum())
    return told


def test_published_and_followed_through_the_log(
    dated_shop: Path,
    tmp_path: Path,
    settings: Settings,
) -> None:
    shop = tmp_path / "shop"
    shop.symlink_to(dated_shop)
    report = fill(dated_shop, settings)
    assert report["with_tables"] == WITH_TABLES
    assert (report["records"]["user"], report["left_out"]) == (30, {})  # type: ignore[index]
    online = opened(settings, now=NOW)
    assert check(online, dated_shop, now=NOW) > 500


def test_events_change_the_features_at_once_and_once(
    dated_shop: Path,
    tmp_path: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The log's events, read by the night as tables, give the training table what the store has already."""
    shop = copied(dated_shop, tmp_path / "shop")
    fill(shop, settings)
    log = open_log(settings, shop="")
    kinds = ["view", "view", "click", "add_to_cart", "purchase", "impression", "search", "cancel", "remove_from_cart"]
    late = NOW + timedelta(hours=2)
    rows = [
        {
            "event_id": f"e{number}",
            "user_id": None if number % 11 == 0 else f"u{number % 9:02d}",
            "product_id": "no such product" if number % 13 == 0 else f"p{number % 5:02d}",
            "timestamp": (NOW + timedelta(minutes=number) - timedelta(days=number % 3 * 9)).isoformat(),
            "known_at": (late if number % 7 == 0 else NOW + timedelta(minutes=number)).isoformat(),
            "event_type": kinds[number % len(kinds)],
            "query": "Blue sofa" if number % 2 else None,
            "price": number / 7,
            "quantity": number % 4 + 1,
            "position": number % 6,
        }
        for number in range(60)
    ]
    checked = Door(told_known_at=True).check(rows)
    assert not checked.refused
    online = opened(settings, now=NOW + timedelta(hours=1))
    follower = Follower(online, log)
    for some in (checked.events[:20], checked.events[20:21], checked.events[20:]):
        log.append(some)
        follower.catch_up()
        follower.catch_up()
    assert online.position() == Position(log.identity, log.head())
    assert not online.add(log.read(after=0, until=60), until=Position(log.identity, 60)), "brought again"
    compact(log, shop, lock=tmp_path / "lock")
    before = check(online, shop, now=NOW + timedelta(hours=1), without=WITH_TABLES)
    online = opened(settings, now=late)
    Follower(online, log).catch_up()
    assert check(online, shop, now=late + timedelta(minutes=1), without=WITH_TABLES) > before
    assert check(online, shop, now=late + timedelta(days=40), without=WITH_TABLES)

    fill(shop, settings, now=late)
    again = opened(settings, now=late)
    assert again.position() == Position(log.identity, log.head())
    assert not again.add(log.read(after=0, until=60), until=Position(log.identity, 60)), "they are published"
    assert check(again, shop, now=late + timedelta(minutes=1))
    log.close()


def copied(shop: Path, target: Path) -> Path:
    target.mkdir()
    for file in shop.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def test_what_is_idle_is_left_out_and_what_nobody_publishes_vanishes(dated_shop: Path, settings: Settings) -> None:
    report = fill(dated_shop, settings, idle_days=5.0)
    assert report["idle"]
    assert report["records"]["product"] == 40  # type: ignore[index]
    now = [NOW.timestamp()]
    store = LmdbValues(settings.features(""), clock=lambda: now[0])
    store.publish([(ABOUT, b"{}")], ttl_s=7 * 86_400)
    now[0] += 7 * 86_400
    with pytest.raises(StorageError, match=r"no online features; expected.*not expired; publish again"):
        OnlineFeatures(store).read("product", [("p00",)])


def test_a_user_is_forgotten(dated_shop: Path, settings: Settings) -> None:
    fill(dated_shop, settings)
    online = opened(settings, now=NOW)
    store = online.store
    pairs = store.keys(beginning("user_product", "u01"))
    assert pairs
    assert online.forget(["u01", "nobody"]) >= len(pairs) + 1
    assert store.keys(beginning("user_product", "u01")) == []
    assert store.read([key_of("user", ("u01",)), "i" + key_of("user", ("u01",))]) == [None, None]
    assert store.keys(beginning("user_product", "u02"))
    assert online.read("user", [("u01",)]).values[0][0] == 0


def test_forgotten_users_are_found_by_their_marks(dated_shop: Path, settings: Settings) -> None:
    fill(dated_shop, settings)
    online = opened(settings, now=NOW)
    assert online.forget_past(NOBODY) == 0
    gone = Forgotten(b"k", {mark_of(b"k", name): FOREVER for name in ("u01", "nobody")})
    assert online.forget_past(gone) > 1
    assert online.store.keys(beginning("user_product", "u01")) == []
    assert online.store.keys(beginning("user_product", "u02"))
    assert online.forget_past(gone) == 0


def test_older_definitions_and_other_masks_are_one_line(dated_shop: Path, settings: Settings) -> None:
    fill(dated_shop, settings, only=["product_views_7d"])
    store = LmdbValues(settings.features(""))
    (packed,) = store.read([ABOUT])
    assert packed is not None
    about = About.of(packed)
    changes = [
        ({"product_views_7d": "0" * 12}, "", "serve other definitions of product_views_7d"),
        ({"product_seen": "0" * 12}, "", "serve other definitions of product_seen"),
        (about.features, "0" * 16, "are masked otherwise"),
    ]
    for features, mask, message in changes:
        changed = About(about.at, features, mask).packed()
        store.update([], lambda _, changed=changed: {ABOUT: changed})  # type: ignore[misc]
        with pytest.raises(StorageError, match=f"{message}.*recsys table publish SHOP"):
            OnlineFeatures(store).read("product", [("p00",)])
    store.update([], lambda _: {ABOUT: packed.replace(b'"version": 3', b'"version": 9')})
    with pytest.raises(StorageError, match="another format"):
        OnlineFeatures(store).read("product", [("p00",)])


def test_the_commands(dated_shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = ("--home", tmp_path / "home")
    report = recsys(capsys, "table", "publish", dated_shop, *home, "--json").report
    assert report["records"]["product"] == 40
    told = recsys(capsys, "table", "publish", dated_shop, *home, "--ttl-days", "1").out
    assert "changed by the next publication, not by events: product_price, " in told
    words = ("user_product", "u01", "p01", "u02", "p02")
    read = recsys(capsys, "table", "read", dated_shop, *words, *home, "--json").report
    assert read["keys"] == [["u01", "p01"], ["u02", "p02"]]
    assert len(read["values"]) == 2
    assert "product_price" in recsys(capsys, "table", "read", dated_shop, "product", "p01", *home).out
    for words, message in (
        (("user_product", "u01"), "1 words for keys of user_id and product_id"),
        (("product", "p01", "--at", "2001-01-01"), "or later: the past is gone"),
        (("product", "p01", "--online", "http://x"), "an online store at http:…"),
    ):
        done = recsys(capsys, "table", "read", dated_shop, *words, *home)
        assert (done.code, message in done.err) == (2, True), done.err
    empty = recsys(capsys, "table", "read", dated_shop, "product", "p01", "--home", tmp_path / "other")
    assert (empty.code, "no online features" in empty.err) == (1, True)
    assert (
        open_features(load_settings(home=tmp_path / "home"), shop="").read("product", [("p01",)]).values.shape[0] == 1
    )


def test_a_flag_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().online_store == ""
    monkeypatch.setenv("RECSYS_ONLINE_STORE", "redis://one")
    assert load_settings().online_store == "redis://one"
    assert load_settings(online_store="redis://two").online_store == "redis://two"
    assert load_settings(online_store="").online_store == "", "LMDB, whatever the environment says"


def test_reads_that_can_t_be(dated_shop: Path, settings: Settings) -> None:
    fill(dated_shop, settings, only=["product_views_7d"])
    online = opened(settings, now=NOW)
    with pytest.raises(UsageError, match="no feature of user is published; expected one of product"):
        online.read("user", [("u01",)])
    with pytest.raises(UsageError, match="a key of 2 parts; expected product_id of each product"):
        online.read("product", [("p01", "p02")])
    assert online.read("product", []).values.shape == (0, 1)
    assert online.read("product", [("",), ("x" * 2_000,)]).values.tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("entity", ["user", "user_product", "query_product"])
def test_keys_of_many_are_the_keys_of_each(entity: Entity) -> None:
    parts = ["a", "ü" * 3, "1:b", "#x", "x" * 240, "x" * 241, "ü" * 121]
    columns = ENTITIES[entity]
    frame = pl.DataFrame({name: parts if number == 0 else parts[::-1] for number, name in enumerate(columns)})
    assert keys_of(entity, frame).to_list() == [key_of(entity, row) for row in frame.iter_rows()]
    assert all(len(("i" + key).encode()) <= 500 for key in keys_of(entity, frame))
    assert len(set(keys_of(entity, frame))) == len(parts)
    if len(columns) == 2:
        assert all(key_of(entity, row).startswith(beginning(entity, row[0])) for row in frame.iter_rows())


def test_the_state_stays_small(dated_shop: Path, settings: Settings) -> None:
    """Days that no midnight asks for are one."""
    fill(dated_shop, settings)
    store = LmdbValues(settings.features(""))
    (state,) = store.read(["\x01state"])
    assert state is not None
    _, _, waiting, sums = json.loads(state)
    assert waiting == []
    assert max(map(len, sums)) <= 2
    assert datetime.fromtimestamp(0, tz=UTC) < NOW
