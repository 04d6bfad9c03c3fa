"""The team's setup as mlflow/ describes it: PostgreSQL, an object store, the server, and its pages in a browser."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from recsys.promotion import Promotions
from recsys.registry.client import Registry
from recsys.settings import Settings, load_settings
from recsys.tracking import Tracker
from tests.postgres import cluster, free_port
from tests.recsys.registry.conftest import MakeBundle, listen

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[3]
BUCKET = "mlflow-artifacts"
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass(frozen=True)
class Team:
    """The addresses of one setup."""

    server: str
    objects: str


def bucket(store: str) -> Any:
    """The bucket of the object store at an address."""
    names = {"aws_access_key_id": KEYS["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": KEYS["AWS_SECRET_ACCESS_KEY"]}
    return boto3.resource("s3", endpoint_url=store, region_name=KEYS["AWS_DEFAULT_REGION"], **names).Bucket(BUCKET)


@pytest.fixture(scope="module")
def database() -> Iterator[int]:
    """The port of a PostgreSQL cluster of its own."""
    with cluster("mlflow", fsync=False) as port:
        yield port


@pytest.fixture(scope="module")
def team(database: int) -> Iterator[Team]:
    """A tracking server, started by the script that people use."""
    objects = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    objects.start()
    host, port = objects.get_host_and_port()
    store = f"http://{host}:{port}"
    bucket(store).create()
    own = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DB_PORT": str(database),
        "MLFLOW_S3_ENDPOINT_URL": store,
        "MLFLOW_HOST": "127.0.0.1",
        "MLFLOW_PORT": str(free_port()),
        "MLFLOW_WORKERS": "1",
    }
    with subprocess.Popen(
        ["mlflow/server.sh", "mlflow/postgres.env"],
        cwd=ROOT,
        env=os.environ | KEYS | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as server:
        listener = listen(server)
        yield Team(server=f"http://127.0.0.1:{own['MLFLOW_PORT']}", objects=store)
        os.killpg(server.pid, signal.SIGTERM)
        listener.join()
    objects.stop()


@pytest.fixture
def installation(team: Team, tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path / "home", tracking_uri=team.server)


def browse(address: str, *, profile: Path) -> str:
    """The page as a browser shows it once its scripts have run."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={profile}", "--virtual-time-budget=60000", "--dump-dom", address]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout


def test_a_team_registers_reviews_and_releases_over_the_server(
    team: Team, installation: Settings, make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    bundle, registry = make_bundle(shop="acme"), Registry(installation)
    note = "A note. " * 900
    with Tracker(installation).run("acme/relevance", name="cross-encoder of acme", params={"epochs": 3}) as run:
        run.metrics({"ndcg@10": 0.625}, step=1)
        run.dataset(name="acme", digest="5" * 64, source="/snapshots/5")
        version = registry.register(bundle, run_id=run.id, metrics={"ndcg@10": 0.625}, description=note)
    registry.set_alias(version, "challenger")
    promotions = Promotions(registry=registry, settings=installation)
    promotions.promote(registry.resolve("acme.product-search@challenger"), by="ada", reason="better")
    assert [entry.version for entry in promotions.verify()] == [version.version]
    assert registry.fetch(registry.champion("product-search", shop="acme")).digest == bundle.digest
    assert list((tmp_path / "cwd").iterdir()) == []
    assert not installation.artifacts.exists()
    kept = [entry.key for entry in bucket(team.objects).objects.all()]
    assert [name for name in kept if name.endswith("data/bundle/manifest.json")]
    assert [name for name in kept if "/wheels/shoprank-" in name]

    experiment = installation.tracking_uri + f"/#/experiments/{experiment_id(installation, run.id)}"
    page = browse(f"{experiment}/runs/{run.id}", profile=tmp_path / "profile")
    for shown in ("cross-encoder of acme", "ndcg_at_10", "0.625", "epochs"):
        assert shown in page
    page = browse(f"{team.server}/#/models/acme.product-search/versions/1", profile=tmp_path / "profile")
    for shown in ("Scores how relevant products are to a query.", "champion", "approved_by", bundle.digest):
        assert shown in page


def experiment_id(settings: Settings, run_id: str) -> str:
    from mlflow import MlflowClient

    return str(MlflowClient(tracking_uri=settings.tracking_uri).get_run(run_id).info.experiment_id)
