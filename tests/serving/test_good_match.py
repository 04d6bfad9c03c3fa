"""Cut-off, relaxations and words over HTTP and on the command line, by a real engine over tiny networks."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from recsys.bundle.manifest import PRODUCT_SEARCH
from recsys.engine.build import build_index
from recsys.engine.engine import Engine
from recsys.ranking.calibration import Calibration, CutOff, Platt
from recsys.settings import Settings
from recsys.testing.tiny import tiny_backbone
from serving.live import LiveIndex
from tests.bundles import bundle_of, components_in, search_networks
from tests.command import recsys
from tests.serving.conftest import Shelf, catalogue

CUT = CutOff(probability=1.0, irrelevant_share=0.2, confidence=0.9, k=10, queries=40)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """A cross-encoder whose own cut-off nothing reaches, over 32 products."""
    place = tmp_path_factory.mktemp("engine")
    backbone = tiny_backbone(place / "backbone", seed=0, words=["red", "blue", "sofa", "lamp", "mug"])
    networks = search_networks(place, backbone, max_length=16, text_encoder=False)
    first = bundle_of(place / "first", PRODUCT_SEARCH, networks, shop="")
    digest = first.manifest.components["cross_encoder"].digest
    Calibration(cross_encoder=digest, threshold=2, max_grade=3, curve=Platt(slope=1, intercept=0), cutoff=CUT).save(
        place / "calibration"
    )
    parts = networks | components_in(place, "calibration")
    whole = bundle_of(place / "bundle", PRODUCT_SEARCH, parts, shop="")
    build_index(catalogue(32), search=whole, recommender=None, folder=place / "index", shop="", backbone="")
    return Engine.open(place / "index", settings=Settings(home=place, tracking_uri=""))


def test_over_http(engine: Engine, shelf: Shelf, serve: Callable[..., Any]) -> None:
    shelf.publish("first")
    live = LiveIndex(shelf.indexes, open_engine=lambda folder: engine)
    live.refresh()
    with serve(live) as client:
        body = {"query": "red sofa", "k": 5, "filters": {"price_max": 100}, "fields": ["title"]}
        plain = client.post("/v1/search", json=body).json()
        assert plain["no_good_match"] is False
        assert "relaxations" not in plain
        assert all(0 <= hit["probability"] <= 1 for hit in plain["hits"])
        assert all("words" not in hit for hit in plain["hits"])
        empty = client.post("/v1/search", json=body | {"good_only": True}).json()
        assert (empty["hits"], empty["no_good_match"], empty["rung"]) == ([], True, "none")
        assert [one["kind"] for one in empty["relaxations"]] == ["filter", "words", "closest"]
        first = empty["relaxations"][0]
        assert (first["what"], first["query"], first["filters"], first["good"]) == ("price_max 100", "red sofa", {}, 0)
        assert empty["relaxations"][2]["filters"] == {"price_max": 100}
        assert {"title"} == set(empty["relaxations"][2]["hits"][0]["fields"])
        words = client.post("/v1/search", json=body | {"explain": "tokens"}).json()["hits"]
        assert ["words" in hit for hit in words] == [True] * 3 + [False] * (len(words) - 3)
        asked = body | {"explain": "tokens", "explain_hits": 1}
        assert ["words" in hit for hit in client.post("/v1/search", json=asked).json()["hits"]] == [
            number == 0 for number in range(len(words))
        ]
        told = words[0]["words"]
        every = [word["weight"] for word in told["query_words"] + told["text_words"]]
        assert told["baseline"] + sum(every) + told["remainder"] == pytest.approx(told["logit"], abs=1e-5)
        assert [word["word"] for word in told["query_words"]] == ["red", "sofa"]
        assert client.post("/v1/search", json=body | {"explain": True}).json()["hits"][0].keys() >= {"parts"}
        schema = client.get("/openapi.json").json()["components"]["schemas"]
        assert any(example.get("explain") == "tokens" for example in schema["SearchRequest"]["examples"])


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"min_probability": 2}, "body.min_probability is 2"),
        ({"min_probability": 0.5, "good_only": True}, "body: both min_probability and good_only are given"),
        ({"explain": "words"}, "body.explain"),
        ({"explain": "tokens", "explain_hits": 21}, "body.explain_hits is 21"),
        ({"explain": "tokens", "explain_hits": 0}, "body.explain_hits is 0"),
        ({"explain_hits": 2}, "body: explain_hits is given without"),
        ({"explain": True, "explain_hits": 2}, "body: explain_hits is given without"),
        ({"good_only": "perhaps"}, "body.good_only is 'perhaps'"),
    ],
)
def test_wrong_wishes_are_named(client: Any, asked: dict[str, Any], found: str) -> None:
    answer = client.post("/v1/search", json={"query": "sofa"} | asked)
    assert answer.status_code == 422
    assert answer.json()["error"]["found"].startswith(found)


@pytest.fixture
def opened(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr("serving.opening.open_live", lambda settings, shop: engine)
    return engine


def test_explained_for_people_and_machines(opened: Engine, capsys: Any) -> None:
    done = recsys(capsys, "search", "red sofa", "-k", "2", "--explain")
    assert done.code == 0, done.err
    for piece in ("good match", "cross_encoder", "the words move the network's logit from", "query: ", "product: "):
        assert piece in done.out
    report = recsys(capsys, "search", "red sofa", "-k", "2", "--explain", "--json").report
    assert [word["word"] for word in report["hits"][0]["words"]["query_words"]] == ["red", "sofa"]


def test_no_good_match_for_people_and_machines(opened: Engine, capsys: Any) -> None:
    done = recsys(capsys, "search", "+red sofa", "--good-only", "--price-max", "100")
    assert done.code == 0, done.err
    for piece in ("no good match", "leave out the filter price_max 100", "without operators", "see what is closest"):
        assert piece in done.out
    report = recsys(capsys, "search", "red sofa", "--good-only", "--json").report
    assert report["no_good_match"] is True
    everything = recsys(capsys, "search", "red sofa", "--all", "--json").report
    assert everything["no_good_match"] is False
    assert everything["hits"]
    refused = recsys(capsys, "search", "sofa", "--min-probability", "0.5", "--stages", "bm25")
    assert refused.code == 2
    assert "a cut-off by probability with stages `bm25`" in refused.err
    assert json.loads(recsys(capsys, "search", "sofa", "--min-probability", "0", "--json").out)["hits"]
