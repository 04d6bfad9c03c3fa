"""Hard negatives of the scorer: what is learned with grade 0, what never is, and that a killed run goes on with it."""

from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from feature_store.snapshot import Snapshot, build_snapshot
from recsys.bundle.read import Bundle
from recsys.errors import NothingToLearnError
from recsys.ranking.cross_encoder import sigmoid
from recsys.ranking.held_out import as_held_out
from recsys.text.normalise import normalise
from recsys.text.tokenizer import TextTokenizer
from tests.command import recsys
from tests.shops import small_tables, write_shop
from tests.training.commands import options
from training.negatives import mine as mining
from training.negatives.twins import twin_numbers
from training.relevance import negatives as widening
from training.relevance.config import RelevanceConfig
from training.relevance.held_out import score_folds
from training.relevance.learn import new_network
from training.relevance.members import learn_members
from training.relevance.negatives import mined_pairs
from training.relevance.objective import GROUPED
from training.relevance.redraw import new_redraw
from training.relevance.replay import Past
from training.relevance.sources import Reader, Sources
from training.relevance.teacher import Teachers

LOOSE = {"negatives": 3, "relative_margin": None}
COUNT = 40


def config_of(backbone: Path, **values: object) -> RelevanceConfig:
    given = {"precision": "fp32", "max_length": 24, "batch_size": 16, "backbone": str(backbone), **LOOSE}
    return RelevanceConfig.model_validate(given | values)


def reader_of(
    snapshot: Snapshot, backbone: Path, work: Path, *, sources: Sources | None = None, **values: object
) -> Reader:
    config = config_of(backbone, **values)
    return Reader(snapshot, sources or Sources(), TextTokenizer.load(backbone), config, work)


def shop_with(folder: Path, tables: dict[str, pl.DataFrame], *, name: str = "small") -> Snapshot:
    shop = write_shop(folder / "shop", tables, toml=f'name = "{name}"\n[judgments]\nmax_grade = 3\n')
    return build_snapshot(shop, out=folder / "snapshot")


