"""Each step changes the registry and the ledger together, whatever happens in between."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from recsys import ledger
from recsys.errors import BundleError, LowParityError, RegistryError, StorageError, TrackingError
from recsys.promotion import GAIN, Promotions
from recsys.registry.client import Registry
from recsys.settings import Settings
from recsys.storage import locked, write_text
from tests.recsys.registry.conftest import MakeVersion

ROOT = Path(__file__).parents[3]
LOW = GAIN.format(baseline="bm25")


@pytest.fixture
def promotions(installation: Settings) -> Promotions:
    return Promotions(registry=Registry(installation), settings=installation)


def champion(promotions: Promotions) -> int:
    found = promotions.registry.find("product-search", shop="")
    return found.version if found else 0


def tags(promotions: Promotions, number: int) -> dict[str, str]:
    return promotions.registry.version("product-search", number).tags


def test_a_challenger_becomes_champion(promotions: Promotions, make_version: MakeVersion) -> None:
    first, second = make_version("1"), make_version("2", alias="challenger")
    promotions.promote(first, by="ada")
    entry = promotions.promote(second, by="ada", reason="better by .02", approved_by="bo")
    assert (entry.number, entry.action, entry.model, entry.version) == (2, "promote", "product-search", 2)
    assert (entry.replaced, entry.by, entry.approved_by, entry.reason) == (1, "ada", "bo", "better by .02")
    assert entry.digest == second.digest
    assert champion(promotions) == 2
    assert promotions.registry.find("product-search", shop="", alias="challenger") is None
    assert {"status": "approved", "approved_by": "bo", "replaced": "1"}.items() <= tags(promotions, 2).items()
    assert tags(promotions, 1)["status"] == "retired"
    assert promotions.verify() == promotions.history() == promotions.history("product-search")
    assert promotions.history("recommender") == []


def test_rollback_goes_back_step_by_step(promotions: Promotions, make_version: MakeVersion) -> None:
    for content in ("1", "2", "3"):
        promotions.promote(make_version(content), by="ada")
    assert promotions.rollback("product-search", by="bo", reason="complaints").version == 2
    assert tags(promotions, 3)["status"] == "rolled back"
    assert promotions.rollback("product-search", by="bo").version == 1
    with pytest.raises(RegistryError, match="has no champion before it"):
        promotions.rollback("product-search", by="bo")
    assert champion(promotions) == 1
    assert [entry.action for entry in promotions.verify()] == ["promote"] * 3 + ["rollback"] * 2


def test_rollback_passes_over_a_rejected_champion(promotions: Promotions, make_version: MakeVersion) -> None:
    versions = [make_version(content) for content in ("1", "2", "3")]
    for version in versions:
        promotions.promote(version, by="ada")
    promotions.reject(versions[1], by="bo", reason="leaks prices")
    assert promotions.rollback("product-search", by="bo").version == 1


def test_rollback_works_without_the_ledger_of_the_other_machine(
    promotions: Promotions, make_version: MakeVersion, tmp_path: Path
) -> None:
    for content in ("1", "2"):
        promotions.promote(make_version(content), by="ada")
    elsewhere = replace(promotions.settings, home=tmp_path / "serving host")
    assert Promotions(registry=Registry(elsewhere), settings=elsewhere).rollback("product-search", by="bo").version == 1


def test_a_rejected_version_never_goes_live(promotions: Promotions, make_version: MakeVersion) -> None:
    version = make_version(alias="challenger")
    with pytest.raises(RegistryError, match="a rejection without a reason"):
        promotions.reject(version, by="bo", reason=" ")
    promotions.reject(version, by="bo", reason="trained on the test part")
    assert tags(promotions, 1)["rejected_by"] == "bo"
    assert promotions.registry.find("product-search", shop="", alias="challenger") is None
    with pytest.raises(RegistryError, match=r"was rejected .trained on the test part"):
        promotions.promote(version, by="ada")
    assert champion(promotions) == 0


def test_the_champion_is_neither_promoted_again_nor_rejected(promotions: Promotions, make_version: MakeVersion) -> None:
    version = make_version()
    promotions.promote(version, by="ada")
    with pytest.raises(RegistryError, match="is the champion already"):
        promotions.promote(version, by="ada")
    with pytest.raises(RegistryError, match="recsys rollback product-search"):
        promotions.reject(version, by="ada", reason="x")
    assert len(promotions.verify()) == 1


def test_a_damaged_version_never_goes_live(promotions: Promotions, make_version: MakeVersion) -> None:
    version = make_version()
    victim = next(promotions.settings.artifacts.rglob("cross_encoder/config.json"))
    victim.write_text("[]")
    with pytest.raises(BundleError, match="config"):
        promotions.promote(version, by="ada")
    assert champion(promotions) == 0
    assert promotions.history() == []


def test_an_alias_that_was_moved_by_hand_is_found_and_can_be_entered(
    promotions: Promotions, make_version: MakeVersion
) -> None:
    first, second = make_version("1"), make_version("2")
    promotions.promote(first, by="ada")
    promotions.registry.set_alias(second, "champion")
    with pytest.raises(RegistryError, match="is version 2; expected version 1, as line 1 of the ledger says"):
        promotions.verify()
    assert promotions.promote(second, by="bo", reason="moved in the UI").replaced == 1
    assert len(promotions.verify()) == 2


def test_a_first_champion_set_by_hand_has_no_line(promotions: Promotions, make_version: MakeVersion) -> None:
    version = make_version("1", alias="champion", shop="acme")
    with pytest.raises(RegistryError, match=r"no line of the ledger made models:/acme.product-search/1 the champion"):
        promotions.verify()
    assert promotions.verify(shop="other") == []
    promotions.promote(version, by="ada", reason="set in the UI, looked at since")
    assert len(promotions.verify()) == 1


def test_a_ledger_that_was_lost_is_missed(promotions: Promotions, make_version: MakeVersion) -> None:
    for content in ("1", "2"):
        promotions.promote(make_version(content), by="ada")
    promotions.settings.ledger.unlink()
    with pytest.raises(RegistryError, match=r"no line of the ledger made models:/product-search/2 the champion"):
        promotions.verify()


def test_a_decision_without_a_line_is_found(promotions: Promotions, make_version: MakeVersion) -> None:
    """Even where no champion is left, and where the lines that remain are an unbroken chain."""
    promotions.promote(make_version("1"), by="ada")
    promotions.reject(make_version("2"), by="bo", reason="slow")
    path = promotions.settings.ledger
    first, _ = path.read_text().splitlines()
    path.write_text(f"{first}\n")
    with pytest.raises(RegistryError, match=r"product-search/2 is rejected, and the ledger has no line on it"):
        promotions.verify()
    path.unlink()
    promotions.registry.drop_alias("product-search", "champion")
    with pytest.raises(RegistryError, match=r"restore the ledger from a backup"):
        promotions.verify()


@pytest.mark.parametrize("broken_call", ["set_alias", "tag", "drop_alias"])
def test_a_step_that_was_cut_off_is_finished_by_the_next(
    promotions: Promotions, make_version: MakeVersion, monkeypatch: pytest.MonkeyPatch, broken_call: str
) -> None:
    first, second = make_version("1"), make_version("2", alias="challenger")
    promotions.promote(first, by="ada")

    def cut(*_: object) -> None:
        raise TrackingError("the connection broke", expected="x", action="y")

    with monkeypatch.context() as patch:
        patch.setattr(Registry, broken_call, cut)
        with pytest.raises(TrackingError):
            promotions.promote(second, by="ada")
    assert len(promotions.history()) == 1
    assert [entry.version for entry in promotions.verify()] == [1, 2]
    assert champion(promotions) == 2
    assert tags(promotions, 1)["status"] == "retired"


class Killed(BaseException):
    """Stops everything, as a kill does."""


@pytest.mark.parametrize("place", ["before the line", "after the line"])
def test_a_step_cut_off_around_its_ledger_line_is_reconciled(
    promotions: Promotions, make_version: MakeVersion, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    promotions.promote(make_version("1"), by="ada")
    second = make_version("2", alias="challenger")
    whole = ledger.append

    def killed(path: Path, entry: ledger.Entry) -> None:
        if place == "after the line":
            whole(path, entry)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "append", killed)
        with pytest.raises(Killed):
            promotions.promote(second, by="ada")
    assert [(entry.number, entry.version) for entry in promotions.verify()] == [(1, 1), (2, 2)]
    assert champion(promotions) == 2
    assert promotions.rollback("product-search", by="bo").number == 3


def test_a_killed_process_that_left_half_a_line_is_reconciled(
    promotions: Promotions, make_version: MakeVersion
) -> None:
    promotions.promote(make_version("1"), by="ada")
    make_version("2", alias="challenger")
    code = f"""
