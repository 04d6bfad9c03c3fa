"""Models that learned from a forgotten user are marked for their reviewers; ledger and versions stay as they were."""

from pathlib import Path

from feature_store.forgetting.forget import forget
from feature_store.forgetting.models import tags_at_birth
from feature_store.snapshot import build_snapshot
from recsys.promotion import Promotions
from recsys.registry.client import Registry
from recsys.settings import Settings
from tests.recsys.registry.conftest import MakeBundle, MakeVersion, Run, report
from tests.shops import write_small_shop


def test_versions_that_knew_the_user_are_marked(
    run: Run, installation: Settings, make_version: MakeVersion, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    shop = write_small_shop(tmp_path / "shop")
    snapshot = build_snapshot(shop, out=installation.snapshots / "5a9", settings=installation)
    learned = make_bundle("0", shop="small")
    assert tags_at_birth(learned, snapshot=snapshot, settings=installation) == {}
    old = make_version("1", shop="small", alias="champion")
    make_version("2", shop="other")
    registry, promotions = Registry(installation), Promotions(Registry(installation), installation)
    promotions.promote(old, by="ada")
    assert old.tags["snapshots"] == "5a9"
    done = forget(["u03"], shop="small", settings=installation, by="dpo")
    assert done.swept is not None
    assert done.swept.models == {"small.product-search/1": {"forgotten_users": "1"}}
    forget(["u03", "u04"], shop="small", settings=installation, by="dpo")
    assert registry.version("small.product-search", 1).tags["forgotten_users"] == "2"
    assert "forgotten_users" not in registry.version("other.product-search", 1).tags

    make_version("3", shop="small", alias="challenger")  # of the same snapshot: the next call marks it
    forget(["u05"], shop="small", settings=installation, by="dpo")
    reviewed = report(run("review", "small.product-search@challenger", "--json"))
    assert reviewed["forgotten"] == {"users": 3, "unchecked": []}
    assert (
        "learned from 3 users who asked to be forgotten since: train it again"
        in run("review", "small.product-search@challenger")[1]
    )

    assert tags_at_birth(learned, snapshot=snapshot, settings=installation) == {"forgotten_users": "3"}
    assert tags_at_birth(make_bundle("0", shop="other"), snapshot=snapshot, settings=installation) == {}
    verified = report(run("ledger", "verify", "--json"))
    assert (verified["ok"], verified["lines"], verified["forgotten"]) == (True, 4, 3)
    assert report(run("ledger", "verify", "--shop", "small", "--json"))["forgotten"] == 3
    assert "users forgotten: 3, the last on" in run("ledger", "verify")[1]
    assert "a user of small" in run("history")[1]
    assert [step["action"] for step in report(run("history", "--json"))["steps"]] == ["promote", *["forget"] * 3]


def test_a_version_whose_snapshot_is_gone_is_marked_as_unchecked(
    run: Run,
    installation: Settings,
    make_version: MakeVersion,
) -> None:
    make_version("1", shop="small", alias="challenger")
    done = forget(["u03"], shop="small", settings=installation, by="dpo", anyway=True)
    assert done.swept is not None
    assert done.swept.models == {"small.product-search/1": {"forgotten_unchecked": "5a9"}}
    make_version("2", shop="small")  # registered after the last tombstone
    assert "whether snapshot 5a9 knew them can't be told" in run("review", "small.product-search@challenger")[1]
