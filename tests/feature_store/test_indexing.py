"""The index of a shop: live only when whole, the same content once, histories beside it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from feature_store import indexing
from feature_store.config import load_config
from feature_store.indexing import IndexOptions, index_shop
from feature_store.online.lmdb import LmdbStore
from feature_store.online.opening import history_store
from feature_store.online.redis import RedisStore
from feature_store.standing import index_stands
from recsys.engine.current import current_index
from recsys.engine.engine import Engine
from recsys.errors import IndexMismatchError, RegistryError, ShopError, StorageError
from recsys.settings import Settings, load_settings
from tests.command import recsys
from tests.redis_server import redis_server
from tests.shops import small_tables, write_shop, write_small_shop


class NoModels:
    """A registry in which nothing was registered."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def find(self, kind: str, *, shop: str) -> None:
        return None

    def open(self, address: str, *, shop: str) -> None:
        raise RegistryError(f"no model {address}", expected="one", action="train it")


@pytest.fixture(autouse=True)
def _no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "Registry", NoModels)


def words_alone(**changes: Any) -> IndexOptions:
    return IndexOptions(**({"out": None, "models": {}, "dense_kind": "auto", "backbone": "", "live": True} | changes))


def test_an_index_answers_and_knows_the_users(small_shop: Path) -> None:
    settings = load_settings()
    made = index_shop(small_shop, as_of=None, options=words_alone(), settings=settings)
    assert current_index(settings.index("small")) == made.folder
    assert made.manifest.products == 40
    assert (made.shop, made.users, made.reused) == ("small", 30, False)
    store = LmdbStore(settings.online("small"))
    engine = Engine.open(made.folder, settings=settings, histories=store)
    answer = engine.search(["blue sofa"], k=3)[0]
    titles = dict(small_tables()["products"].select("product_id", "title").iter_rows())
    assert all("blue sofa" in titles[hit.product_id] for hit in answer.hits[:2])
    assert store.user_ids() == [f"u{number:02d}" for number in range(30)]
    events = small_tables()["events"].filter(pl.col("user_id") == "u03").sort("timestamp")
    assert store.read(["u03"]).product_ids == tuple(events["product_id"])


@pytest.mark.services
def test_hosts_that_share_a_server_find_the_histories_there(small_shop: Path, tmp_path: Path) -> None:
    with redis_server(tmp_path) as address:
        settings = load_settings(online_store=address)
        made = index_shop(small_shop, as_of=None, options=words_alone(), settings=settings)
        shared, own = history_store(settings, shop="small"), LmdbStore(settings.online("small"))
        assert isinstance(shared, RedisStore)
        assert shared.generation() == own.generation() == made.generation
        users = own.user_ids()
        assert shared.read(users).product_ids == own.read(users).product_ids
        report = made.as_json()
        assert index_stands(report, settings=settings)
        shared.client.flushall()
        assert not index_stands(report, settings=settings), "the next night fills it again"
        index_shop(small_shop, as_of=None, options=words_alone(), settings=settings)
        assert index_stands(report, settings=settings)
        shared.client.close()
    assert not index_stands(report, settings=settings)
    assert index_stands(report, settings=load_settings())
    with pytest.raises(StorageError, match="start it"):
        index_shop(small_shop, as_of=None, options=words_alone(), settings=settings)


def test_the_same_shop_is_indexed_once(small_shop: Path) -> None:
    first = index_shop(small_shop, as_of=None, options=words_alone(), settings=load_settings())
    second = index_shop(small_shop, as_of=None, options=words_alone(), settings=load_settings())
    assert (second.folder, second.reused) == (first.folder, True)
    assert second.generation == first.generation