import os, signal
from pathlib import Path
from recsys import ledger
from recsys.promotion import Promotions
from recsys.registry.client import Registry
from recsys.settings import load_settings
def killed(path, entry):
    with path.open("ab") as handle:
        handle.write(b'{{"number": 2, ')
    os.kill(os.getpid(), signal.SIGKILL)
ledger.append = killed
settings = load_settings(home=Path({str(promotions.settings.home)!r}))
promotions = Promotions(registry=Registry(settings), settings=settings)
promotions.promote(promotions.registry.resolve("product-search@challenger"), by="ada")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(RegistryError, match="line 2 of"):
        promotions.history()
    assert [(entry.number, entry.version) for entry in promotions.verify()] == [(1, 1), (2, 2)]
    assert champion(promotions) == 2


def test_promotions_wait_for_one_another(
    promotions: Promotions, make_version: MakeVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = make_version()
    monkeypatch.setattr("recsys.steps.WAIT_SECONDS", 0.1)
    with locked(promotions.settings.locks / "promotion.lock"), pytest.raises(StorageError, match="another process"):
        promotions.promote(version, by="ada")
    promotions.promote(version, by="ada")


def test_tampering_is_named_by_line(promotions: Promotions, make_version: MakeVersion) -> None:
    for content in ("1", "2"):
        promotions.promote(make_version(content), by="ada")
    path = promotions.settings.ledger
    lines = path.read_text().splitlines()
    lines[0] = json.dumps(json.loads(lines[0]) | {"by": "mallory"})
    path.write_text("\n".join(lines) + "\n")
    for check in (promotions.verify, lambda: promotions.rollback("product-search", by="bo")):
        with pytest.raises(RegistryError, match=r"line 1 of .* was changed"):
            check()
    assert champion(promotions) == 2


def test_the_first_challenger_above_its_baseline_is_promoted_by_rule(
    promotions: Promotions, make_version: MakeVersion
) -> None:
    make_version(alias="challenger", **{LOW: 0.01})
    entry = promotions.bootstrap("product-search", shop="", allowed=True)
    assert entry is not None
    assert (entry.action, entry.approved_by, entry.version) == ("bootstrap", "bootstrap", 1)
    assert tags(promotions, 1)["approved_by"] == "bootstrap"
    assert "bm25" in entry.reason
    make_version("better", alias="challenger", **{LOW: 0.9})
    assert promotions.bootstrap("product-search", shop="", allowed=True) is None
    assert champion(promotions) == 1
    assert len(promotions.verify()) == 1


def test_low_parity_stops_promotion_and_rule_but_not_the_way_back(
    promotions: Promotions, make_version: MakeVersion, installation: Settings
) -> None:
    first = make_version("1", alias="challenger", **{LOW: 0.1})
    write_text(
        installation.parity(""), '{"at": "x", "rows": 9, "features": [{"name": "product_views_7d", "share": 0.9}]}'
    )
    with pytest.raises(LowParityError, match=r"product_views_7d 90.000% of 9 rows"):
        promotions.bootstrap("product-search", shop="", allowed=True)
    with pytest.raises(LowParityError, match="--no-parity REASON"):
        promotions.promote(first, by="ada")
    assert champion(promotions) == 0
    assert promotions.history() == []
    entry = promotions.promote(first, by="ada", no_parity="only tests read it")
    assert (champion(promotions), entry.reason) == (1, "without parity: only tests read it")
    promotions.promote(make_version("2"), by="ada", reason="better", no_parity="again")
    assert promotions.rollback("product-search", by="ada").version == 1
    other = make_version("1", shop="other")
    assert promotions.promote(other, by="ada").version == 1, "another shop's features are its own"


@pytest.mark.parametrize(
    ("metrics", "allowed", "said"),
    [
        ({LOW: 0.01}, False, "promotion.bootstrap is false"),
        ({LOW: 0.0}, True, "does not beat bm25"),
        ({LOW: -0.2}, True, "does not beat bm25"),
        ({}, True, "was not measured against bm25"),
    ],
)
def test_the_rule_says_which_command_takes_its_place(
    promotions: Promotions, make_version: MakeVersion, metrics: dict[str, float], allowed: bool, said: str
) -> None:
    make_version(alias="challenger", **metrics)
    with pytest.raises(RegistryError, match=f"{said}.*run `recsys promote models:/product-search/1`"):
        promotions.bootstrap("product-search", shop="", allowed=allowed)
    assert champion(promotions) == 0
    assert promotions.history() == []


def test_no_challenger_no_bootstrap(promotions: Promotions) -> None:
    with pytest.raises(RegistryError, match=r"no challenger of model `recommender`.*recsys train two-tower"):
        promotions.bootstrap("recommender", shop="", allowed=True)
    assert not promotions.settings.ledger.exists()
