"""Both models answer through MLflow's own doors as the project's engine does, and nothing is unpickled on the way."""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from recsys.bundle.manifest import PRODUCT_SEARCH, RECOMMENDER, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.engine.build import build_index
from recsys.engine.engine import Engine
from recsys.errors import BundleError, UsageError
from recsys.models.backbone import load_backbone
from recsys.models.text_encoder import TextEncoder
from recsys.models.two_tower import TwoTower
from recsys.models.two_tower_config import FIRST, TwoTowerConfig
from recsys.pyfunc import as_count, as_history, as_purchases, open_recommender, open_search
from recsys.ranking.cross_encoder import CrossEncoderRanker
from recsys.registry.client import Registry
from recsys.retrieval.vocabulary import write_vocabulary
from recsys.settings import Settings, load_settings
from recsys.testing.tiny import WIDTH, tiny_backbone
from recsys.text.fields import product_text
from recsys.text.tokenizer import TextTokenizer
from recsys.tracking import Tracker
from tests.bundles import bundle_of, components_in, search_networks
from tests.ports import free_port
from tests.recsys.engine.conftest import catalogue_of, write_popularity
from tests.recsys.registry.conftest import listen

torch.set_num_threads(1)

ROWS = {
    "query": ["blue sofa", "blue sofa", "oak table"],
    "title": ["Blue velvet sofa", "Oak table", "Oak table"],
    "brand": ["Acme", None, "Oakly"],
}


@pytest.fixture(scope="module")
def search_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    place = tmp_path_factory.mktemp("search")
    backbone = tiny_backbone(place / "backbone", seed=0, words=("blue", "sofa", "oak", "table", "velvet"))
    return bundle_of(place / "bundle", PRODUCT_SEARCH, search_networks(place, backbone, text_encoder=False))


@pytest.fixture(scope="module")
def recommender_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    place = tmp_path_factory.mktemp("recommender")
    backbone = tiny_backbone(place / "backbone", seed=0, words=("sofa",))
    catalogue = catalogue_of([{"product_id": f"p{number}", "title": f"sofa {number}"} for number in range(9)])
    catalogue.frame.write_parquet(place / "catalogue.parquet")
    network = TwoTower(TwoTowerConfig(rows=9 + FIRST, text_width=WIDTH, width=8, heads=2, length=5))
    network.save(place / "two_tower")
    write_vocabulary(place / "two_tower", catalogue.product_ids)
    TextEncoder(load_backbone(backbone), max_length=16).save(place / "text_encoder")
    TextTokenizer.load(backbone).save(place / "text_encoder")
    write_popularity(place / "popularity", {"": ["p5", "p6", "p0"]})
    parts = components_in(place, "two_tower", "text_encoder", "popularity")
    return bundle_of(place / "bundle", RECOMMENDER, parts, catalogue=place / "catalogue.parquet")


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory, search_bundle: Bundle, recommender_bundle: Bundle) -> Settings:
    """An installation in which both are champions."""
    settings = load_settings(home=tmp_path_factory.mktemp("registered") / "home")
    registry = Registry(settings)
    with Tracker(settings).run("demo", name="both") as run:
        for bundle in (search_bundle, recommender_bundle):
            registry.set_alias(registry.register(bundle, run_id=run.id, metrics={}), "champion")
    return settings


