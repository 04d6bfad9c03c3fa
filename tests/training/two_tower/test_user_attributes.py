"""What the users table says: learned where it decides, answered alike from every source, kept by updates."""

import json
import logging
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from feature_store.histories import SnapshotHistories
from feature_store.online.lmdb import LmdbStore
from feature_store.snapshot import Snapshot, build_snapshot
from recsys.bundle.manifest import ComponentInfo
from recsys.retrieval.two_tower import TwoTowerRecommender
from recsys.retrieval.user_codes import UserCodes
from recsys.testing.recommender import check_recommender
from tests.shops import START, write_shop
from training.fit import Silent
from training.two_tower.config import TwoTowerSettings
from training.two_tower.learn import new_network
from training.two_tower.module import TwoTowerModule
from training.two_tower.products import Products
from training.two_tower.start import Start
from training.two_tower.train import train_component

TINY = TwoTowerSettings(
    epochs=24, batch_size=32, patience=0, width=16, blocks=1, heads=1, length=8, negatives=24, precision="fp32",
    dropout=0.0, text=False, id_dropout=0.0, profile="sequence", learning_rate=0.02, user_attributes=True,
)  # fmt: skip
NEUTRAL, OWN, USERS = 8, 3, 240
PLANS, COUNTRIES = ("free", "gold"), ("FR", "GB")


def decided_shop(folder: Path, *, newest: str = "gold") -> Path:
    """Everyone buys two of 8 products by chance; what they buy then, plan and country decide alone.

    Half of the users do so within the first 20 days, the others do the last of it in the 20 days after them:
    what they did says nothing of what they will buy. One in ten stands in no table.

    Args:
        folder: of the shop.
        newest: the plan of the last users, which nobody else has where it is another than gold.
    """
    draw = np.random.default_rng(0)
    rows, users = [], []
    for user in range(USERS):
        plan, country = user % 2, user // 2 % 2
        first = NEUTRAL + OWN * (2 * plan + country)
        late = user % 8 >= 4
        days = [*np.sort(draw.uniform(0, 15, 2)), 40 - draw.uniform(0.1, 15) if late else draw.uniform(16, 20)]
        seen = [*draw.integers(0, NEUTRAL, 2), draw.integers(first, first + OWN)]
        rows += [
            {
                "user_id": f"u{user:03d}", "product_id": f"p{product:02d}", "event_type": "purchase",
                "timestamp": START + timedelta(days=float(day)), "quantity": 1.0,
            }
            for day, product in zip(days, seen, strict=True)
        ]  # fmt: skip
        told = {"plan": newest if user >= USERS - 8 and plan else PLANS[plan], "joined_from": f"page {user}"}
        if user % 10:
            users.append({"user_id": f"u{user:03d}", "country": COUNTRIES[country], "attributes": json.dumps(told)})
    products = [{"product_id": f"p{number:02d}", "title": f"thing {number}"} for number in range(NEUTRAL + 4 * OWN)]
    tables = {"products": pl.DataFrame(products), "users": pl.DataFrame(users), "events": pl.DataFrame(rows)}
    return write_shop(folder, tables, toml='name = "decided"\n')


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    place = tmp_path_factory.mktemp("decided")
    options = {"test_days": "5", "validation_days": "15"}
    return build_snapshot(decided_shop(place / "shop"), out=place / "snapshot", split="time", options=options)


def trained(snapshot: Snapshot, place: Path, *, start: Start | None = None, **changes: Any) -> ComponentInfo:
    return train_component(
        snapshot,
        catalogue=snapshot.catalogue(),
        text=None,
        config=TINY.model_copy(update=changes),
        folder=place / "two_tower",
        work=place / "work",
        run=Silent(),
        refit=False,
        start=start,
    )


@pytest.fixture(scope="module")
def before(decided: Snapshot, tmp_path_factory: pytest.TempPathFactory) -> Start:
    """A component that reads the users table."""
    place = tmp_path_factory.mktemp("before")
    return Start(place / "two_tower", trained(decided, place))


def test_they_are_learned_where_they_decide(decided: Snapshot, before: Start, tmp_path: Path) -> None:
    """Who belongs to a group buys one of three products; a list that knows the group begins with these."""
    without = trained(decided, tmp_path, user_attributes=False).metrics["validation/ndcg@10"]
    found = before.info.metrics["validation/ndcg@10"]
    assert found > 0.55
    assert found > without + 0.15
    codes = UserCodes.load(before.folder)
    assert dict(codes.values) == {"country": COUNTRIES, "attributes.plan": PLANS}


