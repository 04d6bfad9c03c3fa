"""Words behind a score: they add up, stand where they say, and do not depend on company or padding."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.models.backbone import load_backbone
from recsys.models.cross_encoder import CrossEncoder
from recsys.models.encode import score_pairs
from recsys.models.ensemble import CrossEncoderEnsemble
from recsys.ranking.attribution import Attributor
from recsys.testing.tiny import tiny_backbone
from recsys.text.tokenizer import Place, TextTokenizer
from recsys.types import Attribution

QUERIES = ["Blue  sofa", 'wi-fi lamp 55"', "ÉTÉ lamp", "sofa"]
TEXTS = ["Corner sofa, Oslo. velvet; blue", "Desk lamp (wi-fi)", "oak \ud800 lamp", "blue velvet sofa " * 30]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("attributed")
    backbone = tiny_backbone(place / "backbone", seed=0, words=["sofa", "lamp", "blue", "velvet"])
    network = CrossEncoder(load_backbone(backbone), seed=1, max_length=32)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(torch.randn(weights.shape, generator=generator) * 0.2)
    network.save(place)
    TextTokenizer.load(backbone).save(place)
    return place


@pytest.fixture(scope="module")
def attributor(folder: Path) -> Attributor:
    return Attributor.load(folder, steps=64)


def weights(found: Attribution) -> np.ndarray:
    return np.array([word.weight for word in (*found.query_words, *found.text_words)])


def test_words_add_up_to_the_logit(attributor: Attributor, folder: Path) -> None:
    """Completeness: what is left of the difference to the hidden words is small, and is told."""
    tokenizer = TextTokenizer.load(folder)
    logits = score_pairs(CrossEncoder.load(folder), tokenizer, QUERIES, TEXTS, precision="fp32")
    for logit, found in zip(logits, attributor.explain(QUERIES, TEXTS), strict=True):
        assert found.logit == pytest.approx(float(logit), abs=1e-4)
        assert found.baseline + weights(found).sum() + found.remainder == pytest.approx(found.logit, abs=1e-5)
        assert abs(found.remainder) < 0.02 * max(1.0, abs(found.logit - found.baseline))


def test_more_steps_leave_less(folder: Path) -> None:
    few, many = (
        np.abs([one.remainder for one in Attributor.load(folder, steps=steps).explain(QUERIES, TEXTS)]).max()
        for steps in (2, 100)
    )
    assert many < few


def test_the_baseline_is_the_pair_with_every_word_hidden(attributor: Attributor) -> None:
    (found,) = attributor.explain(["sofa"], ["blue lamp"])
    tokens = attributor.tokenizer.encode(["sofa"], pairs=["blue lamp"])
    batch = attributor.tokenizer.pad(tokens)
    for place in (1, 3, 4):  # [CLS] sofa [SEP] blue lamp [SEP]
        batch["input_ids"][0, place] = attributor.tokenizer.pad_id
    with torch.inference_mode():
        assert found.baseline == pytest.approx(attributor.members[0](**batch).item(), abs=1e-5)


def test_words_are_whole_and_stand_where_they_say(attributor: Attributor) -> None:
    for found in attributor.explain(QUERIES, TEXTS):
        for text, words in ((found.query, found.query_words), (found.text, found.text_words)):
            assert words
            for word, start, end, _ in words:
                assert text[start:end] == word
                assert word.split() == [word]
            ends = [(word.start, word.end) for word in words]
            assert all(end <= start for (_, end), (start, _) in pairwise(ends))
    first = attributor.explain(QUERIES[:2], TEXTS[:2])
    assert [word.word for word in first[0].query_words] == ["Blue", "sofa"]
    assert [word.word for word in first[1].text_words] == ["Desk", "lamp", "(wi-fi)"]


def test_words_that_were_cut_off_say_nothing(attributor: Attributor) -> None:
    (found,) = attributor.explain(["sofa"], [TEXTS[3]])
    assert len(found.text_words) < 40
    assert found.text == TEXTS[3]


def test_company_changes_nothing(attributor: Attributor) -> None:
    together = attributor.explain(QUERIES, TEXTS)
    for query, text, found in zip(QUERIES, TEXTS, together, strict=True):
        assert attributor.explain([query], [text]) == [found]
    assert attributor.explain(QUERIES[::-1], TEXTS[::-1]) == together[::-1]
    assert attributor.explain([], []) == []


def test_padding_changes_nothing(attributor: Attributor) -> None:
    """The shares of the tokens of a padded pair are those of the pair, and padding has none."""
    tokens = attributor.tokenizer.encode(["blue sofa"], pairs=["velvet lamp"])
    found = []
    for length in (None, 20):
        batch = attributor.tokenizer.pad(tokens, length=length)
        found.append(attributor.shares(attributor.members[0], torch.zeros_like(batch["input_ids"]), batch))
    short, long = found
    assert long[: len(short)] == pytest.approx(short, abs=1e-5)
    assert np.abs(long[len(short) :]).max() < 1e-6


def test_the_weights_of_an_ensemble_are_the_mean_of_its_members(folder: Path, tmp_path: Path) -> None:
    other = CrossEncoder.load(folder)
    with torch.no_grad():
        other.head[0].weight.mul_(-0.5)
    CrossEncoderEnsemble([CrossEncoder.load(folder), other]).save(tmp_path)
    TextTokenizer.load(folder).save(tmp_path)
    (together,) = Attributor.load(tmp_path).explain(["blue sofa"], ["velvet lamp"])
    one, two = (
        Attributor([member], TextTokenizer.load(folder)).explain(["blue sofa"], ["velvet lamp"])[0]
        for member in (CrossEncoder.load(folder), other)
    )
    assert weights(together) == pytest.approx((weights(one) + weights(two)) / 2, abs=1e-5)
    assert together.logit == pytest.approx((one.logit + two.logit) / 2, abs=1e-5)


def test_a_network_that_is_a_sum_says_so() -> None:
    """By hand: a linear network's gradients are its weights, so a token's share is its part of the sum."""

    class Words:
        def word_vectors_of(self, ids: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[0.0, 0.0], [3.0, 5.0], [0.5, -1.0]])[ids]

    class Linear(torch.nn.Module):
        max_length, backbone = 8, Words()

        def forward(self, ids: object, mask: object, types: object, vectors: torch.Tensor) -> torch.Tensor:
            return (vectors * torch.tensor([1.0, 2.0])).sum(dim=(1, 2))

    attributor = Attributor([Linear()], None, steps=3)  # type: ignore[list-item, arg-type]
    ones = torch.ones((1, 2), dtype=torch.int64)
    batch = {"input_ids": torch.tensor([[1, 2]]), "attention_mask": ones, "token_type_ids": ones}
    shares = attributor.shares(Linear(), torch.zeros_like(ones), batch)  # type: ignore[arg-type]
    assert shares.tolist() == pytest.approx([13.0, -1.5])


def test_places_fit_the_tokens(attributor: Attributor) -> None:
    tokens = attributor.tokenizer.encode(QUERIES, pairs=TEXTS, max_length=12)
    places = attributor.tokenizer.places(QUERIES, pairs=TEXTS, max_length=12)
    assert [len(row) for row in places] == tokens.lengths.tolist()
    assert places[3][0] == Place(None, None, 0, 0)
