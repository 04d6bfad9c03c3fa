"""The retriever: pairs, masks, what the loss of a batch is, and that it learns."""

from pathlib import Path

import numpy as np
import pytest
import torch

from feature_store.snapshot import Snapshot
from recsys.models.text_encoder import TextEncoder
from recsys.text.tokenizer import TextTokenizer
from training.losses import in_batch_softmax
from training.retriever.config import RetrieverConfig
from training.retriever.data import read_judged
from training.retriever.module import Judged, RetrieverModule, collate
from training.retriever.stage import cosine_ndcg, learn


def config_of(backbone: Path, **values: object) -> RetrieverConfig:
    given = {"precision": "fp32", "max_length": 24, "freeze_embeddings": False, "backbone": str(backbone)}
    return RetrieverConfig.model_validate(given | values)


def judged_of(snapshot: Snapshot, part: str, backbone: Path, *, least: float = 0.0) -> Judged:
    found = read_judged(snapshot, part, tokenizer=TextTokenizer.load(backbone), config=config_of(backbone), least=least)
    assert found is not None
    return found


def test_positives_are_the_well_graded_pairs_and_weigh_by_grade(small_snapshot: Snapshot, tiny_backbone: Path) -> None:
    judgments = small_snapshot.judgments("train")
    pairs = judged_of(small_snapshot, "train", tiny_backbone, least=0.5)
    kept = judgments["grade"].to_numpy()[judgments["grade"].to_numpy() >= 1.5]
    assert pairs.grades.tolist() == kept.tolist()
    assert pairs.weights == pytest.approx(kept / kept.mean())
    assert len(judged_of(small_snapshot, "train", tiny_backbone)) == len(judgments)


def test_texts_stand_where_the_pairs_point(small_snapshot: Snapshot, tiny_backbone: Path) -> None:
    tokenizer = TextTokenizer.load(tiny_backbone)
    pairs = judged_of(small_snapshot, "train", tiny_backbone)
    judgments, catalogue = small_snapshot.judgments("train"), small_snapshot.catalogue()
    texts = catalogue.texts()
    for row in (0, 17, len(pairs) - 1):
        query = tokenizer.encode([judgments["query"][row]]).ids
        product = tokenizer.encode([texts[catalogue.positions([judgments["product_id"][row]])[0]]], max_length=24).ids
        assert pairs.queries.take([int(pairs.query[row])]).ids.tolist() == query.tolist()
        assert pairs.products.take([int(pairs.product[row])]).ids.tolist() == product.tolist()


def test_the_batch_loss_leaves_known_positives_out(small_snapshot: Snapshot, tiny_backbone: Path) -> None:
    """Against the loss with a mask made pair by pair."""
    pairs = judged_of(small_snapshot, "train", tiny_backbone, least=0.5)
    rows = np.arange(0, len(pairs), 3)
    network = TextEncoder.load(tiny_backbone)
    module = RetrieverModule(network, config=config_of(tiny_backbone), steps=1, positives=pairs, judged=None).eval()
    batch = collate(pairs, rows, tokenizer=TextTokenizer.load(tiny_backbone))
    known = set(zip(pairs.query.tolist(), pairs.product.tolist(), strict=True))
    mask = torch.tensor([[(int(pairs.query[i]), int(pairs.product[j])) in known for j in rows] for i in rows])
    assert mask.sum() > len(rows)
    queries, products = module(batch["queries"], batch["products"])
    expected = in_batch_softmax(queries, products, torch.arange(len(rows)), mask, weights=batch["weights"])
    assert module.training_step(batch, 0).item() == pytest.approx(expected.item(), abs=1e-6)


def test_it_learns_and_its_metric_is_that_of_the_best_weights(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    config = config_of(tiny_backbone, epochs=8, patience=0, batch_size=16, learning_rate=0.005)
    tokenizer = TextTokenizer.load(tiny_backbone)
    train = judged_of(small_snapshot, "train", tiny_backbone, least=0.5)
    judged = judged_of(small_snapshot, "validation", tiny_backbone)
    network, result = learn(train, judged, config=config, start=tiny_backbone, work=tmp_path)
    assert result.history[-1]["loss"] < 0.8 * result.history[0]["loss"]
    measured = cosine_ndcg(network, tokenizer, judged, precision="fp32")
    assert measured == pytest.approx(result.best_score, abs=1e-6)
    everything = judged_of(small_snapshot, "train", tiny_backbone)
    before = cosine_ndcg(TextEncoder.load(tiny_backbone), tokenizer, everything)
    assert cosine_ndcg(network, tokenizer, everything) > before