@pytest.fixture(scope="module")
def doubled(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """The small shop with a twin of every product, its title in capitals, and every query in a second spelling."""
    tables = small_tables()
    products = tables["products"]
    twins = products.with_columns(pl.col("product_id") + "x", pl.col("title").str.to_uppercase())
    queries = tables["queries"]
    shouted = queries.with_columns(pl.col("query_id") + "x", pl.col("query").str.to_uppercase())
    judgments = tables["judgments"]
    other = judgments.filter(pl.int_range(pl.len()) % 2 == 0).with_columns(pl.col("query_id") + "x")
    given = tables | {
        "products": pl.concat([products, twins]),
        "queries": pl.concat([queries, shouted]),
        "judgments": pl.concat([judgments.filter(pl.int_range(pl.len()) % 2 == 1), other]),
    }
    return shop_with(tmp_path_factory.mktemp("doubled"), given)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("margin", [None, 0.05])
def test_nothing_judged_is_mined_in_no_spelling_and_no_twin(
    doubled: Snapshot, tiny_backbone: Path, tmp_path: Path, seed: int, margin: float | None
) -> None:
    judgments = doubled.judgments("train")
    config = config_of(tiny_backbone, negatives=5, seed=seed, relative_margin=margin)
    found = mined_pairs(doubled, judgments, known=judgments, config=config, work=tmp_path)
    assert not found.is_empty()
    catalogue, twin = doubled.catalogue(), twin_numbers(doubled.catalogue())
    judged = {
        (normalise(query), int(twin[position]))
        for query, position in zip(judgments["query"], catalogue.positions(judgments["product_id"]), strict=True)
    }
    mined = list(zip(found["query"], catalogue.positions(found["product_id"]), strict=True))
    assert all(position >= 0 for _, position in mined)
    assert not judged & {(normalise(query), int(twin[position])) for query, position in mined}
    assert found.select("query", "product_id").is_unique().all()
    assert found.group_by(found["query"].str.to_lowercase()).len()["len"].max() <= 5  # type: ignore[operator]
    assert found["grade"].dtype == judgments.schema["grade"]
    assert found["grade"].sum() == 0
    asked = judgments.select("query_id", "query").unique()
    assert found.join(asked, on=["query_id", "query"], how="anti").is_empty()


def test_only_queries_with_a_right_product_are_mined_for(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    judgments = small_snapshot.judgments("train")
    first = judgments["query_id"][0]
    dull = judgments.with_columns(grade=pl.when(pl.col("query_id") == first).then(0.0).otherwise(pl.col("grade")))
    dull = dull.cast({"grade": judgments.schema["grade"]})
    config = config_of(tiny_backbone)
    found = mined_pairs(small_snapshot, dull, known=dull, config=config, work=tmp_path)
    right = dull.filter(pl.col("grade") > 0)
    assert first not in found["query_id"].to_list()
    assert set(found["query_id"]) == set(right["query_id"])


def test_mined_pairs_are_learned_with_grade_0_in_their_query_s_group(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    """Behind the judged pairs, which stay as they were but for the numbers that a mean of 1 gives their weights."""
    plain = reader_of(small_snapshot, tiny_backbone, tmp_path, negatives=0).pairs("train")
    mined = reader_of(small_snapshot, tiny_backbone, tmp_path).pairs("train")
    assert plain is not None
    assert mined is not None
    count = len(plain)
    queries = len(np.unique(plain.queries))
    assert len(mined) == count + 3 * queries
    assert np.array_equal(mined.queries[:count], plain.queries)
    assert np.array_equal(mined.grades[:count], plain.grades)
    assert np.array_equal(mined.tokens.take(range(count)).ids, plain.tokens.ids)
    assert not mined.grades[count:].any()
    assert np.array_equal(np.unique(mined.queries[count:], return_counts=True)[1], [3] * queries)
    assert set(mined.weights.tolist()) == {1.0}


def test_no_query_that_is_held_out_is_mined_for(small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path) -> None:
    seen: list[Sequence[str]] = []
    real = mining.open_searchers

    def watched(texts: Sequence[str], *given: object, **named: object) -> object:
        seen.append(texts)
        return real(texts, *given, **named)  # type: ignore[arg-type]

    with patch.object(mining, "open_searchers", watched):
        reader = reader_of(small_snapshot, tiny_backbone, tmp_path)
        reader.pairs("train")
        reader.pairs("train", "validation")
    asked = [{normalise(text) for text in texts} for texts in seen]
    held_out = [
        {normalise(query) for query in small_snapshot.judgments(part)["query"]} for part in ("validation", "test")
    ]
    assert not asked[0] & (held_out[0] | held_out[1])
    assert held_out[0] <= asked[1]
    assert not asked[1] & held_out[1]


def test_the_seed_decides_and_the_refit_keeps_the_draw(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    known = small_snapshot.judgments("train", "validation")

    def mined(judgments: pl.DataFrame, place: str, seed: int) -> pl.DataFrame:
        config = config_of(tiny_backbone, seed=seed)
        return mined_pairs(small_snapshot, judgments, known=known, config=config, work=tmp_path / place)

    train = small_snapshot.judgments("train")
    first = mined(train, "one", 0)
    assert first.equals(mined(train, "two", 0))
    assert not first.equals(mined(train, "one", 1))
    both = mined(known, "one", 0)
    assert both.join(first, on=["query_id", "product_id"], how="semi").height == first.height


def test_a_killed_run_goes_on_with_what_was_mined(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    first = reader_of(small_snapshot, tiny_backbone, tmp_path).pairs("train")
    with patch.object(mining, "open_searchers", side_effect=AssertionError("all is there")):
        again = reader_of(small_snapshot, tiny_backbone, tmp_path).pairs("train")
    assert first is not None
    assert again is not None
    assert np.array_equal(first.tokens.ids, again.tokens.ids)
    assert np.array_equal(first.queries, again.queries)


def teacher_of(backbone: Path, folder: Path) -> Path:
    new_network(config_of(backbone, seed=5), backbone).save(folder)
    TextTokenizer.load(backbone).save(folder)
    return folder


def test_teachers_refuse_what_they_find_relevant(small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path) -> None:
    """The median of what an untrained teacher says of candidates leaves those below it."""
    teacher = teacher_of(tiny_backbone, tmp_path / "teacher")
    judgments = small_snapshot.judgments("train")
    teachers = Teachers((teacher,), tmp_path / "logits", "fp32")

    def mined(**values: object) -> pl.DataFrame:
        config = config_of(tiny_backbone, teachers=(str(teacher),), range_max=COUNT, **values)
        asking = teachers if config.asks_judge else None
        given = {"known": judgments, "config": config, "work": tmp_path / "work", "teachers": asking}
        return mined_pairs(small_snapshot, judgments, **given)  # type: ignore[arg-type]

    every = mined(negatives=COUNT)
    relevance = sigmoid(teachers.logits(small_snapshot, every))
    bound = float(np.median(relevance))
    found = mined(negatives=COUNT, max_relevance=bound)
    assert 0 < len(found) < len(every)
    assert (sigmoid(teachers.logits(small_snapshot, found)) <= bound + 1e-5).all()
    assert abs(len(found) - int((relevance <= bound).sum())) <= 2


def test_teachers_teach_what_is_mined_as_well(small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path) -> None:
    teacher = teacher_of(tiny_backbone, tmp_path / "teacher")
    sources = Sources(teachers=(teacher,))
    pairs = reader_of(small_snapshot, tiny_backbone, tmp_path, sources=sources, teachers=(str(teacher),)).pairs("train")
    assert pairs is not None
    assert pairs.teacher is not None
    assert np.isfinite(pairs.teacher).all()
    assert (pairs.weights > 0).all()


def test_other_shops_and_the_past_are_mined_in_their_own_catalogues(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    """What either the past or the present has judged is known in both; an other shop keeps its number and its scale."""
    tables = small_tables()
    half = tables["judgments"].filter(pl.int_range(pl.len()) % 2 == 0)
    past = shop_with(tmp_path / "past", tables | {"judgments": half})
    other = shop_with(tmp_path / "other", tables, name="other")
    sources = Sources(others=(other,), past=Past(past, ("train",)))
    seen: list[tuple[Snapshot, pl.DataFrame]] = []
    real = widening.mined_pairs

    def watched(shop: Snapshot, judgments: pl.DataFrame, **given: object) -> pl.DataFrame:
        seen.append((shop, real(shop, judgments, **given)))  # type: ignore[arg-type]
        return seen[-1][1]

    with patch.object(widening, "mined_pairs", watched):
        reader = reader_of(small_snapshot, tiny_backbone, tmp_path, sources=sources, replay=1.0, also_epochs=0)
        pairs = reader.pairs("train")
    assert pairs is not None
    assert [shop for shop, _ in seen] == [small_snapshot, other, past]
    assert all(len(found) for _, found in seen)
    judged = small_snapshot.judgments("train").select("query", "product_id")
    for _, found in (seen[0], seen[2]):
        assert found.join(judged, on=["query", "product_id"]).is_empty()
    assert set(pairs.of_shops.tolist()) == {0, 1}
    held_out = {normalise(query) for query in small_snapshot.judgments("validation", "test")["query"]}
    assert not held_out & {normalise(query) for _, found in seen for query in found["query"]}


@pytest.mark.parametrize("loss", ["graded", "ordinal", *GROUPED])
def test_every_loss_learns_them_and_the_folds_score_the_judged_pairs_alone(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path, loss: str
) -> None:
    reader = reader_of(small_snapshot, tiny_backbone, tmp_path, loss=loss, epochs=1, held_out_folds=2)
    pairs = reader.pairs("train")
    assert pairs is not None
    learned = learn_members(pairs, None, config=reader.config, start=tiny_backbone, work=tmp_path / "all")
    scored = score_folds(reader, pairs, ["train"], start=tiny_backbone, work=tmp_path / "folds", before=learned)
    judgments = small_snapshot.judgments("train")
    assert scored is not None
    expected = as_held_out(judgments, np.zeros(len(judgments), dtype=np.float32), max_grade=3.0)
    assert scored.drop("logit").equals(expected.drop("logit"))


def test_what_is_mined_is_written_anew_and_speaks_against_no_synonyms(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    reader = reader_of(small_snapshot, tiny_backbone, tmp_path, word_dropout=0.5, synonyms=0.5, near=0.1)
    pairs, count = reader.pairs("train"), len(small_snapshot.judgments("train"))
    assert pairs is not None
    assert pairs.texts is not None
    assert pairs.texts.judged.tolist() == [True] * count + [False] * (len(pairs) - count)
    with patch("training.relevance.redraw.near_synonyms", return_value={}) as learned:
        redraw = new_redraw(
            pairs.tokens,
            texts=pairs.texts,
            grades=pairs.grades,
            network=new_network(reader.config, tiny_backbone),
            tokenizer=reader.tokenizer,
            config=reader.config,
        )
        told = list(learned.call_args.kwargs["judged"])
    assert redraw is not None
    assert [grade for _, _, grade in told] == pairs.grades[:count].tolist()
    rows, tokens = redraw.read(np.arange(len(pairs)))
    assert rows.tolist() == list(range(len(pairs)))
    assert any(len(tokens.take([row]).ids) < len(pairs.tokens.take([row]).ids) for row in range(count, len(pairs)))


def test_rules_that_let_nothing_through_are_an_error(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    with pytest.raises(NothingToLearnError, match="negatives = 3, and the rules of mining let no product through"):
        reader_of(small_snapshot, tiny_backbone, tmp_path, range_min=90).pairs("train")


def test_asking_teachers_takes_teachers() -> None:
    with pytest.raises(ValidationError, match="max_relevance asks teachers"):
        RelevanceConfig(negatives=1, max_relevance=0.5)
    assert not RelevanceConfig(max_relevance=0.5).asks_judge
    assert RelevanceConfig().negatives == 0


def test_by_the_command_again_and_with_a_teacher(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twice the same command makes the same weights; a run with a teacher asks it."""
    arguments = ["train", "relevance", small_snapshot.path, "--json"]
    mined = ("epochs=1", "negatives=2", "range_max=20", "relative_margin=null", "loss=listnet")
    digests = []
    for out in ("one", "two"):
        done = recsys(capsys, *arguments, "-o", tmp_path / out, *options(tiny_backbone, *mined))
        assert done.code == 0, done.err
        digests.append(Bundle.open(tmp_path / out).manifest.components["cross_encoder"].digest)
    assert digests[0] == digests[1]
    given = options(tiny_backbone, *mined, f"teachers={tmp_path / 'one'}", "teacher_weight=0", "max_relevance=0.9")
    done = recsys(capsys, *arguments, "-o", tmp_path / "three", *given)
    assert done.code == 0, done.err
    config = Bundle.open(tmp_path / "three").manifest.components["cross_encoder"].config
    assert (config["negatives"], config["max_relevance"], config["range_max"]) == (2, 0.9, 20)
    done = recsys(capsys, *arguments, *options(tiny_backbone, "negatives=2", "max_relevance=0.5"))
    assert done.code == 2
    assert len(done.lines) == 1, done.err
    assert "max_relevance asks teachers" in done.err
