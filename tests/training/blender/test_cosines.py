"""A blender beside a fine-tuned text encoder: it reads the cosines kept from before, or none."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import PRODUCT_SEARCH, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.bundle.write import write_bundle
from recsys.engine.build import build_index
from recsys.engine.engine import Engine
from recsys.engine.policy import SearchPolicy
from recsys.engine.search import Search
from recsys.models.backbone import load_backbone
from recsys.models.text_encoder import TextEncoder
from recsys.ranking.blender import Blender
from recsys.ranking.held_out import as_held_out, read_held_out, write_held_out
from recsys.ranking.signals import COSINE, LOGIT, SIGNALS
from recsys.retrieval.images import ImageVectors
from recsys.text.tokenizer import TextTokenizer
from recsys.types import Scores
from tests.command import recsys
from tests.training.commands import options
from training.blender import stage
from training.blender.config import BlenderConfig
from training.blender.known import BOTH, LATER, Known, graded_queries, with_cosines
from training.blender.rows import read_rows
from training.evaluate.queries import JudgedQuery, read_queries

QUICK = [part for text in ("query_folds=2", "rounds=[5]", "ridges=[0.1]", "timed=3") for part in ("--set", text)]
CONFIG = BlenderConfig(query_folds=2)


@pytest.fixture(scope="module")
def base(judged_snapshot: Snapshot, tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A text encoder that has learned from training and validation queries, and kept a number for each judged pair."""
    place = tmp_path_factory.mktemp("kept")
    TextEncoder(load_backbone(tiny_backbone), max_length=32).save(place / "encoder")
    TextTokenizer.load(tiny_backbone).save(place / "encoder")
    judgments = judged_snapshot.judgments(*BOTH)
    scores = np.linspace(-1, 1, len(judgments), dtype=np.float32)
    frame = as_held_out(judgments, scores, max_grade=3.0, score="cosine")
    write_held_out(place / "encoder", frame, score="cosine")
    return bundle_of(place / "bundle", place / "encoder", parts=BOTH)


def bundle_of(out: Path, encoder: Path, *, parts: Sequence[str]) -> Bundle:
    components = {"text_encoder": (encoder, ComponentInfo(name="text_encoder", parts=list(parts)))}
    return write_bundle(
        out, kind=PRODUCT_SEARCH, shop="small", components=components, policy={}, snapshot="s", config={}
    )


@pytest.fixture(scope="module")
def finder(base: Bundle, judged_snapshot: Snapshot, tmp_path_factory: pytest.TempPathFactory) -> Search:
    index = tmp_path_factory.mktemp("index") / "index"
    build_index(judged_snapshot.catalogue(), search=base, recommender=None, folder=index, shop="small")
    return Engine.open(index, deterministic=True).finder


def known_of(snapshot: Snapshot) -> Known:
    return Known([query for part in BOTH for query in graded_queries(snapshot, part)], None, BOTH)


def own_cosines(finder: Search, query: JudgedQuery) -> Scores:
    """As the search computes them."""
    assert finder.dense is not None
    vectors = finder.dense.index.at(query.positions)
    return np.asarray(vectors @ finder.dense.encode([query.query])[0], dtype=np.float32)


