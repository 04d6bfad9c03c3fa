"""What a blender learns from is what a search computes: the same signals and parts, to the last digit."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import PRODUCT_SEARCH, ComponentInfo
from recsys.catalogue import Catalogue
from recsys.engine.blending import Blending, component_digests, open_blending, signal_sources
from recsys.engine.build import build_index
from recsys.engine.engine import Engine
from recsys.engine.search import Search
from recsys.ranking.blender import Blender, BlenderSettings, Linear
from recsys.ranking.held_out import write_held_out
from recsys.ranking.signals import SIGNALS, UNDERSTANDING, absent_signals, definitions_digest, group_of
from recsys.retrieval.dense_text import DenseTextRetriever
from recsys.retrieval.lexical import LexicalIndex
from recsys.types import Positions, Scores, Signals, Vectors
from recsys.understanding.signals import NAMES as MATCHES
from tests.bundles import bundle_of, components_in, components_of, search_networks
from training.blender.config import BlenderConfig
from training.blender.held_out import Judge
from training.blender.known import asked_of, find_queries, with_relevance
from training.blender.rows import read_rows
from training.evaluate.queries import JudgedQuery, read_queries

QUERIES = ("blue sofa", "greeen nord desk", "black lamp 31", "+red chair -sud", "sofas for every room", "zzz")
NAMES = tuple(SIGNALS)


class Recorder:
    """A blender that keeps what the engine gives it."""

    def __init__(self) -> None:
        line = Linear(weights=(0.0,) * len(NAMES), means=(0.0,) * len(NAMES), deviations=(1.0,) * len(NAMES))
        digest = definitions_digest(NAMES)
        self.settings = BlenderSettings(kind="linear", signals=NAMES, digest=digest, scale=1.0, linear=line)
        self.signals = NAMES
        self.matrix: Vectors = np.zeros((0, len(NAMES)), dtype=np.float32)
        self.base: Mapping[str, Scores] = {}

    def parts(self, matrix: Vectors, *, base: Mapping[str, Scores]) -> dict[str, Scores]:
        self.matrix, self.base = matrix, base
        return Blender(self.settings).parts(matrix, base=base)


@pytest.fixture(scope="module", params=[{}, {"feedback": 0.5}, {"fusion": "rank"}], ids=["sum", "feedback", "ranks"])
def engine(
    request: pytest.FixtureRequest,
    small_snapshot: Snapshot,
    tiny_backbone: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Engine:
    place = tmp_path_factory.mktemp("rows")
    networks = search_networks(place, tiny_backbone)
    bundle = bundle_of(place / "bundle", PRODUCT_SEARCH, networks, policy=request.param, shop="small")
    build_index(small_snapshot.catalogue(), search=bundle, recommender=None, folder=place / "index", shop="small")
    return Engine.open(place / "index", deterministic=True)


def sources_of(engine: Engine) -> tuple[Signals, ...]:
    lexical = engine.finder.lexical
    assert isinstance(lexical, LexicalIndex)
    sold = np.arange(len(engine.catalogue), dtype=np.float32)
    return signal_sources(engine.catalogue, lexical, reader=engine.finder.reader, popularity=sold)


def as_judged(query: str, positions: Positions) -> JudgedQuery:
    return JudgedQuery(query, query, positions, np.zeros(len(positions)))


def scores_of(finder: Search, query: JudgedQuery) -> Scores:
    assert finder.ranker is not None
    return finder.ranker.score(asked_of(finder, [query]) * len(query.positions), finder.texts(query.positions))


@pytest.mark.parametrize("query", QUERIES)
def test_rows_are_what_the_engine_computes(engine: Engine, query: str) -> None:
    judged = as_judged(query, np.arange(0, 40, 3))
    sources, recorder = sources_of(engine), Recorder()
    rows = read_rows(
        engine.finder, [judged], relevance=[scores_of(engine.finder, judged)], sources=sources, names=NAMES
    )
    serving = replace(engine.finder, blending=Blending(recorder, sources))  # type: ignore[arg-type]
    serving.within(query, judged.positions, stages="blended")
    order = np.argsort(engine.finder.within(query, judged.positions, stages="hybrid").positions)
    np.testing.assert_array_equal(rows.matrix, recorder.matrix[order])
    assert set(rows.parts) == set(recorder.base)
    for name, part in rows.parts.items():
        np.testing.assert_array_equal(part, recorder.base[name][order], err_msg=name)
    rated = [name for name in NAMES if group_of(name) in ("rating", "freshness", "image")]
    assert np.isnan(rows.matrix[:, [NAMES.index(name) for name in rated]]).all()  # this shop holds none of them


def test_each_query_is_encoded_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    encode = DenseTextRetriever.encode

    def counted(self: DenseTextRetriever, queries: Sequence[str]) -> Vectors:
        asked.extend(queries)
        return encode(self, queries)

    monkeypatch.setattr(DenseTextRetriever, "encode", counted)
    judged = [as_judged(query, np.arange(5)) for query in QUERIES]
    read_rows(engine.finder, judged, relevance=None, sources=sources_of(engine), names=NAMES)
    assert asked == [understood.text for understood in engine.finder.read(QUERIES)]


def test_a_search_of_the_catalogue_computes_the_same_signals(engine: Engine) -> None:
    sources, recorder = sources_of(engine), Recorder()
    serving = replace(engine.finder, blending=Blending(recorder, sources))  # type: ignore[arg-type]
    list(serving.run(["greeen nord desk"], k=10, allowed=None, stages="blended"))
    (fused,) = engine.finder.run(["greeen nord desk"], k=len(engine.catalogue), allowed=None, stages="hybrid")
    top = fused.positions[: len(recorder.matrix)]
    judged = as_judged("greeen nord desk", np.sort(top))
    scores = scores_of(engine.finder, judged)
    rows = read_rows(engine.finder, [judged], relevance=[scores], sources=sources, names=NAMES)
    np.testing.assert_array_equal(rows.matrix, recorder.matrix[np.argsort(top)])


def test_what_a_query_means_reaches_the_blender(engine: Engine) -> None:
    judged = as_judged("greeen nord desk", np.arange(40))  # mistyped: read as green
    sources = sources_of(engine)
    names = [f"{UNDERSTANDING}.{name}" for name in MATCHES]
    assert set(names) <= set(SIGNALS)
    rows = read_rows(engine.finder, [judged], relevance=None, sources=sources, names=names)
    assert engine.finder.reader is not None
    found = engine.finder.reader.signals(engine.finder.reader.read("green nord desk"), judged.positions)
    for place, name in enumerate(MATCHES):
        np.testing.assert_array_equal(rows.matrix[:, place], found[name])
    brand, colour = (rows.matrix[:, names.index(f"{UNDERSTANDING}.{name}_match")] for name in ("brand", "colour"))
    assert np.array_equal(np.sign(brand), np.where(np.arange(40) % 2 == 0, 1, -1))
    assert np.array_equal(np.sign(colour), np.where(np.arange(40) % 4 == 2, 1, -1))
    assert {f"{UNDERSTANDING}.attribute_match"} <= absent_signals(sources, known=[])


def test_a_blender_that_reads_meaning_stays_out_of_an_index_without(
    engine: Engine, tiny_backbone: Path, tmp_path: Path
) -> None:
    bundle = bundle_of(tmp_path / "bundle", PRODUCT_SEARCH, search_networks(tmp_path, tiny_backbone), shop="small")
    names = (f"{UNDERSTANDING}.brand_match",)
    line = Linear(weights=(1.0,), means=(0.0,), deviations=(1.0,))
    settings = BlenderSettings(
        kind="linear",
        signals=names,
        digest=definitions_digest(names),
        scale=1.0,
        learned_over=component_digests(bundle),
        linear=line,
    )
    Blender(settings).save(tmp_path / "blender")
    parts = components_of(bundle) | components_in(tmp_path, "blender")
    full = bundle_of(tmp_path / "full", PRODUCT_SEARCH, parts, shop="small")
    lexical = engine.finder.lexical
    assert isinstance(lexical, LexicalIndex)
    opened, why = open_blending(full, engine.catalogue, lexical=lexical, reader=engine.finder.reader)
    assert opened is not None
    assert why == ""
    opened, why = open_blending(full, engine.catalogue, lexical=lexical, reader=None)
    assert opened is None
    assert "run `recsys index` again" in why


def test_a_shop_without_stock_dates_or_sales_lacks_their_signals(tmp_path: Path) -> None:
    rows = [{"position": row, "product_id": f"p{row}", "title": f"lamp {row}", "price": None} for row in range(3)]
    catalogue = Catalogue(pl.DataFrame(rows, schema_overrides={"price": pl.Float64}))
    build_index(catalogue, search=None, recommender=None, folder=tmp_path / "index", shop="small", backbone="")
    finder = Engine.open(tmp_path / "index").finder
    assert isinstance(finder.lexical, LexicalIndex)
    sources = signal_sources(catalogue, finder.lexical, reader=finder.reader, popularity=None)
    absent = absent_signals(sources, known=[])
    groups = {"price", "stock", "popularity", "freshness", "rating"}
    assert {name for name in SIGNALS if group_of(name) in groups} <= absent
    assert {f"{UNDERSTANDING}.{name}_match" for name in ("category", "brand", "colour", "attribute")} <= absent
    matrix = read_rows(finder, [as_judged("lamp", np.arange(3))], relevance=None, sources=sources, names=NAMES).matrix
    assert np.isnan(matrix[:, [NAMES.index(name) for name in absent]]).all()


def test_a_query_that_the_search_respells_is_left_out_where_its_scores_were_kept(
    engine: Engine, small_snapshot: Snapshot, tmp_path: Path
) -> None:
    queries = read_queries(small_snapshot, split="validation")
    products = small_snapshot.catalogue()
    rows = [(one.query_id, name, 1.0, 3.0, 0.5) for one in queries for name in products.ids(one.positions)]
    schema = ["query_id", "product_id", "grade", "max_grade", "logit"]
    write_held_out(tmp_path, pl.DataFrame(rows, schema=schema, orient="row"))
    judge = Judge(tmp_path, ComponentInfo(name="cross_encoder"), tmp_path / "work")
    config = BlenderConfig(query_folds=2).model_copy(update={"query_folds": 1})
    found = find_queries(small_snapshot, judge=judge, config=config)
    assert found.parts == ("validation",)
    first, *others = found.queries
    typed = replace(first, query="greeen nord desk")
    assert asked_of(engine.finder, [typed]) != [typed.query]
    kept = list(found.relevance or ())
    told = with_relevance(
        replace(found, queries=[typed, *others], relevance=kept),
        small_snapshot,
        finder=engine.finder,
        judge=judge,
        config=config,
    )
    assert told.respelled == 1
    assert [query.query for query in told.queries] == [query.query for query in others]
    assert not (tmp_path / "work").exists()
