"""`recsys train blender` through the command line, on the small shop: held-out scores, policy, report, the engine."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import PRODUCT_SEARCH, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.engine.build import build_index
from recsys.engine.engine import Engine
from recsys.models.backbone import load_backbone
from recsys.models.text_encoder import TextEncoder
from recsys.ranking.blender import Blender
from recsys.ranking.held_out import write_held_out
from recsys.ranking.signals import COSINE
from recsys.text.tokenizer import TextTokenizer
from tests.bundles import bundle_of, components_in
from tests.command import Done, recsys
from tests.training.commands import client, options
from training.blender.classes import head_of, holds, query_classes
from training.blender.config import BlenderConfig
from training.blender.held_out import Judge, held_out_scores, keeps_scores, kept_scores
from training.blender.known import find_queries
from training.blender.rows import with_unjudged
from training.evaluate.queries import JudgedQuery, read_queries
from training.folds import text_folds

QUICK = ("query_folds=2", "rounds=[5]", "ridges=[0.1]", "pairs_in_leaf=5", "timed=3")


def sets(*texts: str) -> list[str]:
    return [part for text in texts for part in ("--set", text)]


def report_of(done: Done) -> dict[str, Any]:
    assert done.code == 0, done.err
    return json.loads(done.out.splitlines()[-1])


def test_a_blender_without_a_cross_encoder(
    judged_snapshot: Snapshot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["train", "blender", judged_snapshot.path, "--base", "none", *sets(*QUICK), "-o", tmp_path / "bundle"]
    report = report_of(recsys(capsys, *given, "--json"))
    bundle = Bundle.open(tmp_path / "bundle")
    assert sorted(bundle.manifest.components) == ["blender"]
    assert report["parts"] == ["train", "validation"]
    assert bundle.manifest.policy["off"] == report["stages"]["off"]
    stages = [stage["stage"] for stage in report["stages"]["stages"]]
    assert stages == ["bm25", "dense", "blender"]
    assert {"cross_encoder.score", "rating.mean", "freshness.share"} <= set(report["stages"]["absent"])
    assert not {"popularity.share", "price.log", "stock.in_stock"} & set(report["stages"]["absent"])
    kinds = {one["by"] for one in report["stages"]["stages"][-1]["classes"]}
    assert {"length", "number", "brand", "category"} <= kinds
    files = {file.path for file in client().list_artifacts(report["run_id"])}
    assert "report.json" in files
    build_index(judged_snapshot.catalogue(), search=bundle, recommender=None, folder=tmp_path / "index", shop="small")
    engine = Engine.open(tmp_path / "index")
    (answer,) = engine.search(["blue sofa"], k=5, explain=True, stages="blended")
    for hit in answer.hits:
        assert sum(hit.parts.values()) == pytest.approx(hit.score, abs=1e-4)
    assert engine.finder.default == ("hybrid" if "blender" in report["stages"]["off"] else "blended")


def test_tables_for_people(judged_snapshot: Snapshot, capsys: pytest.CaptureFixture[str]) -> None:
    done = recsys(capsys, "train", "blender", judged_snapshot.path, "--base", "none", *sets(*QUICK))
    assert done.code == 0, done.err
    assert "gain over the list without" in done.out
    assert "by query class" in done.out


def test_over_a_cross_encoder_and_then_under_a_new_one(
    judged_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    relevance = ["train", "relevance", judged_snapshot.path, *options(tiny_backbone, "epochs=2", "patience=0")]
    report_of(recsys(capsys, *relevance, "--json"))
    report = report_of(
        recsys(capsys, "train", "blender", judged_snapshot.path, *sets(*QUICK), "-o", tmp_path / "one", "--json")
    )
    assert report["parts"] == ["validation"]
    assert [stage["stage"] for stage in report["stages"]["stages"]] == ["bm25", "dense", "cross_encoder", "blender"]
    bundle = Bundle.open(tmp_path / "one")
    folder = bundle.component("blender")
    assert folder is not None
    assert list(Blender.load(folder).settings.learned_over) == ["cross_encoder"]
    report_of(recsys(capsys, *relevance, "--set", "seed=1", "-o", tmp_path / "two", "--json"))
    later = Bundle.open(tmp_path / "two")
    assert "blender" in later.manifest.components
    assert later.manifest.policy["off"] == ["blender"]
    build_index(judged_snapshot.catalogue(), search=later, recommender=None, folder=tmp_path / "index", shop="small")
    engine = Engine.open(tmp_path / "index")
    assert "other networks" in engine.finder.absent["blender"]
    assert engine.finder.default == "full"


def texts_of(queries: list[JudgedQuery]) -> list[str]:
    return [query.query for query in queries]


def test_scores_come_from_networks_that_have_not_seen_the_query(
    judged_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["train", "relevance", judged_snapshot.path, *options(tiny_backbone, "epochs=1"), "--base", "none"]
    report_of(recsys(capsys, *given, "--no-refit", "-o", tmp_path / "kept", "--json"))
    judge = Judge.of(Bundle.open(tmp_path / "kept"), work=tmp_path / "work")
    assert judge is not None
    assert judge.config.backbone == str(tiny_backbone)
    validation = read_queries(judged_snapshot, split="validation")
    scores = held_out_scores(
        judged_snapshot, validation, asked=texts_of(validation), judge=judge, config=BlenderConfig()
    )
    assert [len(row) for row in scores] == [len(query.positions) for query in validation]
    assert not (tmp_path / "work").exists()  # it has not seen the validation part, so no other network is needed
    everything = read_queries(judged_snapshot, split="train") + validation
    folds = held_out_scores(
        judged_snapshot, everything, asked=texts_of(everything), judge=judge, config=BlenderConfig(folds=2)
    )
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["fold0", "fold1"]
    assert all(np.isfinite(row).all() and ((row >= 0) & (row <= 1)).all() for row in folds)
    assert Judge.of(None, work=tmp_path) is None


def test_kept_scores_are_taken_where_they_cover_every_pair(judged_snapshot: Snapshot, tmp_path: Path) -> None:
    queries = read_queries(judged_snapshot, split="validation")
    catalogue = judged_snapshot.catalogue()
    rows = [(query.query_id, name, 1.0, 3.0, 0.5) for query in queries for name in catalogue.ids(query.positions)]
    frame = pl.DataFrame(rows, schema=["query_id", "product_id", "grade", "max_grade", "logit"], orient="row")
    judge = Judge(tmp_path, ComponentInfo(name="cross_encoder"), tmp_path / "work")
    assert not keeps_scores(judge, config=BlenderConfig())
    write_held_out(tmp_path, frame)
    assert keeps_scores(judge, config=BlenderConfig())
    assert not keeps_scores(judge, config=BlenderConfig(folds=4))
    assert find_queries(judged_snapshot, judge=None, config=BlenderConfig()).relevance is None
    found = kept_scores(tmp_path, judged_snapshot, queries)
    assert all(row is not None for row in found)
    np.testing.assert_allclose(
        np.concatenate([row for row in found if row is not None]), 1 / (1 + np.exp(-0.5)), rtol=1e-6
    )
    write_held_out(tmp_path, frame[1:])
    assert [row is None for row in kept_scores(tmp_path, judged_snapshot, queries)] == [True] + [False] * (
        len(queries) - 1
    )


def test_unjudged_products_come_as_grade_0(judged_snapshot: Snapshot, tmp_path: Path) -> None:
    build_index(judged_snapshot.catalogue(), search=None, recommender=None, folder=tmp_path / "index", shop="small")
    queries = read_queries(judged_snapshot, split="validation")
    more = with_unjudged(Engine.open(tmp_path / "index").finder, queries, count=3)
    for before, after in zip(queries, more, strict=True):
        new = ~np.isin(after.positions, before.positions)
        assert new.sum() == 3
        assert (after.grades[new] == 0).all()
        assert (np.diff(after.positions) > 0).all()
        np.testing.assert_array_equal(after.grades[~new], before.grades)


@pytest.mark.parametrize(
    ("setting", "code", "message"),
    [
        ('signals=["shoe.size"]', 2, "signals shoe.size"),
        ("query_folds=40", 1, "queries with several grades"),
        ("leaves=1", 2, "setting leaves"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    judged_snapshot: Snapshot, capsys: pytest.CaptureFixture[str], setting: str, code: int, message: str
) -> None:
    found = recsys(capsys, "train", "blender", judged_snapshot.path, "--base", "none", *sets(setting))
    assert found.code == code
    assert message in found.err


def test_query_classes(judged_snapshot: Snapshot) -> None:
    queries = read_queries(judged_snapshot, split="all")
    found = query_classes(judged_snapshot, queries)
    assert set(found["length"]) == {"1 or 2 words", "3 or 4 words"}
    assert set(found["category"]) == {"Home", "Office"}
    assert set(found["number"]) == {"without"}
    assert "frequency" not in found
    assert holds(["old", "big", "nord", "lamp"], {("big", "nord")})
    assert not holds(["big", "old", "nord"], {("big", "nord")})
    assert head_of({"a": 5, "b": 3, "c": 2}) == {"a"}
    assert len(set(text_folds(["sofa", "Sofa", "lamp"], folds=2, seed=0).tolist())) == 2


def test_cosines_of_a_network_that_knows_the_queries_are_not_learned_from(
    judged_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    TextEncoder(load_backbone(tiny_backbone), max_length=32).save(tmp_path / "text_encoder")
    TextTokenizer.load(tiny_backbone).save(tmp_path / "text_encoder")
    for parts, there in ((["train", "validation"], False), ([], True)):
        encoder = components_in(tmp_path, "text_encoder", parts=parts)
        base = bundle_of(tmp_path / f"base{there}", PRODUCT_SEARCH, encoder, shop="small")
        out = tmp_path / f"out{there}"
        given = ["train", "blender", judged_snapshot.path, "--base", base.path, *sets(*QUICK), "-o", out, "--json"]
        told = report_of(recsys(capsys, *given))["stages"]
        assert told["seen"] == ([] if there else ["text_encoder"])
        assert there or "dense" not in told["off"]
        assert (COSINE in Blender.load(out / "blender").signals) is there
