"""A mistyped query finds what was meant and says so; a query of known words gets the bytes that it always got."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recsys.bundle.read import Bundle
from recsys.catalogue import Catalogue
from recsys.engine.build import build_index
from recsys.engine.engine import Engine
from recsys.engine.manifest import read_manifest, stored_files
from recsys.errors import IndexMismatchError
from recsys.meaning import SpanKind
from recsys.settings import Settings
from recsys.types import Filters

STAGES = ["bm25", "dense", "hybrid", "full"]
KNOWN = ["blue sofa", "red chair", "+lamp white", "sofa -blue", '"green lamp" OR sofas', "title:chair", "zzz 12"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"), tracking_uri="")


@pytest.fixture(scope="module")
def engine(catalogue: Catalogue, search_bundle: Bundle, home: Settings) -> Engine:
    folder = home.home / "index"
    build_index(catalogue, search=search_bundle, recommender=None, folder=folder, shop="demo")
    return Engine.open(folder, settings=home, deterministic=True)


@pytest.mark.parametrize("stages", STAGES)
def test_known_words_get_the_bytes_that_an_index_without_understanding_gives(engine: Engine, stages: str) -> None:
    bare = replace(engine, finder=replace(engine.finder, reader=None))
    for query in KNOWN:
        (with_it,), (without,) = (one.finder.run([query], k=12, allowed=None, stages=stages) for one in (engine, bare))
        assert with_it.positions.tobytes() == without.positions.tobytes()
        assert with_it.scores.tobytes() == without.scores.tobytes()


@pytest.mark.parametrize("stages", STAGES)
def test_a_mistyped_query_is_answered_as_if_it_were_typed_well(engine: Engine, stages: str) -> None:
    wrong, right = engine.search(["greeen chair", "green chair"], k=12, stages=stages, explain=True)
    assert wrong.hits == right.hits
    assert (wrong.corrected_query, right.corrected_query) == ("green chair", None)


def test_correction_can_be_switched_off(engine: Engine) -> None:
    (typed,) = engine.search(["greeen"], correct=False, stages="bm25")
    assert (typed.hits, typed.corrected_query, typed.did_you_mean) == ((), None, None)
    (corrected,) = engine.search(["greeen"], stages="bm25")
    assert len(corrected.hits) == 3


def test_a_doubtful_word_counts_less_and_nothing_typed_is_lost(engine: Engine) -> None:
    asked, known = engine.search(["bleu lamp", "blue lamp"], k=12, stages="bm25")  # bleu: English has it
    assert (asked.corrected_query, asked.did_you_mean) == (None, "blue lamp")
    assert {hit.product_id for hit in asked.hits} == {hit.product_id for hit in known.hits}
    assert asked.hits[0].product_id == known.hits[0].product_id
    assert asked.hits[0].score < known.hits[0].score


def test_a_doubtful_word_lets_nothing_pass_that_is_excluded(engine: Engine) -> None:
    (asked,) = engine.search(["bleu +lamp -white"], k=12, stages="bm25")
    titles = dict(zip(engine.catalogue.product_ids, engine.catalogue.frame["title"], strict=True))
    found = [titles[hit.product_id] for hit in asked.hits]
    assert found[0] == "blue lamp"
    assert all("lamp" in title and "white" not in title for title in found)
    (inside,) = engine.search(["bleu"], k=12, stages="bm25", filters=Filters(only=("p00", "p01")))
    assert [hit.product_id for hit in inside.hits] == ["p00"]


def test_search_and_rank_read_a_query_alike(engine: Engine) -> None:
    (searched,) = engine.search(["greeen chair"], k=12, stages="full")
    (ranked,) = engine.rank(["greeen chair"], [[hit.product_id for hit in searched.hits]])
    assert ranked.hits[0].product_id == searched.hits[0].product_id


def test_what_was_read_is_told_where_it_is_asked_for(engine: Engine) -> None:
    plain, blank = engine.search(["blue sofas acme 2 m", " "])
    assert plain.understanding is blank.understanding is None
    (asked,) = engine.search(["blue sofas acme 2 m"], explain=True)
    read = asked.understanding
    assert read is not None
    assert [(span.kind, span.values) for span in read.spans] == [
        (SpanKind.COLOUR, ("blue",)), (SpanKind.CATEGORY, ("Home > Sofas",)), (SpanKind.BRAND, ("Acme",)),
    ]  # fmt: skip
    assert [(one.value, one.unit) for one in read.quantities] == [(2000.0, "mm")]
    assert read.categories[0].path == "Home"


def test_signals_are_at_hand_for_any_positions(engine: Engine) -> None:
    reader = engine.finder.reader
    assert reader is not None
    (read,) = engine.finder.read(["acme sofa"])
    found = reader.signals(read, np.array([1, 0]))
    assert np.sign(found["brand_match"]).tolist() == [1.0, -1.0]


def test_an_index_from_before_there_was_understanding_still_answers(
    catalogue: Catalogue, home: Settings, tmp_path: Path
) -> None:
    folder = build_index(catalogue, search=None, recommender=None, folder=tmp_path / "old", shop="", backbone="")
    shutil.rmtree(folder / "understanding")
    manifest = read_manifest(folder)
    older = manifest.model_copy(update={"stages": {"bm25": "tantivy"}, "files": stored_files(folder)})
    (folder / "manifest.json").write_text(older.model_dump_json())
    (answer,) = Engine.open(folder, settings=home).search(["blue sofa"], explain=True)
    assert answer.hits
    assert answer.understanding is not None
    assert (answer.understanding.text, answer.understanding.spans) == ("blue sofa", ())


def test_a_torn_understanding_is_refused(catalogue: Catalogue, home: Settings, tmp_path: Path) -> None:
    folder = build_index(catalogue, search=None, recommender=None, folder=tmp_path / "torn", shop="", backbone="")
    path = folder / "understanding" / "words.parquet"
    path.write_bytes(b"?" * path.stat().st_size)
    with pytest.raises(IndexMismatchError, match=r"understanding/words\.parquet was altered"):
        Engine.open(folder, settings=home)
    with pytest.raises(IndexMismatchError, match="query understanding"):
        Engine.open(folder, settings=home, verify=False)
