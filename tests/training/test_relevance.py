"""The relevance scorer: pairs, weights, by-query NDCG, and that it learns what grades say."""

from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pytest
import torch

from feature_store.snapshot import Snapshot
from recsys.models.encode import infer
from recsys.text.tokenizer import TextTokenizer
from training.batches import FILLING
from training.relevance.config import RelevanceConfig
from training.relevance.cut_points import CutPoints
from training.relevance.data import as_pairs, read_pairs
from training.relevance.learn import learn, new_network
from training.relevance.module import RelevanceModule, collate, mean_ndcg, query_ndcg
from training.relevance.objective import GROUPED, objective

LOG3 = np.log2(3)


def config_of(backbone: Path, **values: object) -> RelevanceConfig:
    given = {"precision": "fp32", "max_length": 24, "freeze_embeddings": False, "backbone": str(backbone)}
    return RelevanceConfig.model_validate(given | values)


def test_ndcg_by_query_by_hand() -> None:
    """Query 0 in order, query 1 turned round, query 2 with one grade, query 3 with nothing positive."""
    queries = np.array([1, 0, 1, 0, 2, 2, 3])
    grades = np.array([1, 1, 0, 0, 2, 2, 0], dtype=np.float32)
    scores = np.array([0.1, 0.9, 0.5, 0.2, 0.3, 0.4, 0.5])
    found = query_ndcg(queries, grades, scores)
    assert found == pytest.approx([1.0, 1 / LOG3, np.nan, np.nan], nan_ok=True)
    assert mean_ndcg(queries, grades, scores) == pytest.approx((1 + 1 / LOG3) / 2)
    assert mean_ndcg(queries[4:], grades[4:], scores[4:]) == 0.0


def test_a_pair_is_read_as_query_then_product(small_snapshot: Snapshot, tiny_backbone: Path) -> None:
    tokenizer = TextTokenizer.load(tiny_backbone)
    pairs = read_pairs(small_snapshot, "train", tokenizer=tokenizer, config=config_of(tiny_backbone))
    assert pairs is not None
    judgments = small_snapshot.judgments("train")
    assert len(pairs) == len(judgments)
    row = 3
    ids = pairs.tokens.take([row])
    title = small_snapshot.catalogue().frame.filter(pl.col("product_id") == judgments["product_id"][row])["title"][0]
    wanted = tokenizer.encode([judgments["query"][row]], pairs=[title]).ids[:-1]
    assert ids.ids[: len(wanted)].tolist() == wanted.tolist()
    assert pairs.max_grade == 3.0
    assert pairs.weights.tolist() == [1.0] * len(pairs)
    same = judgments["query_id"].to_numpy()
    assert all(
        (same == same[number]).tolist() == (pairs.queries == pairs.queries[number]).tolist() for number in (0, 9)
    )


def test_weights_come_from_the_table_and_the_raters(tiny_backbone: Path) -> None:
    judgments = pl.DataFrame(
        {
            "query_id": ["a"] * 3,
            "query": ["red sofa"] * 3,
            "grade": [1.0, 2.0, 3.0],
            "weight": [1.0, None, 3.0],
            "rater_sd": [None, 1.0, 0.0],
        }
    )
    tokenizer = TextTokenizer.load(tiny_backbone)
    for trusted, raw in ((False, [1.0, 1.0, 3.0]), (True, [1.0, 0.5, 3.0])):
        config = config_of(tiny_backbone, rater_weight=trusted)
        pairs = as_pairs(judgments, texts=["sofa"] * 3, max_grade=3.0, tokenizer=tokenizer, config=config)
        assert pairs.weights == pytest.approx(np.array(raw) / np.mean(raw))


def test_it_learns_what_the_grades_say(small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path) -> None:
    """On its own training pairs the ranking becomes far better than the untrained one's."""
    config = config_of(tiny_backbone, epochs=80, learning_rate=0.01, batch_size=16, dropout=0.0)
    tokenizer = TextTokenizer.load(tiny_backbone)
    pairs = read_pairs(small_snapshot, "train", tokenizer=tokenizer, config=config)
    assert pairs is not None
    learned = learn(pairs, None, config=config, start=tiny_backbone, work=tmp_path)
    assert learned.result.history[-1]["loss"] < learned.result.history[0]["loss"]
    before, after = (
        mean_ndcg(pairs.queries, pairs.grades, infer(network, tokenizer, pairs.tokens, precision="fp32"))
        for network in (new_network(config, tiny_backbone), learned.network)
    )
    assert after > before + 0.1
    assert after > 0.85


