"""Short trainings on the real shops point the right way, and one service answers every route on what they made."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

pytestmark = [pytest.mark.realdata, pytest.mark.timeout(2400)]

DATA = Path(os.environ.get("RECSYS_REAL_DATA", Path(__file__).parents[3] / "shared" / "data")).resolve()
RECSYS = (sys.executable, "-m", "recsys")


def recsys(home: Path, *arguments: str) -> dict[str, Any]:
    """The JSON report of a command in a process of its own."""
    done = subprocess.run(
        [*RECSYS, *arguments, "--json"],
        env={**os.environ, "RECSYS_HOME": str(home)},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@contextmanager
def serving(home: Path, *, shop: str) -> Iterator[httpx.Client]:
    """`recsys serve` as users start it, and a client of it."""
    with subprocess.Popen(
        [*RECSYS, "serve", "--shop", shop, "--port", "0", "--json"],
        env={**os.environ, "RECSYS_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())["address"]
            with httpx.Client(base_url=address, timeout=120) as client:
                yield client
        finally:
            process.kill()


def post(client: httpx.Client, route: str, **body: Any) -> dict[str, Any]:
    """The answer of a route, which must be a good one."""
    answer = client.post(f"/v1/{route}", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def check_doors(client: httpx.Client) -> None:
    """The routes beside the answers."""
    assert client.get("/health/live").status_code == client.get("/health/ready").status_code == 200
    assert "recsys_request_seconds_count" in client.get("/metrics").text
    routes = {"/v1/search", "/v1/rank", "/v1/recommend", "/v1/similar", "/v1/rerank"}
    assert routes <= set(client.get("/openapi.json").json()["paths"])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One state folder for both shops, as an operator of two shops has it."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def night(home: Path) -> dict[str, Any]:
    """A night of online_retail whose two-tower saw the events three times."""
    stages = [word for stage in ("popularity", "item-knn", "two-tower") for word in ("--only", stage)]
    short = ("--set", "two-tower.epochs=3")
    return recsys(home, "nightly", str(DATA / "online_retail"), "-o", str(home / "nights"), *stages, *short)


def test_a_night_of_a_real_shop_is_personal(night: dict[str, Any]) -> None:
    batch = night["batch"]
    rows = pl.read_parquet(Path(batch["path"]) / "*.parquet")
    assert rows["user_id"].n_unique() == 4_094
    assert rows.group_by("user_id").len()["len"].unique().to_list() == [20]
    assert batch["loyal_personal_share"] >= 0.95
    assert rows.filter(pl.struct("user_id", "product_id").is_duplicated()).is_empty()


def test_a_short_two_tower_beats_popularity_on_what_was_never_bought(night: dict[str, Any]) -> None:
    recommender = night["models"]["recommender"]
    assert recommender["step"] == "bootstrap"
    assert recommender["gain_low"] > 0
    measured = recommender["measured"]["challenger"]
    ours, theirs = (measured["baselines"][name]["metrics"]["ndcg@20"] for name in ("two-tower", "popularity"))
    assert ours > 1.3 * theirs


def test_the_service_answers_every_route_on_the_behavioural_shop(home: Path, night: dict[str, Any]) -> None:
    rows = pl.read_parquet(Path(night["batch"]["path"]) / "*.parquet")
    loyal = rows.filter(pl.col("rung") == "personal").sort("user_id", "rank").head(20)
    with serving(home, shop="online_retail") as client:
        check_doors(client)
        known = post(client, "recommend", user_id=loyal["user_id"][0], k=20)
        assert [hit["product_id"] for hit in known["hits"]] == loyal["product_id"].to_list()
        product = known["hits"][0]["product_id"]
        session = post(client, "recommend", events=[{"product_id": product}], k=5, filters={"exclude": [product]})
        assert session["rung"] == "session"
        assert product not in {hit["product_id"] for hit in session["hits"]}
        assert post(client, "recommend", user_id="nobody")["rung"] == "popularity"
        assert len(post(client, "similar", product_id=product, k=5)["hits"]) == 5
        found = post(client, "search", query="red heart", k=5, fields=["title"])
        assert len(found["hits"]) == 5
        ids = [hit["product_id"] for hit in found["hits"]]
        assert {hit["product_id"] for hit in post(client, "rank", query="red heart", product_ids=ids)["hits"]} == set(
            ids
        )
        titles = [hit["fields"]["title"] for hit in found["hits"]]
        assert len(post(client, "rerank", query="red heart", documents=titles)["results"]) == 5


@pytest.fixture(scope="module")
def relevance(home: Path) -> dict[str, Any]:
    """A small cross-encoder that saw the queries of crowdflower's training part twice, without the refit; its index."""
    shop = str(titles_alone(DATA / "crowdflower", home / "crowdflower"))
    recsys(home, "features", shop, "-o", str(home / "judged"))
    settings = ("layers=3", "epochs=2", "patience=0", "learning_rate=1e-4", 'fields=["title"]', "max_length=32")
    sets = [word for setting in settings for word in ("--set", setting)]
    trained = recsys(home, "train", "relevance", str(home / "judged"), "--no-refit", *sets)
    recsys(home, "index", shop, "--search", trained["uri"])
    return trained


def titles_alone(shop: Path, folder: Path) -> Path:
    """A copy of a shop without its descriptions, whose vectors would take most of the time."""
    shutil.copytree(shop, folder)
    pl.read_parquet(shop / "products.parquet").drop("description").write_parquet(folder / "products.parquet")
    return folder


def test_a_short_cross_encoder_orders_unseen_queries(home: Path, relevance: dict[str, Any]) -> None:
    found = recsys(home, "evaluate", relevance["uri"], str(home / "judged"), "--task", "judged")
    alone = found["baselines"]["cross-encoder"]["metrics"]["ndcg@10"]
    assert found["queries_or_users"] == 33
    assert alone > 0.75  # any order: .715 over all folds
    assert found["metrics"]["ndcg@10"] > alone


def test_the_service_answers_every_route_on_the_judged_shop(home: Path, relevance: dict[str, Any]) -> None:
    with serving(home, shop="crowdflower") as client:
        check_doors(client)
        found = post(client, "search", query="wireless mouse", k=5, explain=True, fields=["title"])
        assert len(found["hits"]) == 5
        assert {"bm25", "dense", "cross_encoder"} <= set(found["hits"][0]["parts"])
        ids = [hit["product_id"] for hit in found["hits"]]
        ranked = post(client, "rank", query="mouse", product_ids=ids)
        assert {hit["product_id"] for hit in ranked["hits"]} == set(ids)
        titles = ["a leather sofa", *(hit["fields"]["title"] for hit in found["hits"])]
        assert post(client, "rerank", query="wireless mouse", documents=titles)["results"][0]["index"] > 0
        assert len(post(client, "similar", product_id=ids[0], k=5)["hits"]) == 5
        assert post(client, "recommend", user_id="nobody")["hits"] == []
