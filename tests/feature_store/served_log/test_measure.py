"""Served features computed again: definitions and code are measured, not the second that events need to arrive."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from feature_store.forgetting.forget import forget
from feature_store.online_features.reading import Read
from feature_store.point_in_time.defaults import DEFAULTS
from feature_store.served_log.fitting import FORGOTTEN, IDLE, MASKED, MIDNIGHT, NOT_COMPACTED, OVERTAKEN
from feature_store.served_log.measure import Measured
from recsys.errors import UsageError
from recsys.parity import read_parity
from tests.feature_store.served_log.conftest import ASKED, Live

ALL = sum(map(len, ASKED.values()))


def differing(found: Measured) -> dict[str, float]:
    return {one.name: one.share for one in found.replayed.features if one.share != 1}


def test_what_was_served_is_what_was_known_to_the_bit(live: Live) -> None:
    for _ in range(3):
        live.go(hours=5)
        live.happen(40)
        live.ask()
    live.go(hours=20)
    live.follower.catch_up()
    live.ask()
    live.compact()
    found = live.measure(since=live.now[0] - timedelta(days=9))
    assert {one.name for one in found.replayed.features} == {one.name for one in DEFAULTS}
    assert (differing(found), found.failed) == ({}, [])
    assert (found.replayed.rows, +found.replayed.left_out) == (4 * ALL, {})
    assert sum(bool(one.served_mean) for one in found.replayed.features) > 20


def test_a_store_that_is_behind_is_held_against_what_had_arrived(live: Live) -> None:
    live.go(hours=3)
    live.happen(30)
    live.go(seconds=1)
    live.follower.catch_up()
    live.ask()
    live.go(seconds=1)
    live.happen(30, follow=False)
    live.go(seconds=2)
    live.ask()
    live.happen(5, follow=False)
    live.go(seconds=3)
    live.ask("product")
    live.go(seconds=1)
    live.follower.catch_up()
    live.ask()
    live.compact()
    found = live.measure()
    assert (differing(found), found.replayed.rows) == ({}, 3 * ALL + len(ASKED["product"]))
    lags = found.replayed.lags
    assert (len(lags), max(lags)) == (ALL + len(ASKED["product"]), 5)
    assert found.as_json()["behind"] == {"rows": len(lags), "seconds": {"median": 2.0, "longest": 5.0}}


def test_late_events_and_clocks_that_go_ahead_count_when_they_are_known(live: Live) -> None:
    live.go(hours=1)
    live.happen(10, timestamp=(live.now[0] - timedelta(days=3)).isoformat())
    live.happen(10, timestamp=(live.now[0] + timedelta(minutes=7)).isoformat())
    live.ask()
    live.go(minutes=6)
    live.happen(3)
    live.ask()
    live.go(minutes=2)
    live.ask()
    live.go(seconds=1)
    live.follower.catch_up()
    live.ask()
    live.compact()
    found = live.measure()
    assert (differing(found), found.replayed.rows) == ({}, 4 * ALL)


def test_what_came_before_midnight_and_arrived_after_it_leaves_rows_out(live: Live) -> None:
    live.happen(10, timestamp=(live.now[0] - timedelta(hours=1)).isoformat())
    live.go(hours=23, minutes=59)
    live.happen(10, follow=False, timestamp=(live.now[0] - timedelta(hours=1)).isoformat())
    live.go(minutes=2)
    live.ask()
    live.go(seconds=1)
    live.follower.catch_up()
    live.ask()
    live.go(hours=2)
    live.ask()
    live.compact()
    found = live.measure()
    assert (differing(found), found.replayed.rows) == ({}, 2 * ALL)
    assert +found.replayed.left_out == {MIDNIGHT: ALL}


def test_each_publication_is_a_row_of_its_own(live: Live) -> None:
    """The night publishes what it has read before the last events: for a moment the store knows less than before."""
    live.go(hours=1)
    live.happen(20)
    live.compact()
    live.go(minutes=1)
    live.happen(20)
    live.ask()
    live.publish()
    live.ask()
    live.go(seconds=1)
    live.follower.catch_up()
    live.ask()
    live.compact()
    found = live.measure()
    assert (differing(found), found.replayed.rows) == ({}, 3 * ALL)


def test_two_answers_that_overtook_each_other_are_left_out(live: Live) -> None:
    live.go(hours=1)
    live.happen(10)
    late = live.online.read("product", ASKED["product"], now=live.clock() + 60_000_001)
    live.go(minutes=1)
    live.happen(10)
    live.ask("product")
    live.served.append([late])
    live.compact()
    found = live.measure()
    assert (differing(found), found.replayed.rows) == ({}, len(ASKED["product"]))
    assert +found.replayed.left_out == {OVERTAKEN: len(ASKED["product"])}


def spoilt(read: Read) -> Read:
    values = read.values.copy()
    values[0, read.names.index("product_views_7d")] += 1
    return read._replace(values=values)


def test_a_wrong_value_is_found_and_kept(live: Live) -> None:
    live.go(hours=1)
    live.happen(30)
    live.go(seconds=1)
    live.follower.catch_up()
    live.ask("user")
    live.ask("product", spoil=spoilt)
    live.compact()
    found = live.measure()
    assert differing(found) == {"product_views_7d": 12 / 13}
    assert found.failed == ["product_views_7d"]
    kept = read_parity(live.settings, shop="")
    assert kept is not None
    assert (kept.low, kept.rows) == ({"product_views_7d": 12 / 13}, 26)
    content = json.loads(live.settings.parity("").read_text())
    told = next(one for one in content["features"] if one["name"] == "product_views_7d")
    version = next(one.version for one in DEFAULTS if one.name == "product_views_7d")
    assert (told["version"], told["rows"], told["equal"]) == (version, 13, 12)


def test_values_of_other_definitions_are_left_out_and_counted(live: Live) -> None:
    live.go(hours=1)
    live.happen(10)
    live.ask("product", spoil=spoilt)
    live.compact()
    changed = [
        replace(one, of=replace(one.of, measure=replace(one.of.measure, kinds=("click",))))  # type: ignore[arg-type,union-attr]
        if one.name == "product_views_7d"
        else one
        for one in DEFAULTS
    ]
    found = live.measure(definitions=changed)
    assert differing(found) == {}
    assert found.as_json()["other_definitions"] == {"product_views_7d": 13}
    assert "product_views_7d" not in {one.name for one in found.replayed.features}


def test_without_anything_to_compare_what_was_measured_before_stays(live: Live) -> None:
    with pytest.raises(UsageError, match=r"no served features are logged.*--log-features"):
        live.measure()
    live.go(hours=1)
    live.ask("product", spoil=spoilt)
    assert live.measure().failed == ["product_views_7d"]
    before = live.settings.parity("").read_text()
    live.go(days=2)
    live.happen(5)
    live.ask("product")
    found = live.measure()
    assert (found.replayed.rows, +found.replayed.left_out) == (0, {NOT_COMPACTED: 13})
    assert live.settings.parity("").read_text() == before
    live.compact()
    assert live.measure().replayed.rows == 13
    assert live.settings.parity("").read_text() != before


def test_keys_that_were_too_old_to_be_published_are_left_out(live: Live) -> None:
    live.publish(idle_days=5.0)
    live.go(hours=1)
    live.happen(20)
    live.ask()
    live.compact()
    found = live.measure()
    assert differing(found) == {}
    assert found.replayed.left_out[IDLE] > 0
    assert found.replayed.rows + found.replayed.left_out[IDLE] == ALL


@pytest.mark.parametrize("privacy", ["", "[privacy]\nmask_users = true\n", "[privacy]\npseudonyms = true\n"])
def test_a_forgotten_user_is_gone_from_the_log(open_live: Callable[..., Live], privacy: str) -> None:
    live = open_live('name = "small"\n' + privacy)
    live.go(hours=1)
    live.happen(30)
    live.ask()
    people = live.served.users()
    assert ("u03" in people) is (privacy == "")
    assert len({*people}) == 13
    live.compact()
    assert differing(live.measure()) == {}
    done = forget(["u03"], shop="small", settings=live.settings, by="dpo", now=live.clock)
    assert done.swept is not None
    assert done.swept.served == 2, "as a user, and in a pair"
    assert len(live.served.users()) == 12
    live.go(minutes=1)
    live.ask()
    assert len(live.served.users()) == 12, "what is asked within the day's grace is not written"
    live.compact()
    found = live.measure()
    assert (found.replayed.rows, [*+found.replayed.left_out]) == (0, [FORGOTTEN])
    live.publish()
    live.go(minutes=1)
    live.follower.catch_up()
    live.ask()
    found = live.measure()
    assert (differing(found), found.replayed.rows > 0) == ({}, True)


def test_rows_under_another_key_are_left_out(live: Live) -> None:
    live.ask("product")
    (live.shop / "shop.toml").write_text("[privacy]\nmask_users = true\n")
    assert +live.measure().replayed.left_out == {MASKED: 13}


def test_the_sample_is_drawn_by_its_seed(live: Live) -> None:
    live.ask("product", spoil=spoilt)
    live.ask("user")
    first, again, other = (live.measure(sample=9, seed=seed) for seed in (0, 0, 1))
    assert first.replayed == again.replayed
    assert first.replayed.rows == 9
    assert first.replayed.features != other.replayed.features