@pytest.mark.parametrize("fusion", ["score", "rank"])
def test_rows_hold_the_cosines_that_are_given(finder: Search, judged_snapshot: Snapshot, fusion: Any) -> None:
    """In the signal and in the sum's part, and nothing else changes; the finder's own give the rows without."""
    finder = replace(finder, policy=SearchPolicy(fusion=fusion, dense=0.25))
    queries = read_queries(judged_snapshot, split="validation")[:4]
    names = tuple(SIGNALS)
    plain = read_rows(finder, queries, relevance=None, sources=(), names=names)
    own = [own_cosines(finder, query) for query in queries]
    same = read_rows(finder, queries, relevance=None, sources=(), names=names, cosines=own)
    np.testing.assert_allclose(same.matrix, plain.matrix, atol=1e-6)
    given = [np.linspace(0.9, -0.3, len(query.positions), dtype=np.float32) for query in queries]
    rows = read_rows(finder, queries, relevance=None, sources=(), names=names, cosines=given)
    np.testing.assert_array_equal(rows.matrix[:, names.index(COSINE)], np.concatenate(given))
    others = [place for place, name in enumerate(names) if name != COSINE]
    np.testing.assert_array_equal(rows.matrix[:, others], plain.matrix[:, others])
    ranks = [np.arange(1, len(query.positions) + 1) for query in queries]  # the given ones fall with the position
    wanted = given if fusion == "score" else [61 / (60 + rank) for rank in ranks]
    np.testing.assert_allclose(rows.parts["dense"], 0.25 * np.concatenate(wanted), rtol=1e-6)
    np.testing.assert_array_equal(rows.parts["bm25"], plain.parts["bm25"])
    assert list(rows.parts) == list(plain.parts)


def test_the_cross_encoder_stands_beside_given_cosines(finder: Search, judged_snapshot: Snapshot) -> None:
    (query, *_) = read_queries(judged_snapshot, split="validation")
    near = np.linspace(-1, 1, len(query.positions), dtype=np.float32)
    scores = np.linspace(0.9, 0.1, len(query.positions), dtype=np.float32)
    rows = read_rows(finder, [query], relevance=[scores], sources=(), names=(COSINE, LOGIT), cosines=[near])
    np.testing.assert_array_equal(rows.parts["cross_encoder"], scores)
    np.testing.assert_allclose(rows.parts["dense"], 0.5 * near)
    np.testing.assert_allclose(rows.matrix, np.stack([near, np.log(scores / (1 - scores))], axis=1), rtol=1e-5)


def test_every_query_has_the_numbers_that_were_kept_for_it(
    base: Bundle, finder: Search, judged_snapshot: Snapshot
) -> None:
    known = known_of(judged_snapshot)
    found = with_cosines(known, judged_snapshot, finder=finder, base=base, config=CONFIG)
    assert found.queries == known.queries
    assert (found.parts, found.respelled) == (BOTH, 0)
    assert found.cosines is not None
    frame = read_held_out(base.path / "text_encoder", score="cosine")
    pairs = {(query, product): score for query, product, _, _, score in frame.iter_rows()}
    for query, row in zip(found.queries, found.cosines, strict=True):
        products = judged_snapshot.catalogue().ids(query.positions)
        assert row.tolist() == [pairs[query.query_id, product] for product in products]


def kept_of(base: Bundle, out: Path, keep: Callable[[pl.DataFrame], pl.DataFrame], parts: Sequence[str]) -> Bundle:
    """The same encoder with fewer cosines kept, or one that says it has learned from other parts."""
    encoder = out / "encoder"
    TextEncoder.load(base.path / "text_encoder").save(encoder)
    TextTokenizer.load(base.path / "text_encoder").save(encoder)
    write_held_out(encoder, keep(read_held_out(base.path / "text_encoder", score="cosine")), score="cosine")
    return bundle_of(out / "bundle", encoder, parts=parts)


def test_queries_without_kept_cosines_are_left_out(
    base: Bundle, finder: Search, judged_snapshot: Snapshot, tmp_path: Path
) -> None:
    """Those of the training part, of which nothing is kept by default; and one of which a product is missing."""
    validation = judged_snapshot.judgments("validation")
    first = read_queries(judged_snapshot, split="validation")[0].query_id
    inside = pl.col("query_id").is_in(validation["query_id"].unique().to_list())
    gap = (pl.col("query_id") == first) & (pl.int_range(pl.len()).over("query_id") == 0)
    less = kept_of(base, tmp_path, lambda frame: frame.filter(inside & ~gap), BOTH)
    known = known_of(judged_snapshot)
    found = with_cosines(known, judged_snapshot, finder=finder, base=less, config=CONFIG)
    late = [query.query_id for query in graded_queries(judged_snapshot, *LATER)]
    assert [query.query_id for query in found.queries] == [name for name in late if name != first]
    assert found.parts == LATER
    assert found.cosines is not None
    few = CONFIG.model_copy(update={"query_folds": len(late)})
    assert with_cosines(known, judged_snapshot, finder=finder, base=less, config=few) is known


