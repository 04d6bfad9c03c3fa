"""The retriever: examples, masks, what the loss of a batch is, and that it learns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from feature_store.snapshot import Snapshot
from recsys.models.backbone import load_backbone
from recsys.models.cross_encoder import CrossEncoder
from recsys.models.text_encoder import TextEncoder
from recsys.ranking.cross_encoder import CrossEncoderRanker
from recsys.text.fields import product_text
from recsys.text.tokenizer import TextTokenizer
from training.losses import in_batch_softmax
from training.ranking_losses import margin_mse as margin_mse_of_queries
from training.retriever.config import RetrieverConfig
from training.retriever.data import read_examples, read_judged
from training.retriever.examples import Examples, Judged, collate
from training.retriever.learn import cosine_ndcg, learn, truncate
from training.retriever.module import RetrieverModule

MINED = {"negatives": 2, "relative_margin": None, "range_max": 20}


def config_of(backbone: Path, **values: object) -> RetrieverConfig:
    given = {"precision": "fp32", "max_length": 24, "freeze_embeddings": False, "backbone": str(backbone)}
    return RetrieverConfig.model_validate(given | values)


def examples_of(
    snapshot: Snapshot, part: str, backbone: Path, work: Path, *, teacher: Path | None = None, **values: object
) -> Examples:
    found = read_examples(
        snapshot,
        part,
        tokenizer=TextTokenizer.load(backbone),
        config=config_of(backbone, **values),
        encoder=backbone,
        teacher=teacher,
        work=work,
    )
    assert found is not None
    return found


def judged_of(snapshot: Snapshot, part: str, backbone: Path) -> Judged:
    found = read_judged(snapshot, part, tokenizer=TextTokenizer.load(backbone), config=config_of(backbone))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def cross_encoder(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "cross_encoder"
    CrossEncoder(load_backbone(tiny_backbone), seed=1, max_length=24).save(folder)
    TextTokenizer.load(tiny_backbone).save(folder)
    return folder


def module_of(backbone: Path, examples: Examples, **values: object) -> RetrieverModule:
    network = TextEncoder.load(backbone)
    return RetrieverModule(
        network, config=config_of(backbone, **values), steps=1, examples=examples, judged=None
    ).eval()


def test_texts_stand_where_the_pairs_point(
    small_snapshot: Snapshot, tiny_backbone: Path, cross_encoder: Path, tmp_path: Path
) -> None:
    """Queries, products, negatives and the teacher's view of both, pair by pair."""
    tokenizer = TextTokenizer.load(tiny_backbone)
    values = {**MINED, "kl": 1.0}
    found = examples_of(small_snapshot, "train", tiny_backbone, tmp_path, teacher=cross_encoder, **values)
    judgments, catalogue = small_snapshot.judgments("train"), small_snapshot.catalogue()
    ranker = CrossEncoderRanker.load(cross_encoder, precision="fp32")
    texts = {bytes(tokenizer.encode([text], max_length=24).ids): row for row, text in enumerate(catalogue.texts())}
    asked = {bytes(tokenizer.encode([text]).ids): text for text in judgments["query"].unique()}
    right = set(judgments.filter(judgments["grade"] > 0).select("query", "position").rows())
    for pair in range(len(found)):
        query = asked[bytes(found.queries.take([int(found.query[pair])]).ids)]
        rows = [found.product[pair], *found.negatives[pair]]
        positions = [texts[bytes(found.products.take([int(row)]).ids)] for row in rows if row >= 0]
        assert (query, positions[0]) in right
        assert not {(query, position) for position in positions[1:]} & right
        shown = product_text(catalogue.frame[positions], fields=ranker.fields)
        scores = ranker.score([query] * len(positions), shown)
        assert found.teacher[pair][: len(positions)] == pytest.approx(scores, abs=1e-5)


