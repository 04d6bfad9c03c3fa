"""The blender in the engine: off by default, additive, in order, and left out where it does not fit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recsys.bundle.manifest import PRODUCT_SEARCH
from recsys.bundle.read import Bundle
from recsys.catalogue import Catalogue
from recsys.engine.blending import BELOW, component_digests
from recsys.engine.build import build_index
from recsys.engine.engine import Engine
from recsys.engine.policy import SearchPolicy
from recsys.errors import UsageError
from recsys.ranking.blender import BIAS, Blender, BlenderSettings, Linear
from recsys.ranking.signals import RELEVANCE, definitions_digest
from recsys.settings import Settings
from recsys.types import Answer
from tests.bundles import bundle_of, components_in, components_of

NAMES = ("bm25.title", "words.title", RELEVANCE, "price.log")


def blender_of(bundle: Bundle, *, weights: tuple[float, ...] = (0.0, 0.0, 0.0, -5.0), scale: float = 1.0) -> Blender:
    """One that puts cheap products first."""
    linear = Linear(weights=weights, means=(0.0,) * 4, deviations=(1.0,) * 4)
    return Blender(
        BlenderSettings(
            kind="linear",
            signals=NAMES,
            digest=definitions_digest(NAMES),
            scale=scale,
            learned_over=component_digests(bundle),
            linear=linear,
        )
    )


def with_blender(bundle: Bundle, folder: Path, *, blender: Blender, policy: dict[str, object]) -> Bundle:
    blender.save(folder / "blender")
    components = components_of(bundle) | components_in(folder, "blender")
    return bundle_of(folder / "bundle", PRODUCT_SEARCH, components, policy={**bundle.manifest.policy, **policy})


def engine_of(catalogue: Catalogue, bundle: Bundle, folder: Path) -> Engine:
    build_index(catalogue, search=bundle, recommender=None, folder=folder / "index", shop="demo")
    return Engine.open(folder / "index", settings=Settings(home=folder, tracking_uri=""), deterministic=True)


@pytest.fixture(scope="module")
def plain(catalogue: Catalogue, search_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return engine_of(catalogue, search_bundle, tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def engine(catalogue: Catalogue, search_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    place = tmp_path_factory.mktemp("blended")
    bundle = with_blender(search_bundle, place, blender=blender_of(search_bundle), policy={"off": []})
    return engine_of(catalogue, bundle, place)


def off(engine: Engine, *names: str) -> Engine:
    policy = engine.finder.policy.model_copy(update={"off": names})
    return replace(engine, finder=replace(engine.finder, policy=policy))


def shown(answer: Answer) -> list[tuple[str, float, dict[str, float]]]:
    return [(hit.product_id, hit.score, hit.parts) for hit in answer.hits]


def test_it_is_off_unless_the_policy_has_it_on(engine: Engine, plain: Engine) -> None:
    assert SearchPolicy().off == ("blender",)
    assert engine.finder.default == "blended"
    assert off(engine, "blender").finder.default == plain.finder.default == "full"
    queries = ["blue sofa", "red velvet chair", "+oak lamp"]
    still, before = (one.search(queries, k=12, explain=True) for one in (off(engine, "blender"), plain))
    assert [shown(answer) for answer in still] == [shown(answer) for answer in before]


@pytest.mark.parametrize(
    ("names", "default"),
    [
        ((), "blended"),
        (("blender",), "full"),
        (("blender", "cross_encoder"), "hybrid"),
        (("blender", "cross_encoder", "dense"), "bm25"),
        (("blender", "dense"), "bm25+cross_encoder"),
    ],
)
def test_what_the_policy_has_off_is_left_out(engine: Engine, names: tuple[str, ...], default: str) -> None:
    some = off(engine, *names)
    assert some.finder.default == default
    (answer,) = some.search(["blue chair"], k=5, explain=True)
    (named,) = some.search(["blue chair"], k=5, explain=True, stages=default)
    assert shown(answer) == shown(named)
    assert ("dense" in answer.hits[0].parts) is (default not in ("bm25", "bm25+cross_encoder"))


@pytest.mark.parametrize("query", ["blue sofa", "red chair", "lamp", "+oak sofa"])
def test_parts_add_up_and_blended_products_stand_above(engine: Engine, catalogue: Catalogue, query: str) -> None:
    (answer,) = engine.search([query], k=12, explain=True)
    for hit in answer.hits:
        assert sum(hit.parts.values()) == pytest.approx(hit.score, abs=1e-5)
    keys = [(-hit.score, int(catalogue.positions([hit.product_id])[0])) for hit in answer.hits]
    assert keys == sorted(keys)
    top, rest = answer.hits[:4], answer.hits[4:]
    assert all(BIAS in hit.parts and hit.parts[BELOW] == 0.0 for hit in top)
    assert all(hit.parts["price"] == 0.0 and hit.parts["cross_encoder"] == 0.0 for hit in rest)


def test_the_best_by_the_sum_are_those_put_in_order(engine: Engine, plain: Engine, catalogue: Catalogue) -> None:
    blended, full = (one.search(["blue sofa"], k=12)[0].hits for one in (engine, plain))
    assert {hit.product_id for hit in blended[:4]} == {hit.product_id for hit in full[:4]}
    assert [hit.product_id for hit in blended[4:]] == [hit.product_id for hit in full[4:]]
    places = catalogue.positions([hit.product_id for hit in blended[:4]])
    prices = catalogue.column("price").gather(places).to_list()
    assert prices == sorted(prices)


def test_ranking_given_products_is_the_same_sum(engine: Engine, catalogue: Catalogue) -> None:
    (answer,) = engine.rank(["blue sofa"], [catalogue.product_ids.to_list()])
    prices = catalogue.column("price").gather(catalogue.positions([hit.product_id for hit in answer.hits])).to_list()
    assert prices == sorted(prices)
    for hit in answer.hits:
        assert sum(hit.parts.values()) == pytest.approx(hit.score, abs=1e-5)


def test_batch_is_single(engine: Engine) -> None:
    queries = ["blue sofa", "red velvet chair", "lamp", ""]
    together = engine.search(queries, k=12, explain=True)
    singles = [engine.search([query], k=12, explain=True)[0] for query in queries]
    assert [shown(row) for row in together] == [shown(row) for row in singles]


def test_without_the_sum_the_rest_keeps_its_order(
    catalogue: Catalogue, search_bundle: Bundle, tmp_path: Path, plain: Engine
) -> None:
    blender = blender_of(search_bundle, scale=0.0)
    engine = engine_of(catalogue, with_blender(search_bundle, tmp_path, blender=blender, policy={"off": []}), tmp_path)
    blended, full = (one.search(["blue sofa"], k=12)[0].hits for one in (engine, plain))
    assert [hit.product_id for hit in blended[4:]] == [hit.product_id for hit in full[4:]]


def test_one_fitted_on_other_networks_is_left_out(catalogue: Catalogue, search_bundle: Bundle, tmp_path: Path) -> None:
    known = blender_of(search_bundle)
    strange = Blender(known.settings.model_copy(update={"learned_over": {"cross_encoder": "0" * 64}}))
    engine = engine_of(catalogue, with_blender(search_bundle, tmp_path, blender=strange, policy={"off": []}), tmp_path)
    assert engine.finder.default == "full"
    assert len(engine.search(["blue sofa"])[0].hits) > 0
    with pytest.raises(UsageError, match=r"no blender stage .it was fitted on the scores of other networks"):
        engine.search(["blue sofa"], stages="blended")


def test_an_index_without_one_says_so(plain: Engine) -> None:
    assert "blended" not in plain.finder.available
    with pytest.raises(UsageError, match="no blender stage"):
        plain.search(["sofa"], stages="blended")


def test_scores_are_float32_and_positions_distinct(engine: Engine) -> None:
    (ranked,) = engine.finder.run(["blue sofa"], k=12, allowed=None, stages="blended")
    assert ranked.scores.dtype == np.float32
    assert all(part.dtype == np.float32 for part in ranked.parts.values())
    assert len(np.unique(ranked.positions)) == len(ranked.positions)