def test_an_index_keeps_the_shops_rules_for_lists(small_shop: Path) -> None:
    free = index_shop(small_shop, as_of=None, options=words_alone(), settings=load_settings())
    assert free.manifest.lists == {}
    with (small_shop / "shop.toml").open("a") as file:
        file.write("\n[lists]\nrepeats = true\n[lists.shape]\nper_brand = 2\nreturn_half_life = 30\n")
    ruled = index_shop(small_shop, as_of=None, options=words_alone(), settings=load_settings())
    assert ruled.folder != free.folder
    assert ruled.manifest.lists == {"repeats": True, "shape": {"per_brand": 2, "return_half_life": 30.0}}
    policy = Engine.open(ruled.folder, settings=load_settings()).recommendations.policy
    assert (policy.repeats, policy.shape.per_brand, policy.shape.diversity) == (True, 2, 0.0)


def test_lists_count_no_days_in_a_shop_without_a_calendar(tmp_path: Path) -> None:
    rules = "[lists.shape]\nreturn_days = 30\n"
    (tmp_path / "shop.toml").write_text(rules)
    assert load_config(tmp_path).lists.shape.return_days == 30
    (tmp_path / "shop.toml").write_text(f'timestamps = "order"\n{rules}')
    with pytest.raises(ShopError, match=r"lists\.shape\.return_days counts days, and timestamps = 'order' has none"):
        load_config(tmp_path)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