def test_the_validation_metric_is_that_of_the_best_weights(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    config = config_of(tiny_backbone, epochs=3, patience=0, learning_rate=0.01, batch_size=16)
    tokenizer = TextTokenizer.load(tiny_backbone)
    train, judged = (
        read_pairs(small_snapshot, part, tokenizer=tokenizer, config=config) for part in ("train", "validation")
    )
    assert train is not None
    assert judged is not None
    learned = learn(train, judged, config=config, start=tiny_backbone, work=tmp_path)
    scores = infer(learned.network, tokenizer, judged.tokens, precision="fp32")
    assert mean_ndcg(judged.queries, judged.grades, scores) == pytest.approx(learned.result.best_score, abs=1e-6)


def test_frozen_word_vectors_stay_and_a_cross_encoder_is_started_from_whole(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    config = config_of(tiny_backbone, epochs=1, freeze_embeddings=True, batch_size=16)
    tokenizer = TextTokenizer.load(tiny_backbone)
    pairs = read_pairs(small_snapshot, "train", tokenizer=tokenizer, config=config)
    assert pairs is not None
    learned = learn(pairs, None, config=config, start=tiny_backbone, work=tmp_path / "work")
    learned.save(tmp_path / "saved")
    again = new_network(config.model_copy(update={"max_length": 9}), tmp_path / "saved")
    assert again.max_length == 9
    mine, theirs = learned.network.state_dict(), again.state_dict()
    assert all(mine[name].equal(theirs[name]) for name in mine)
    words = "backbone.network.embeddings.word_embeddings.weight"
    assert mine[words].equal(new_network(config, tiny_backbone).state_dict()[words])
    module = RelevanceModule(new_network(config, tiny_backbone), config=config, steps=1, judged=None, scales={0: 3.0})
    assert not module.network.backbone.network.embeddings.word_embeddings.weight.requires_grad


@pytest.mark.parametrize("loss", ["ordinal", *GROUPED])
def test_every_loss_learns_the_order(loss: str, small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path) -> None:
    config = config_of(tiny_backbone, epochs=12, learning_rate=0.01, batch_size=32, dropout=0.0, loss=loss)
    tokenizer = TextTokenizer.load(tiny_backbone)
    pairs = read_pairs(small_snapshot, "train", tokenizer=tokenizer, config=config)
    assert pairs is not None
    learned = learn(pairs, None, config=config, start=tiny_backbone, work=tmp_path)
    assert learned.result.history[-1]["loss"] < learned.result.history[0]["loss"]
    before, after = (
        mean_ndcg(pairs.queries, pairs.grades, infer(network, tokenizer, pairs.tokens, precision="fp32"))
        for network in (new_network(config, tiny_backbone), learned.network)
    )
    assert after > before + 0.05


def test_filling_is_no_pair_of_any_query(small_snapshot: Snapshot, tiny_backbone: Path) -> None:
    tokenizer = TextTokenizer.load(tiny_backbone)
    pairs = read_pairs(small_snapshot, "train", tokenizer=tokenizer, config=config_of(tiny_backbone))
    assert pairs is not None
    rows = np.flatnonzero(pairs.queries == pairs.queries[0])
    whole = collate(pairs, rows, tokenizer=tokenizer)
    filled = collate(pairs, np.append(rows, FILLING), tokenizer=tokenizer)
    assert whole["groups"].tolist() == pairs.queries[rows].tolist()
    assert filled["groups"].tolist() == [*whole["groups"].tolist(), FILLING]
    scores = torch.linspace(-1.0, 5.0, len(rows) + 1)
    for loss in GROUPED:
        measure = objective(loss)
        assert measure(scores, filled).item() == measure(scores[:-1], whole).item() > 0


@pytest.mark.parametrize("loss", ["graded", "ordinal"])
def test_losses_of_single_pairs_read_the_grade(loss: Literal["graded", "ordinal"]) -> None:
    """On a scale of one both are the cross-entropy of the target."""
    targets, scores = torch.tensor([0.0, 1.0, 1.0]), torch.tensor([0.0, 0.0, 2.0])
    batch = {"targets": targets, "grades": targets, "weights": torch.tensor([1.0, 2.0, 0.0])}
    batch["shops"] = torch.zeros(3, dtype=torch.int64)
    cuts = CutPoints({0: 1.0}) if loss == "ordinal" else None
    assert objective(loss, cuts=cuts)(scores, batch).item() == pytest.approx(np.log(2))