@pytest.fixture
def no_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("something was unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refused)


def scores_by_hand(bundle: Bundle) -> list[float]:
    folder = bundle.component("cross_encoder")
    assert folder is not None
    frame = pl.DataFrame({name: ROWS[name] for name in ("title", "brand")})
    return CrossEncoderRanker.load(folder).score(ROWS["query"], product_text(frame)).astype(float).tolist()


@pytest.fixture
def engine(recommender_bundle: Bundle, tmp_path: Path) -> Engine:
    assert recommender_bundle.catalogue is not None
    catalogue = catalogue_of([{"product_id": f"p{number}", "title": f"sofa {number}"} for number in range(9)])
    index = build_index(
        catalogue, search=None, recommender=recommender_bundle, folder=tmp_path / "index", shop="demo", backbone=""
    )
    return Engine.open(index)


@pytest.mark.usefixtures("no_pickle")
def test_mlflow_loads_product_search(
    registered: Settings, search_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import mlflow.pyfunc

    monkeypatch.setenv("MLFLOW_TRACKING_URI", registered.tracking_uri)
    model = mlflow.pyfunc.load_model("models:/demo.product-search@champion")
    found = model.predict(pd.DataFrame(ROWS))
    assert list(found.columns) == ["score"]
    assert found["score"].to_list() == pytest.approx(scores_by_hand(search_bundle), abs=1e-6)
    bare = model.predict(pd.DataFrame({name: ROWS[name] for name in ("query", "title")}))
    assert bare["score"][1] == pytest.approx(found["score"][1], abs=1e-6)
    assert model.metadata.signature.inputs.input_names()[:2] == ["query", "title"]
    example = model.input_example
    assert len(model.predict(example)) == len(example)
    with pytest.raises(Exception, match="title"):
        model.predict(pd.DataFrame({"query": ["sofa"]}))
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.usefixtures("no_pickle")
def test_mlflow_loads_the_recommender(registered: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow.pyfunc

    monkeypatch.setenv("MLFLOW_TRACKING_URI", registered.tracking_uri)
    model = mlflow.pyfunc.load_model("models:/demo.recommender@champion")
    histories = [["p1", "p2"], [], ["never seen", "p3"]]
    found = model.predict(pd.DataFrame({"history": histories, "k": [4, 2, 1]}))
    expected = engine.recommend_histories(as_purchases(histories), k=4)
    for answer, k, (_, row) in zip(expected, (4, 2, 1), found.iterrows(), strict=True):
        assert row["product_ids"] == [hit.product_id for hit in answer.hits[:k]]
        assert row["scores"] == pytest.approx([hit.score for hit in answer.hits[:k]], abs=1e-6)
    assert found["product_ids"].map(len).to_list() == [4, 2, 1]
    assert len(model.predict(pd.DataFrame({"history": [["p1"]]}))["product_ids"][0]) == 8
    example = model.input_example
    assert example["history"][0] == ["p0", "p1"]
    assert model.predict(example)["product_ids"].map(len).to_list() == [7, 5]


def test_its_index_goes_with_the_model(
    recommender_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model = open_recommender(recommender_bundle)
    assert len(list(tmp_path.glob("recsys-pyfunc-*"))) == 1
    del model
    assert list(tmp_path.glob("recsys-pyfunc-*")) == []


def test_a_bundle_that_can_not_answer_is_one_line(tmp_path: Path) -> None:
    write_popularity(tmp_path / "popularity", {"": ["p1"]})
    parts = {"popularity": (tmp_path / "popularity", ComponentInfo(name="popularity"))}
    with pytest.raises(BundleError, match=r"carries no catalogue\.parquet"):
        open_recommender(bundle_of(tmp_path / "bundle", RECOMMENDER, parts))
    with pytest.raises(BundleError, match="ranks nothing"):
        open_search(bundle_of(tmp_path / "empty", PRODUCT_SEARCH, {}))


@pytest.mark.parametrize(
    ("value", "history"),
    [(["a", 1], ["a", "1"]), (np.array(["a"]), ["a"]), ('["a", "b"]', ["a", "b"]), ("[]", []), ((), [])],
)
def test_a_history_is_a_list_or_its_json(value: object, history: list[str]) -> None:
    assert as_history(value) == history


@pytest.mark.parametrize("value", ["a,b", '"a"', "{", None, 3, {"a": 1}])
def test_anything_else_is_no_history(value: object) -> None:
    with pytest.raises(UsageError, match="history"):
        as_history(value)


def test_k_counts_from_one() -> None:
    assert [as_count(value) for value in (3, np.int64(4), 5.0, None, float("nan"))] == [3, 4, 5, 10, 10]
    for value in (0, -1, "many"):
        with pytest.raises(UsageError, match="k is"):
            as_count(value)


@pytest.fixture
def served(registered: Settings, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of `mlflow models serve` for the model that the test names."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--model-uri", f"models:/demo.{request.param}@champion"]
    activated = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # mlflow starts uvicorn by its name
    environment = os.environ | {"MLFLOW_TRACKING_URI": registered.tracking_uri, "PATH": activated}
    with subprocess.Popen(
        command,
        env=environment,
        cwd=registered.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as server:
        listener = listen(server)
        yield f"http://127.0.0.1:{port}"
        os.killpg(server.pid, 15)
        listener.join()


def invoke(address: str, rows: list[dict[str, object]]) -> list[dict[str, object]]:
    answer = httpx.post(f"{address}/invocations", json={"dataframe_records": rows}, timeout=120)
    answer.raise_for_status()
    predictions: list[dict[str, object]] = answer.json()["predictions"]
    return predictions


@pytest.mark.slow
@pytest.mark.parametrize("served", [PRODUCT_SEARCH], indirect=True)
def test_mlflow_serves_product_search(served: str, search_bundle: Bundle) -> None:
    rows = [{"query": ROWS["query"][row], "title": ROWS["title"][row], "brand": ROWS["brand"][row]} for row in range(3)]
    found = [row["score"] for row in invoke(served, rows)]
    assert found == pytest.approx(scores_by_hand(search_bundle), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("served", [RECOMMENDER], indirect=True)
def test_mlflow_serves_the_recommender(served: str, engine: Engine) -> None:
    found = invoke(served, [{"history": ["p1", "p2"], "k": 3}, {"history": [], "k": 2}])
    expected = engine.recommend_histories(as_purchases([["p1", "p2"], []]), k=3)
    assert found[0]["product_ids"] == [hit.product_id for hit in expected[0].hits]
    assert found[1]["product_ids"] == ["p5", "p6"]


@pytest.mark.slow
def test_the_wheel_in_the_artefact_is_what_pip_would_install_elsewhere(registered: Settings) -> None:
    for folder in registered.artifacts.glob("*/models/*/artifacts"):
        pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--no-index", "--ignore-installed"]
        lines = (folder / "requirements.txt").read_text().splitlines()
        own = next(line for line in lines if line.startswith("wheels/"))
        done = subprocess.run([*pip, own], cwd=folder, capture_output=True, text=True, check=True)
        assert "Would install shoprank-" in done.stdout
