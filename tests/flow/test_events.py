"""What a shopper did a moment ago: the service takes it, is killed, and knows it; the night's index knows it too."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from feature_store.snapshot import build_snapshot
from feature_store.sources.sample.write import write_sample
from recsys.bundle.manifest import RECOMMENDER
from recsys.settings import load_settings
from serving.opening import open_live
from tests.bundles import bundle_of, components_in
from tests.command import recsys
from tests.event_logs import row
from training.item_knn import ItemKnnConfig, fit_item_knn
from training.popularity import PopularityConfig, fit_popularity

USER = "SHOPPER-7f3a"


@pytest.fixture
def shop(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A made-up shop that masks its users, or does not."""
    write_sample(tmp_path / "shop", products=60, users=40, seed=1)
    toml = tmp_path / "shop" / "shop.toml"
    toml.write_text(toml.read_text() + f"\n[privacy]\nmask_users = {str(request.param).lower()}\n")
    return tmp_path / "shop"


@pytest.fixture
def bundle(shop: Path, tmp_path: Path) -> Path:
    snapshot = build_snapshot(shop, out=tmp_path / "snapshot")
    fit_popularity(snapshot, parts=["train"], config=PopularityConfig(), folder=tmp_path / "popularity")
    fit_item_knn(snapshot, parts=["train"], config=ItemKnnConfig(), folder=tmp_path / "item_knn")
    components = components_in(tmp_path, "popularity", "item_knn")
    return bundle_of(tmp_path / "bundle", RECOMMENDER, components, shop=snapshot.manifest.shop).path


@contextmanager
def service() -> Iterator[httpx.Client]:
    """`recsys serve` in a process of its own, which is killed at the end."""
    command = [sys.executable, "-m", "recsys", "serve", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ), text=True) as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["address"]
        with httpx.Client(base_url=address, timeout=60) as client:
            yield client
        process.kill()


def rung(client: httpx.Client) -> str:
    return str(client.post("/v1/recommend", json={"user_id": USER, "k": 5}).json()["rung"])


def history() -> list[tuple[str, int]]:
    engine = open_live(load_settings(), shop=None)
    assert engine.histories is not None
    found = engine.histories.read([USER])
    return list(zip(found.product_ids, found.timestamps.tolist(), strict=True))


@pytest.mark.parametrize("shop", [False, True], ids=["plain", "masked"], indirect=True)
def test_the_next_recommendation_knows_and_so_does_the_night(shop: Path, bundle: Path, capsys: Any) -> None:
    def index() -> Any:
        done = recsys(capsys, "index", shop, "--recommender", bundle, "--backbone", "", "--json")
        assert done.code == 0, done.err
        return done.report

    users = index()["users"]
    products = [hit["product_id"] for hit in recsys(capsys, "recommend", USER, "--k", "3", "--json").report["hits"]]
    done = [
        row(number, user_id=USER, product_id=product, timestamp=f"2025-01-0{number}T00:00:00Z")
        for number, product in enumerate(products, start=1)
    ]
    with service() as client:
        assert rung(client) == "popularity"
        for _ in range(2):
            answer = client.post("/v1/events", json={"events": done}).json()
        assert answer == {"accepted": 0, "duplicates": 3, "refused": []}
        assert rung(client) == "personal"
    at_once = history()
    assert [product for product, _ in at_once] == products
    assert recsys(capsys, "events", "compact", shop, "--json").report["events"] == 3
    assert history() == at_once
    assert index()["users"] == users + 1
    assert history() == at_once
    with service() as client:
        client.post("/v1/events", json={"events": [row(9, user_id=USER, product_id=products[0])]})
        assert len(history()) == 4
        assert rung(client) == "personal"
    assert recsys(capsys, "recommend", USER, "--json").report["rung"] == "personal"
    plain = "mask_users = false" in (shop / "shop.toml").read_text()
    holders = [file for file in (*load_settings().home.rglob("*"), *shop.rglob("*")) if holds(file, USER)]
    assert bool(holders) == plain


def holds(file: Path, text: str) -> bool:
    return file.is_file() and text.encode() in file.read_bytes()
