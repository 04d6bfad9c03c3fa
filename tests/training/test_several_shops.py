"""Several shops in one run: each on its own scale, nothing of what the main shop holds out, wrong uses as one line."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from feature_store.snapshot import Snapshot, build_snapshot
from recsys.bundle.read import Bundle
from recsys.errors import SnapshotError
from recsys.models.cross_encoder import CrossEncoder
from recsys.text.normalise import normalise
from recsys.text.tokenizer import TextTokenizer
from tests.command import recsys
from tests.shops import small_tables, write_shop
from tests.training.commands import client, options
from training.relevance.config import RelevanceConfig
from training.relevance.data import join_pairs, read_pairs
from training.relevance.learn import learn
from training.relevance.module import Pairs
from training.relevance.sources import Reader, Sources
from training.relevance.stage import RelevanceStage


@dataclass(frozen=True, slots=True)
class Kept:
    """A log that keeps what it is told of."""

    seen: list[tuple[str, int]]

    def metrics(self, values: Mapping[str, float], *, step: int) -> None:
        """Keep the names with the step."""
        self.seen.extend((name, step) for name in values)


OWN = {"q90": "red chair for every room", "q91": "green desk for sud", "q92": "nord lamp", "q93": "black room"}


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """A shop on a scale of 6 that asks every query of the small shop in capitals, and four of its own."""
    tables = small_tables()
    asked = [tables["queries"].with_columns(pl.col("query").str.to_uppercase())]
    asked.append(pl.DataFrame({"query_id": list(OWN), "query": list(OWN.values())}))
    judged = [tables["judgments"].with_columns(pl.col("grade") * 2)]
    judged.append(
        pl.DataFrame(
            [
                {"query_id": name, "product_id": f"p{place:02d}", "grade": 2.0 * place}
                for name in OWN
                for place in (0, 3)
            ]
        )
    )
    given = {"products": tables["products"], "queries": pl.concat(asked), "judgments": pl.concat(judged)}
    folder = tmp_path_factory.mktemp("other")
    shop = write_shop(folder / "shop", given, toml='name = "other"\n[judgments]\nmax_grade = 6\n')
    return build_snapshot(shop, out=folder / "snapshot")


def both(main: Snapshot, other: Snapshot, backbone: Path) -> tuple[Pairs, Pairs]:
    """The pairs of the main shop's training part, alone and with the other's."""
    config = RelevanceConfig(max_length=24, also_epochs=0)
    tokenizer = TextTokenizer.load(backbone)
    own = read_pairs(main, "train", tokenizer=tokenizer, config=config)
    joined = Reader(main, Sources((other,)), tokenizer, config, backbone).pairs("train")
    assert own is not None
    assert joined is not None
    return own, joined


def test_held_out_queries_are_left_out_however_they_are_typed(
    small_snapshot: Snapshot, other: Snapshot, tiny_backbone: Path
) -> None:
    own, joined = both(small_snapshot, other, tiny_backbone)
    held_out = {normalise(query) for query in small_snapshot.judgments("validation", "test")["query"]}
    offered = other.judgments("train", "validation")
    kept = [normalise(query) not in held_out for query in offered["query"]]
    assert 0 < sum(kept) < len(kept)
    assert len(joined) == len(own) + sum(kept)
    reader = TextTokenizer.load(tiny_backbone)
    firsts = {tuple(reader.encode([query]).ids) for query in held_out}
    for row in range(len(joined)):
        tokens = joined.tokens.take([row])
        assert tuple(tokens.ids[tokens.types == 0]) not in firsts


def test_the_test_part_of_the_other_shop_is_not_read(
    small_snapshot: Snapshot, other: Snapshot, tiny_backbone: Path
) -> None:
    own, joined = both(small_snapshot, other, tiny_backbone)
    tested = other.judgments("test")
    assert not tested.is_empty()
    everything = other.judgments()
    assert len(joined) - len(own) <= len(everything) - len(tested)


def test_each_shop_keeps_its_scale_its_weight_and_its_queries(
    small_snapshot: Snapshot, other: Snapshot, tiny_backbone: Path
) -> None:
    own, joined = both(small_snapshot, other, tiny_backbone)
    mine, theirs = slice(len(own)), slice(len(own), None)
    for name in ("grades", "weights", "queries"):
        assert np.array_equal(getattr(joined, name)[mine], getattr(own, name))
    assert np.array_equal(joined.tokens.take(range(len(own))).ids, own.tokens.ids)
    assert joined.max_grade == own.max_grade == 3.0
    assert joined.grades.max() <= 3.0
    assert joined.weights[theirs].mean() == pytest.approx(1.0)
    assert not set(joined.queries[mine]) & set(joined.queries[theirs])


def test_joined_rows_by_hand(tiny_backbone: Path) -> None:
    tokenizer = TextTokenizer.load(tiny_backbone)

    def pairs(texts: list[str], grades: list[float], queries: list[int], max_grade: float) -> Pairs:
        tokens = tokenizer.encode(texts, pairs=["sofa"] * len(texts))
        numbers = np.asarray(queries, dtype=np.int64)
        return Pairs(tokens, np.asarray(grades, np.float32), np.ones(len(texts), np.float32), numbers, max_grade)

    joined = join_pairs(
        pairs(["red", "blue lamp"], [1, 2], [1, 0], 2.0), pairs(["green", "black"], [0, 3], [0, 0], 4.0)
    )
    assert joined.grades.tolist() == [1.0, 2.0, 0.0, 1.5]
    assert joined.queries.tolist() == [1, 0, 2, 2]
    whole = tokenizer.encode(["red", "blue lamp", "green", "black"], pairs=["sofa"] * 4)
    for name in ("ids", "types", "offsets"):
        assert np.array_equal(getattr(joined.tokens, name), getattr(whole, name))


def test_a_shop_with_nothing_to_add_is_named(small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path) -> None:
    tables = {name: frame for name, frame in small_tables().items() if name not in ("queries", "judgments")}
    empty = build_snapshot(write_shop(tmp_path / "shop", tables), out=tmp_path / "snapshot")
    with pytest.raises(SnapshotError, match="has no judgments but of queries that are held out"):
        both(small_snapshot, empty, tiny_backbone)


def test_other_shops_are_learned_once_before_the_own_judgments(
    small_snapshot: Snapshot, other: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    """The stage's weights are those of two runs, one behind the other; choice and refit start from one network."""
    config = RelevanceConfig(
        backbone=str(tiny_backbone), max_length=24, epochs=2, patience=0, batch_size=8, also_epochs=3
    )
    sources, tokenizer = Sources((other,)), TextTokenizer.load(tiny_backbone)
    reader = Reader(small_snapshot, sources, tokenizer, config, tmp_path)
    own, before = reader.pairs("train", "validation"), reader.before()
    assert own is not None
    assert before is not None
    assert set(own.of_shops) == {0}
    assert set(before.of_shops) == {1}
    first = config.model_copy(update={"epochs": 3})
    learn(before, None, config=first, start=tiny_backbone, work=tmp_path / "1").save(tmp_path / "others")
    log = Kept([])
    info = RelevanceStage(sources).train(
        small_snapshot,
        config=config,
        folder=tmp_path / "component",
        work=tmp_path / "work",
        run=log,
        base=None,
        start=None,
        refit=True,
    )
    best = info.config["best_epoch"]
    by_hand = learn(own, None, config=config, start=tmp_path / "others", work=tmp_path / "2", stop_after=best)
    made = CrossEncoder.load(tmp_path / "component").state_dict()
    assert all(torch.equal(value, made[name]) for name, value in by_hand.network.state_dict().items())
    assert max(step for name, step in log.seen if name.startswith("others/")) == 3


