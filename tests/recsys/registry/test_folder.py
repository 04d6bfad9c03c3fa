"""The folder mlflow/ explains and configures; it holds no code that would shadow the real package."""

import subprocess
from pathlib import Path

import pytest

from recsys.registry.card import SUMMARY, render_card, template
from tests.recsys.registry.conftest import MakeBundle

FOLDER = Path(__file__).parents[3] / "mlflow"


def test_it_holds_no_python() -> None:
    assert not list(FOLDER.rglob("*.py"))
    assert {"README.md", "server.sh", "sqlite.env", "postgres.env", "model-card.md"} <= {
        path.name for path in FOLDER.iterdir()
    }


def test_its_template_is_the_one_that_cards_are_made_of(make_bundle: MakeBundle) -> None:
    assert (FOLDER / "model-card.md").read_text() == template().template
    for kind in SUMMARY:
        bundle = make_bundle(kind=kind, shop="acme")
        card = render_card(bundle, name=f"acme.{kind}", metrics={"ndcg@10": 0.125}, note="Made for a test.")
        assert "$" not in card
        assert SUMMARY[kind] in card
        assert "| ndcg@10 | 0.1250 |" in card
        assert bundle.digest in card
        assert "Made for a test." in card


def test_a_card_without_metrics_says_so(make_bundle: MakeBundle) -> None:
    assert "| - | - |" in render_card(make_bundle(), name="product-search", metrics={})


@pytest.mark.parametrize("settings", [(), ("no-such.env",)])
def test_the_script_asks_for_its_settings(settings: tuple[str, ...]) -> None:
    done = subprocess.run([FOLDER / "server.sh", *settings], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("file", "own", "wanted"),
    [
        (
            "sqlite.env",
            {"RECSYS_HOME": "a/state"},
            "sqlite:///{here}/a/state/mlflow.db file://{here}/a/state/artifacts 127.0.0.1 5000",
        ),
        ("sqlite.env", {"RECSYS_HOME": "/state"}, "sqlite:////state/mlflow.db file:///state/artifacts 127.0.0.1 5000"),
        ("postgres.env", {}, "postgresql://mlflow@127.0.0.1:5432/mlflow s3://mlflow-artifacts 0.0.0.0 5000"),
        (
            "postgres.env",
            {"DB_PASSWORD": "x%40y", "DB_HOST": "db", "MLFLOW_PORT": "80", "MLFLOW_ARTIFACTS_DESTINATION": "s3://b/c"},
            "postgresql://mlflow:x%40y@db:5432/mlflow s3://b/c 0.0.0.0 80",
        ),
    ],
)
def test_settings_reach_mlflow_through_the_environment(
    tmp_path: Path, file: str, own: dict[str, str], wanted: str
) -> None:
    (tmp_path / "mlflow").write_text(
        '#!/bin/sh\necho "$@" $MLFLOW_BACKEND_STORE_URI $MLFLOW_ARTIFACTS_DESTINATION $MLFLOW_HOST $MLFLOW_PORT\n'
    )
    (tmp_path / "mlflow").chmod(0o755)
    done = subprocess.run(
        [FOLDER / "server.sh", FOLDER / file, "--expose-prometheus", "m"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"} | own,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["server", "--expose-prometheus", "m", *wanted.format(here=tmp_path).split()]
