"""Which settings apply where nothing is said."""

import pytest

from feature_store.snapshot import Snapshot
from recsys.errors import UsageError
from training.config import read_config
from training.two_tower.config import PROFILES, TwoTowerSettings
from training.two_tower.events import basket_size


def test_orders_of_many_products_are_read_as_sets() -> None:
    wholesale, single = TwoTowerSettings().resolved(basket=20.0), TwoTowerSettings().resolved(basket=1.0)
    assert (wholesale.profile, single.profile) == ("baskets", "sequence")
    assert {name: getattr(wholesale, name) for name in PROFILES["baskets"]} == PROFILES["baskets"]
    assert single == TwoTowerSettings(profile="sequence", features=True, gated=True, batch_size=128)


def test_what_is_set_wins_over_the_profile() -> None:
    given = read_config(TwoTowerSettings, settings=["epochs=3", "profile=baskets"])
    found = given.resolved(basket=1.0)
    assert (found.epochs, found.profile, found.distinct) == (3, "baskets", True)
    assert found.resolved(basket=1.0) == found


@pytest.mark.parametrize("settings", [["width=9"], ["width=8", "heads=3"], ["heads=5"]])
def test_heads_that_would_not_be_equally_wide_are_one_clear_line(settings: list[str]) -> None:
    with pytest.raises(UsageError, match=r"setting heads = \d.*a divisor of width = \d"):
        read_config(TwoTowerSettings, settings=settings)
    assert read_config(TwoTowerSettings, settings=[*settings, "blocks=0"]).blocks == 0


def test_baskets_are_counted_by_user_and_time(small_snapshot: Snapshot) -> None:
    events = small_snapshot.interactions("train")
    assert basket_size(small_snapshot) == events.height / events.select("user_id", "timestamp").n_unique()
