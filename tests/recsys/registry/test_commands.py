"""The commands of reviewers: one JSON report or a table, one line for what goes wrong, and the right exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recsys.promotion import GAIN, Promotions
from recsys.registry.client import Registry
from recsys.settings import Settings
from tests.recsys.registry.conftest import MakeVersion, Run, report

ROOT = Path(__file__).parents[3]


def test_a_review_holds_a_version_against_the_champion(run: Run, make_version: MakeVersion) -> None:
    make_version("1", alias="champion", **{"cross_encoder.loss": 2.0, "cross_encoder.gone": 1.0, "unknown": 1.0})
    make_version("2", alias="challenger", **{"cross_encoder.loss": 1.5, "cross_encoder.fresh": 1.0, "unknown": 2.0})
    found = report(run("review", "product-search@challenger", "--json"))
    assert (found["model"], found["champion"]) == ("models:/product-search/2", "models:/product-search/1")
    assert [tuple(row.values()) for row in found["metrics"]] == [
        ("cross_encoder.fresh", "5a9", 1.0, None, None),
        ("cross_encoder.gone", "5a9", None, 1.0, None),
        ("cross_encoder.loss", "5a9", 1.5, 2.0, -0.5),
        ("unknown", "", 2.0, 1.0, None),
    ]
    assert found["components"] == {"cross_encoder": "changed"}
    assert found["settings"] == [{"name": "cross_encoder.content", "value": "2", "champion": "1"}]
    code, out, _ = run("review", "models:/product-search/2")
    assert code == 0
    for said in ("not decided", "loss", "-0.5000", "changed", "recsys promote models:/product-search/2"):
        assert said in out
    assert report(run("review", "product-search@champion", "--json"))["components"] == {"cross_encoder": "same"}


def test_a_first_version_is_reviewed_alone(run: Run, make_version: MakeVersion) -> None:
    make_version(loss=1.0)
    found = report(run("review", "models:/product-search/1", "--json"))
    assert found["champion"] is None
    assert found["components"] == {"cross_encoder": "new"}
    assert found["settings"] == []


def test_promote_roll_back_reject_and_read_it_all_back(run: Run, make_version: MakeVersion) -> None:
    for content in ("1", "2", "3"):
        make_version(content, alias="challenger")
    for number in ("1", "2"):
        step = report(run("promote", f"models:/product-search/{number}", "--by", "ada", "--reason", "good", "--json"))
        assert (step["step"]["action"], step["step"]["by"], step["step"]["reason"]) == ("promote", "ada", "good")
    assert report(run("rollback", "product-search", "--by", "bo", "--json"))["step"]["version"] == 1
    code, out, _ = run("reject", "product-search@challenger", "--by", "bo", "--reason", "slow")
    assert (code, out) == (0, "reject: product-search/3, line 4 of the ledger\n")
    found = report(run("history", "product-search", "--json"))
    assert [entry["action"] for entry in found["steps"]] == ["promote", "promote", "rollback", "reject"]
    statuses = {one["version"]: (one["status"], one["aliases"]) for one in found["versions"]}
    assert statuses == {1: ("approved", ["champion"]), 2: ("rolled back", []), 3: ("rejected", [])}
    for arguments in (("history",), ("history", "product-search")):
        code, out, _ = run(*arguments)
        assert code == 0
        assert "rollback" in out
    assert report(run("ledger", "verify", "--json"))["lines"] == 4
    assert "4 lines, chain unbroken" in run("ledger", "verify")[1]


def test_by_is_the_person_who_runs_it(run: Run, make_version: MakeVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    make_version()
    monkeypatch.setenv("LOGNAME", "grace")
    assert report(run("promote", "product-search/1", "--json"))["step"]["by"] == "grace"


def test_the_bootstrap_rule_from_the_command_line(run: Run, make_version: MakeVersion) -> None:
    code, _, err = run("promote", "product-search@challenger", "--bootstrap")
    assert (code, err.count("\n")) == (1, 1)
    make_version(alias="challenger", **{GAIN.format(baseline="bm25"): 0.1})
    assert report(run("promote", "product-search@challenger", "--bootstrap", "--json"))["step"]["action"] == "bootstrap"
    assert report(run("promote", "product-search@challenger", "--bootstrap", "--json"))["step"] is None
    assert "champion already" in run("promote", "product-search@challenger", "--bootstrap")[1]


def test_what_goes_wrong_is_one_line_and_one_json(run: Run, make_version: MakeVersion, installation: Settings) -> None:
    make_version(shop="acme")
    wrong = {
        ("promote", "product-search@champion"): "no champion",
        ("promote", "nonsense"): "names no model version",
        ("promote", "models:/acme.product-search/1", "--shop", "other"): "was learned for shop `acme`",
        ("reject", "models:/acme.product-search/1", "--reason", " "): "without a reason",
        ("rollback", "recommender"): "no champion of model `recommender`",
    }
    for arguments, said in wrong.items():
        code, out, err = run(*arguments)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert said in err
        code, out, _ = run(*arguments, "--json")
        assert code == 1
        assert json.loads(out)["error"]["type"] == "RegistryError"
    installation.ledger.write_text("{}\n")
    code, _, err = run("ledger", "verify")
    assert code == 1
    assert err.startswith("error: line 1 of ")


def test_wrong_usage_is_exit_code_2(run: Run) -> None:
    assert run("promote")[0] == 2
    assert run("reject", "product-search/1")[0] == 2
    assert run("ledger", "mend")[0] == 2


def test_an_unreachable_server_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    code, _, err = run("history", "recommender")
    assert (code, err.count("\n")) == (1, 1)
    assert "no MLflow server answers at http://127.0.0.1:9" in err


def test_history_of_nothing(run: Run, installation: Settings) -> None:
    assert report(run("history", "--json")) == {"steps": [], "versions": []}
    code, _, err = run("history", "recommender")
    assert (code, err.count("\n")) == (1, 1)
    assert "no model recommender; expected one of those registered: none; correct the name" in err
    assert Registry(installation).versions("recommender") == []


def test_two_people_at_once_take_two_steps(make_version: MakeVersion, installation: Settings) -> None:
    for content in ("1", "2"):
        make_version(content)
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "recsys", "promote", f"models:/product-search/{number}", "--json"],
            env=os.environ | {"RECSYS_HOME": str(installation.home)},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (1, 2)
    ]
    said = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    steps = sorted((json.loads(out)["step"] for out, _ in said), key=lambda step: int(step["number"]))
    assert [step["number"] for step in steps] == [1, 2]
    assert steps[1]["replaced"] == steps[0]["version"]
    promotions = Promotions(registry=Registry(installation), settings=installation)
    assert [entry.version for entry in promotions.verify()] == [step["version"] for step in steps]
