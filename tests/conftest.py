"""What every test may count on: state below tmp_path, and a shop small enough to check by hand."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that wait for one another cost more than such small matrices
settings.register_profile("shop", deadline=None)  # a busy machine is no failure
settings.load_profile("shop")


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes state anywhere else."""
    monkeypatch.setenv("RECSYS_HOME", str(tmp_path / "recsys-home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session")
def small_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop of 40 products, 30 users, 12 queries over 90 days; read only."""
    from tests.shops import write_small_shop

    return write_small_shop(tmp_path_factory.mktemp("shop") / "small")


@pytest.fixture(scope="session")
def small_snapshot(small_shop: Path, tmp_path_factory: pytest.TempPathFactory):  # noqa: ANN201
    """The small shop's snapshot by time (28 + 28 days); read only."""
    from feature_store.snapshot import build_snapshot

    return build_snapshot(small_shop, out=tmp_path_factory.mktemp("snapshot") / "small")


@pytest.fixture(scope="session")
def ordered_snapshot(small_shop: Path, tmp_path_factory: pytest.TempPathFactory):  # noqa: ANN201
    """The small shop's snapshot by leave-one-out; read only."""
    from feature_store.snapshot import build_snapshot

    return build_snapshot(small_shop, out=tmp_path_factory.mktemp("snapshot") / "ordered", split="leave-one-out")