def test_a_query_that_the_search_respells_is_left_out(base: Bundle, finder: Search, judged_snapshot: Snapshot) -> None:
    """And with it what the cross-encoder said of it."""
    known = known_of(judged_snapshot)
    first, *others = known.queries
    relevance = [np.full(len(query.positions), number / 100, np.float32) for number, query in enumerate(known.queries)]
    typed = replace(known, queries=[replace(first, query="greeen nord desk"), *others], relevance=relevance)
    found = with_cosines(typed, judged_snapshot, finder=finder, base=base, config=CONFIG)
    assert found.queries == others
    assert found.respelled == 1
    assert found.relevance is not None
    assert [float(row[0]) for row in found.relevance] == [float(row[0]) for row in relevance[1:]]
    assert found.cosines is not None
    assert len(found.cosines) == len(others)


def test_a_search_reads_its_own_cosines_where_kept_ones_would_be_others(
    base: Bundle, finder: Search, judged_snapshot: Snapshot, tmp_path: Path
) -> None:
    known = known_of(judged_snapshot)
    assert finder.dense is not None
    seen = ImageVectors(np.zeros((0, 16), np.float32), np.full(40, -1), np.zeros(0, np.float32))
    pictures = type(finder.dense)(finder.dense.encoder, finder.dense.tokenizer, finder.dense.index, images=seen)
    elsewhere = kept_of(base, tmp_path, lambda frame: frame, ())
    for change, given, config in (
        ({"policy": SearchPolicy(feedback=0.5)}, base, CONFIG),  # it compares products by the same vectors
        ({"dense": pictures}, base, CONFIG),
        ({"dense": None}, base, CONFIG),
        ({}, base, CONFIG.model_copy(update={"unjudged": 3})),
        ({}, None, CONFIG),
        ({}, elsewhere, CONFIG),  # it has not learned from these queries
    ):
        changed = replace(finder, **change)  # type: ignore[arg-type]
        assert with_cosines(known, judged_snapshot, finder=changed, base=given, config=config) is known


def test_the_nights_stages_in_their_order(
    judged_snapshot: Snapshot,
    tiny_backbone: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Retriever, cross-encoder, blender, each refitted: the blender reads the cosines of the encoder before."""
    quick = options(tiny_backbone, "epochs=1")
    for name in ("retriever", "relevance"):
        done = recsys(capsys, "train", name, judged_snapshot.path, *quick, "-o", tmp_path / name, "--json")
        assert done.code == 0, done.err
        assert done.report["parts"] == ["train", "validation"]
    told: dict[str, Any] = {}

    def spy(finder: Search, judged: Sequence[JudgedQuery], **given: Any) -> Any:
        told.update(given, judged=judged)
        return read_rows(finder, judged, **given)

    monkeypatch.setattr(stage, "read_rows", spy)
    done = recsys(capsys, "train", "blender", judged_snapshot.path, *QUICK, "-o", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    assert done.report["parts"] == ["validation"]
    assert done.report["stages"]["seen"] == []
    bundle = Bundle.open(tmp_path / "out")
    assert COSINE in Blender.load(bundle.path / "blender").signals
    frame = read_held_out(bundle.path / "text_encoder", score="cosine")
    pairs = {(query, product): score for query, product, _, _, score in frame.iter_rows()}
    assert len(told["cosines"]) == len(told["judged"]) >= 4
    for query, row in zip(told["judged"], told["cosines"], strict=True):
        products = judged_snapshot.catalogue().ids(query.positions)
        assert row.tolist() == [pairs[query.query_id, product] for product in products]