def test_a_product_read_without_its_title(small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path) -> None:
    values = {"judgments": False, "pseudo_queries": 2}
    found = examples_of(small_snapshot, "train", tiny_backbone, tmp_path, **values)
    assert len(np.unique(found.twins)) == 40
    tokenizer = TextTokenizer.load(tiny_backbone)
    frame = small_snapshot.catalogue().frame
    wanted = product_text(frame) + [
        text.removeprefix(". ")
        for text in product_text(frame, fields=("brand", "category", "attributes", "description"))
    ]
    known = {bytes(tokenizer.encode([text], max_length=24).ids): number for number, text in enumerate(wanted)}
    numbers = [known[bytes(found.products.take([row]).ids)] for row in range(len(found.products))]
    assert {number // 40 for number in numbers} == {0, 1}
    assert [number % 40 for number in numbers] == found.twins.tolist()


def test_the_batch_loss_leaves_known_positives_out(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    """Against the loss with a mask made pair by pair: judged products, mined ones and those that are missing."""
    examples = examples_of(small_snapshot, "train", tiny_backbone, tmp_path, **MINED)
    examples.negatives[::4, 1] = -1
    rows = np.arange(0, len(examples), 3)
    batch = collate(examples, rows, tokenizer=TextTokenizer.load(tiny_backbone))
    module = module_of(tiny_backbone, examples, **MINED)
    known = {divmod(int(code), examples.known.twins) for code in examples.known.codes}
    shown = [*examples.product[rows], *examples.negatives[rows, 0], *examples.negatives[rows, 1]]
    mask = torch.tensor(
        [[row < 0 or (int(examples.query[pair]), int(examples.twins[row])) in known for row in shown] for pair in rows]
    )
    assert len(rows) < mask.sum()
    assert mask[:, len(rows) :].any()
    queries, products = module(batch["queries"], batch["products"])
    own = torch.arange(len(rows))
    expected = in_batch_softmax(queries, products, own, mask, weights=batch["weights"])
    assert module.training_step(batch, 0).item() == pytest.approx(expected.item(), abs=1e-5)


def test_with_one_negative_the_loss_is_that_of_sentence_transformers(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    """MultipleNegativesRankingLoss over queries that share no positive, with a hard negative each."""
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    values = {**MINED, "negatives": 1}
    examples = examples_of(small_snapshot, "train", tiny_backbone, tmp_path, **values)
    _, rows = np.unique(examples.query, return_index=True)
    module = module_of(tiny_backbone, examples, **values)
    batch = collate(examples, rows, tokenizer=TextTokenizer.load(tiny_backbone))
    masked = torch.from_numpy(examples.known.holds(batch["query"].numpy()[:, None], batch["twin"].numpy()))
    queries, products = module(batch["queries"], batch["products"])
    batch["weights"] = torch.ones(len(rows))
    theirs = MultipleNegativesRankingLoss(model=None, scale=20.0).compute_loss_from_embeddings(
        [queries, *products.split(len(rows))], None
    )
    own = torch.eye(len(rows), 2 * len(rows), dtype=torch.bool)
    ours = module.loss(queries, products, products, masked & own, batch)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)


def test_matryoshka_is_that_of_sentence_transformers(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    """MatryoshkaLoss over MultipleNegativesRankingLoss, on the same vectors."""
    from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss, MultipleNegativesRankingLoss

    examples = examples_of(small_snapshot, "train", tiny_backbone, tmp_path)
    _, rows = np.unique(examples.query, return_index=True)
    module = module_of(tiny_backbone, examples, matryoshka=(8, 4))
    assert module.widths == (16, 8, 4)
    batch = collate(examples, rows, tokenizer=TextTokenizer.load(tiny_backbone))
    queries, products = module(batch["queries"], batch["products"])
    nobody = torch.zeros(len(rows), len(rows), dtype=torch.bool)
    batch["weights"] = torch.ones(len(rows))
    ours = sum(
        module.loss(
            normalize(queries[:, :width]), normalize(products[:, :width]), normalize(products[:, :width]), nobody, batch
        ).item()
        for width in module.widths
    )

    class Told(torch.nn.Module):
        """Gives the vectors that it is told."""

        def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {"sentence_embedding": features["vectors"], "token_embeddings": features["vectors"]}

        def get_embedding_dimension(self) -> int:
            return 16

    model = Told()
    theirs = MatryoshkaLoss(model, MultipleNegativesRankingLoss(model, scale=20.0), [16, 8, 4])
    expected = theirs([{"vectors": queries}, {"vectors": products}], None)
    assert ours == pytest.approx(expected.item(), abs=1e-4)


def test_losses_are_weighed_and_added(
    small_snapshot: Snapshot, tiny_backbone: Path, cross_encoder: Path, tmp_path: Path
) -> None:
    """Each alone, then together; the margins also against the ranking losses' own."""
    values = {**MINED, "negatives": 1}
    examples = examples_of(
        small_snapshot, "train", tiny_backbone, tmp_path, teacher=cross_encoder, **values, margin_mse=1.0
    )
    rows = np.arange(0, len(examples), 4)
    batch = collate(examples, rows, tokenizer=TextTokenizer.load(tiny_backbone))

    def value(**weights: float) -> float:
        return module_of(tiny_backbone, examples, **values, **weights).training_step(batch, 0).item()

    alone = {"in_batch": value(), "margin_mse": value(in_batch=0, margin_mse=1), "kl": value(in_batch=0, kl=1)}
    together = value(in_batch=0.5, margin_mse=2.0, kl=0.25)
    assert together == pytest.approx(0.5 * alone["in_batch"] + 2 * alone["margin_mse"] + 0.25 * alone["kl"], rel=1e-5)
    queries, products = module_of(tiny_backbone, examples)(batch["queries"], batch["products"])
    scores = 20 * (queries * products.view(2, len(rows), -1)).sum(dim=2).T
    expected = margin_mse_of_queries(
        scores.flatten(),
        grades=batch["teacher"].flatten(),
        groups=torch.arange(len(rows)).repeat_interleave(2),
        weights=batch["weights"].repeat_interleave(2),
    )
    assert alone["margin_mse"] == pytest.approx(expected.item(), rel=1e-4)


def test_it_learns_and_its_metric_is_that_of_the_best_weights(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    config = config_of(tiny_backbone, epochs=8, patience=0, batch_size=16, learning_rate=0.005, learn_scale=True)
    tokenizer = TextTokenizer.load(tiny_backbone)
    train = examples_of(small_snapshot, "train", tiny_backbone, tmp_path / "mined")
    judged = judged_of(small_snapshot, "validation", tiny_backbone)
    network, result = learn(train, judged, config=config, start=tiny_backbone, work=tmp_path)
    assert result.history[-1]["loss"] < 0.8 * result.history[0]["loss"]
    measured = cosine_ndcg(network, tokenizer, judged, precision="fp32")
    assert measured == pytest.approx(result.best_score, abs=1e-6)
    everything = judged_of(small_snapshot, "train", tiny_backbone)
    before = cosine_ndcg(TextEncoder.load(tiny_backbone), tokenizer, everything)
    assert cosine_ndcg(network, tokenizer, everything) > before


def test_the_metric_is_that_of_the_prefix(small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path) -> None:
    config = config_of(tiny_backbone, epochs=2, patience=0, batch_size=16, dimensions=4)
    train = examples_of(small_snapshot, "train", tiny_backbone, tmp_path / "mined")
    judged = judged_of(small_snapshot, "validation", tiny_backbone)
    network, result = learn(train, judged, config=config, start=tiny_backbone, work=tmp_path)
    assert network.width == 16
    tokenizer = TextTokenizer.load(tiny_backbone)
    assert truncate(network, tokenizer, small_snapshot.catalogue().texts(), config=config) == {"dimensions": 4.0}
    assert network.width == 4
    assert cosine_ndcg(network, tokenizer, judged, precision="fp32") == pytest.approx(result.best_score, abs=1e-6)


@pytest.mark.parametrize("truncation", ["pca", "centred-pca"])
def test_a_projection_says_what_it_loses(small_snapshot: Snapshot, tiny_backbone: Path, truncation: str) -> None:
    network, tokenizer = TextEncoder.load(tiny_backbone), TextTokenizer.load(tiny_backbone)
    config = config_of(tiny_backbone, dimensions=4, truncation=truncation)
    found = truncate(network, tokenizer, small_snapshot.catalogue().texts(), config=config)
    assert network.width == 4
    assert 0.0 < found["projection.lost"] < 1.0