def flip_a_byte(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(bytes(body))


@pytest.mark.parametrize("harm", [cut_short, flip_a_byte, Path.unlink])
@pytest.mark.parametrize("file", ["catalogue.parquet", "lexical/meta.json"])
def test_a_damaged_index_is_built_again(small_shop: Path, harm: Callable[[Path], None], file: str) -> None:
    settings = load_settings()
    first = index_shop(small_shop, as_of=None, options=words_alone(), settings=settings)
    harm(first.folder / file)
    second = index_shop(small_shop, as_of=None, options=words_alone(), settings=settings)
    assert (second.folder, second.reused) == (first.folder, False)
    assert Engine.open(second.folder, settings=settings).search(["blue sofa"], k=3)[0].hits


@pytest.mark.parametrize("harm", [cut_short, Path.unlink])
def test_a_torn_file_is_one_line_when_the_index_is_opened(small_shop: Path, harm: Callable[[Path], None]) -> None:
    settings = load_settings()
    folder = index_shop(small_shop, as_of=None, options=words_alone(), settings=settings).folder
    torn = next(folder.glob("lexical/*.store"))
    harm(torn)
    with pytest.raises(IndexMismatchError, match=rf"{torn.name} .*as it was built.*recsys index SHOP"):
        Engine.open(folder, settings=settings)


def test_histories_are_net_of_cancels(tmp_path: Path) -> None:
    tables = small_tables()
    bought = tables["events"].filter(pl.col("event_type") == "purchase").head(1)
    cancel = bought.with_columns(pl.lit("cancel").alias("event_type"), pl.col("timestamp").dt.offset_by("60d"))
    shop = write_shop(tmp_path / "shop", tables | {"events": pl.concat([tables["events"], cancel])})
    settings = load_settings()
    index_shop(shop, as_of=None, options=words_alone(), settings=settings)
    user = bought["user_id"][0]
    expected = tables["events"].filter(pl.col("user_id") == user).height - 1
    assert len(LmdbStore(settings.online("")).read([user]).product_ids) == expected


def test_the_last_good_index_stays(small_shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    good = index_shop(small_shop, as_of=None, options=words_alone(), settings=settings)
    broken = write_small_shop(tmp_path / "broken")
    (broken / "products.parquet").write_bytes(b"PAR1")
    with pytest.raises(ShopError):
        index_shop(broken, as_of=None, options=words_alone(), settings=settings)

    def full(*_: object, **__: object) -> None:
        raise StorageError("the disk is full", expected="room", action="free space")

    other = write_shop(tmp_path / "other", small_tables(), toml='name = "small"\ncurrency = "EUR"\n')
    monkeypatch.setattr(indexing, "build_index", full)
    with pytest.raises(StorageError):
        index_shop(other, as_of=None, options=words_alone(), settings=settings)
    assert current_index(settings.index("small")) == good.folder
    assert LmdbStore(settings.online("small")).generation() == good.generation


def test_an_index_that_is_not_made_live(small_shop: Path, tmp_path: Path) -> None:
    settings = load_settings()
    live = index_shop(small_shop, as_of=None, options=words_alone(), settings=settings)
    aside = index_shop(
        small_shop, as_of=None, options=words_alone(out=tmp_path / "index", live=False), settings=settings
    )
    assert aside.folder == tmp_path / "index"
    assert aside.generation == live.generation
    assert current_index(settings.index("small")) == live.folder


def test_a_backfill_leaves_what_shoppers_see_alone(small_shop: Path) -> None:
    settings = load_settings()
    live = index_shop(small_shop, as_of=None, options=words_alone(live=None), settings=settings)
    newest = small_tables()["events"]["timestamp"].max()
    assert isinstance(newest, datetime)
    before = newest - timedelta(days=20)
    old = index_shop(small_shop, as_of=before, options=words_alone(live=None), settings=settings)
    assert (old.live, old.behind) == (False, newest)
    assert current_index(settings.index("small")) == live.folder
    store = LmdbStore(settings.online("small"))
    assert store.generation() == live.generation != old.generation
    users = store.user_ids()
    assert store.pin(old.generation).read(users).timestamps.max() <= before.timestamp() * 1e6
    assert store.read(users).timestamps.max() > before.timestamp() * 1e6
    same = index_shop(small_shop, as_of=newest, options=words_alone(live=None), settings=settings)
    assert (same.live, same.behind) == (True, None)
    forced = index_shop(small_shop, as_of=before, options=words_alone(live=True), settings=settings)
    assert forced.live
    assert store.generation() == old.generation


def test_events_taken_back_are_no_backfill(small_shop: Path, tmp_path: Path) -> None:
    settings = load_settings()
    index_shop(small_shop, as_of=None, options=words_alone(live=None), settings=settings)
    tables = small_tables()
    fewer = tables["events"].filter(pl.col("timestamp") < pl.col("timestamp").max() - timedelta(days=20))
    shop = write_shop(tmp_path / "fewer", tables | {"events": fewer}, toml='name = "small"\n')
    assert index_shop(shop, as_of=None, options=words_alone(live=None), settings=settings).live


def test_only_one_shop_may_go_without_a_name(tmp_path: Path) -> None:
    settings = load_settings()
    first, second = (write_shop(tmp_path / name, small_tables()) for name in ("first", "second"))
    live = index_shop(first, as_of=None, options=words_alone(), settings=settings)
    assert index_shop(first, as_of=None, options=words_alone(), settings=settings).reused
    with pytest.raises(ShopError, match=rf"{second} has no name.*belongs to {first}.*`name` in {second}/shop.toml"):
        index_shop(second, as_of=None, options=words_alone(), settings=settings)
    assert current_index(settings.index("")) == live.folder
    (second / "shop.toml").write_text('name = "second"\n')
    assert index_shop(second, as_of=None, options=words_alone(), settings=settings).shop == "second"
    (second / "shop.toml").write_text('name = "default"\n')
    with pytest.raises(ShopError, match="`default` is kept for shops without a name"):
        index_shop(second, as_of=None, options=words_alone(), settings=settings)


def test_through_the_command_line(small_shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = recsys(capsys, "index", small_shop, "--backbone", "", "--json")
    assert done.code == 0, done.err
    report = done.report
    assert report["products"] == 40
    assert report["users"] == 30
    assert report["live"] is True
    assert "bm25" in report["stages"]
    assert "recommender" in report["absent"]
    assert current_index(load_settings().index("small")) == Path(report["index"])
    people = recsys(capsys, "index", small_shop, "--backbone", "")
    assert "users with a history record: 30" in people.out
    missing = recsys(capsys, "index", small_shop, "--search", "models:/nothing/1")
    assert missing.code == 1
    assert missing.lines[0].startswith("error: no model models:/nothing/1")


def test_attributes_nested_without_end_are_plain_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = small_tables()
    products = tables["products"].with_columns(attributes=pl.lit("[" * 2000))
    shop = write_shop(tmp_path / "shop", tables | {"products": products})
    for command in (["validate", shop], ["index", shop, "--backbone", ""]):
        done = recsys(capsys, *command, "--json")
        assert done.code == 0, done.err