def test_a_run_on_two_shops_says_so(
    small_snapshot: Snapshot, other: Snapshot, tiny_backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Recorded in the bundle and among the run's data sets; the version is the main shop's."""
    given = ["train", "relevance", small_snapshot.path, "--also", other.path, "-o", tmp_path / "bundle", "--json"]
    done = recsys(capsys, *given, *options(tiny_backbone, "epochs=1", "loss=ranknet"))
    assert done.code == 0, done.err
    component = Bundle.open(tmp_path / "bundle").manifest.components["cross_encoder"]
    assert component.config["also"] == [other.manifest.snapshot_id]
    assert component.snapshot == small_snapshot.manifest.snapshot_id
    inputs = client().get_run(done.report["run_id"]).inputs.dataset_inputs
    assert {one.dataset.name for one in inputs} >= {small_snapshot.manifest.shop, "other"}


def test_wrong_uses_are_one_line(small_snapshot: Snapshot, other: Snapshot, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (["popularity", small_snapshot.path, "--also", other.path], "--also for popularity"),
        (["relevance", small_snapshot.path, "--also", small_snapshot.path], "stands twice"),
        (["relevance", small_snapshot.path, "--also", other.path, "--also", other.path], "stands twice"),
    ):
        done = recsys(capsys, "train", *arguments)
        assert done.code == 2
        assert len(done.lines) == 1
        assert message in done.err