def test_each_group_gets_its_own_and_who_is_unknown_a_list_all_the_same(decided: Snapshot, before: Start) -> None:
    catalogue = decided.catalogue()
    recommender = TwoTowerRecommender.load(before.folder, catalogue=catalogue)
    shoppers = catalogue.encode(SnapshotHistories(decided, parts=["train"]).read([f"u{row:03d}" for row in range(240)]))

    def first(told: dict[str, str], k: int) -> np.ndarray:  # type: ignore[type-arg]
        """The first k products of all shoppers, were they told to be so."""
        known = replace(shoppers, attributes=(json.dumps(told) if told else "",) * len(shoppers))
        return np.stack([found.positions for found in recommender.recommend(known, k=k)])

    for group, (plan, country) in enumerate((plan, country) for plan in PLANS for country in COUNTRIES):
        listed = first({"attributes.plan": plan, "country": country}, OWN) - NEUTRAL
        assert (listed // OWN == group).mean() > 0.8, (plan, country)
        # one of the two attributes leaves two groups
        assert (first({"attributes.plan": plan}, OWN) - NEUTRAL >= 2 * OWN).mean() == pytest.approx(group // 2, abs=0.2)
    bare = first({}, OWN)
    assert (bare >= NEUTRAL).mean() > 0.8
    assert first({"attributes.plan": "new", "country": "XX", "attributes.other": "7"}, OWN).tolist() == bare.tolist()


def test_the_online_store_answers_as_the_snapshot_does(decided: Snapshot, tmp_path: Path) -> None:
    trained(decided, tmp_path, epochs=2)
    catalogue = decided.catalogue()
    recommender = TwoTowerRecommender.load(tmp_path / "two_tower", catalogue=catalogue)
    offline = SnapshotHistories(decided)
    online = LmdbStore(tmp_path / "online")
    online.materialise(offline.table)
    users = [*offline.user_ids(), "a stranger"]
    assert "u010" in users
    assert offline.read(["u010"]).attributes == ("",)  # known by events alone
    histories = [catalogue.encode(source.read(users)) for source in (offline, online)]
    check_recommender(recommender, histories=histories[0], catalogue=len(catalogue))
    one, other = (recommender.recommend(read, k=5) for read in histories)
    for first, second in zip(one, other, strict=True):
        assert first.positions.tolist() == second.positions.tolist()
        assert first.scores.tolist() == second.scores.tolist()


def test_some_are_hidden_in_each_step_and_none_where_none_are_read() -> None:
    codes = torch.randint(1, 5, (4000, 2))
    torch.manual_seed(0)
    config = TINY.model_copy(update={"attribute_dropout": 0.3})
    module = TwoTowerModule(new_network(Products(3), config=config, attributes=(5, 5)), config=config, steps=1)
    found = module.told(codes)
    hidden = found == 0
    assert 0.27 < hidden.float().mean() < 0.33
    assert 0.07 < hidden.all(dim=1).float().mean() < 0.11  # each by itself
    assert torch.equal(found[~hidden], codes[~hidden])
    state = torch.get_rng_state()
    module = TwoTowerModule(new_network(Products(3), config=config), config=config, steps=1)
    torch.set_rng_state(state)
    none = torch.zeros((4, 0), dtype=torch.int64)
    assert module.told(none) is none
    assert torch.equal(torch.get_rng_state(), state)  # a training without them draws what it drew


def test_a_table_that_says_nothing_is_told_and_read_as_nothing(
    ordered_snapshot: Snapshot, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Silence:
        def __getattr__(self, name: str) -> Any:
            return getattr(ordered_snapshot, name)

        def users(self) -> pl.DataFrame:
            return ordered_snapshot.users().with_columns(segment=pl.lit(None), country=pl.lit(None))

    with caplog.at_level(logging.WARNING):
        trained(Silence(), tmp_path, epochs=1)  # type: ignore[arg-type]
    assert "the users table says nothing that two users share" in caplog.text
    recommender = TwoTowerRecommender.load(tmp_path / "two_tower", catalogue=ordered_snapshot.catalogue())
    assert recommender.users is None


def test_an_update_keeps_the_codes_and_reads_a_new_plan_as_an_unknown_one(before: Start, tmp_path: Path) -> None:
    options = {"test_days": "2", "validation_days": "3"}
    later = build_snapshot(
        decided_shop(tmp_path / "shop", newest="platinum"), out=tmp_path / "later", split="time", options=options
    )
    info = trained(later, tmp_path / "new", start=before)
    after = UserCodes.load(tmp_path / "new" / "two_tower")
    assert dict(after.values) == dict(UserCodes.load(before.folder).values)
    assert info.config["user_attributes"]
    fresh = UserCodes.fit(["", ""], ['{"attributes.plan":"platinum"}'] * 2)
    assert fresh.values == {"attributes.plan": ("platinum",)}


def test_a_model_that_reads_segments_alone_goes_on_reading_them(before: Start) -> None:
    info = before.info
    older = {name: value for name, value in info.config.items() if name not in ("user_attributes", "attribute_dropout")}
    for reads in (True, False):
        start = Start(before.folder, info.model_copy(update={"config": older | {"segments": reads}}))
        assert start.settings(TwoTowerSettings()).user_attributes is reads
