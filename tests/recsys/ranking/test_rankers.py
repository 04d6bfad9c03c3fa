"""Rankers: their protocol, their formulas, saving."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from recsys.errors import BundleError
from recsys.models.backbone import load_backbone
from recsys.models.cross_encoder import CrossEncoder
from recsys.ranking.bi_encoder import CosineRanker
from recsys.ranking.cross_encoder import CrossEncoderRanker, sigmoid
from recsys.ranking.lexical import Bm25Ranker
from recsys.testing.ranker import check_ranker
from recsys.testing.tiny import tiny_backbone
from recsys.text.tokenizer import TextTokenizer

QUERIES = ["blue sofa", "lamp", "velvet corner sofa with a very long description of what is wanted"]
TEXTS = ["Corner sofa Oslo. velvet. blue", "Desk lamp", "oak", "Blue velvet sofa " * 30]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_backbone(tmp_path_factory.mktemp("tiny"), seed=0, words=["sofa", "lamp", "blue", "velvet"])


@pytest.fixture(scope="module")
def folder(backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cross-encoder")
    CrossEncoder(load_backbone(backbone), seed=1, max_length=64).save(place)
    TextTokenizer.load(backbone).save(place)
    return place


def test_cross_encoder_conforms(folder: Path) -> None:
    ranker = CrossEncoderRanker.load(folder, precision="fp32")
    check_ranker(ranker, queries=QUERIES, texts=TEXTS, low=0.0, high=1.0, tolerance=1e-5)


def test_deterministic_scores_are_the_same_bytes(folder: Path, backbone: Path) -> None:
    for kind, place in ((CrossEncoderRanker, folder), (CosineRanker, backbone)):
        ranker = kind.load(place, deterministic=True)
        check_ranker(ranker, queries=QUERIES[:2], texts=TEXTS[:2], tolerance=0.0)


def test_cosine_conforms(backbone: Path) -> None:
    ranker = CosineRanker.load(backbone, precision="fp32")
    check_ranker(ranker, queries=QUERIES, texts=TEXTS, low=-1.0, high=1.0, tolerance=1e-5)
    assert ranker.score(["lamp"], ["lamp"])[0] == pytest.approx(1.0)


def test_bm25_conforms() -> None:
    ranker = Bm25Ranker.of_texts(TEXTS)
    check_ranker(ranker, queries=QUERIES, texts=TEXTS, low=0.0, tolerance=0.0)


def test_bfloat16_keeps_the_scores(folder: Path) -> None:
    exact = CrossEncoderRanker.load(folder, precision="fp32").score(QUERIES, TEXTS[:3])
    rough = CrossEncoderRanker.load(folder, precision="bf16").score(QUERIES, TEXTS[:3])
    np.testing.assert_allclose(rough, exact, atol=0.02)


def test_bm25_by_hand() -> None:
    ranker = Bm25Ranker.of_texts(["blue sofas", "red sofa", "a desk of oak and steel"])
    assert ranker.mean_length == pytest.approx(10 / 3)
    assert ranker.frequencies["sofa"] == 2
    idf = math.log(1 + 1.5 / 2.5)
    rare = math.log(1 + 3.5 / 0.5)  # in no text
    length = 1.2 * (0.25 + 0.75 * 3 / (10 / 3))
    scores = ranker.score(["sofa", "sofa sofa", "velvet", "lamp"], ["sofa sofa velvet"] * 4)
    expected = [idf * 2 * 2.2 / (2 + length), 2 * idf * 2 * 2.2 / (2 + length), rare * 2.2 / (1 + length), 0.0]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_bm25_of_no_texts() -> None:
    assert np.isfinite(Bm25Ranker.of_texts([]).score(["sofa"], ["sofa"])).all()


@given(arrays.arrays(np.float32, st.integers(0, 20), elements=st.floats(-100, 100, width=32)))
def test_sigmoid_keeps_order_and_range(logits: np.ndarray) -> None:
    shares = sigmoid(logits)
    assert shares.dtype == np.float32
    assert ((shares >= 0) & (shares <= 1)).all()
    assert (np.diff(shares[np.argsort(logits)]) >= 0).all()
    inside = np.abs(logits) < 15
    np.testing.assert_allclose(shares[inside], 1 / (1 + np.exp(-logits[inside].astype(np.float64))), rtol=1e-6)


def test_a_folder_without_a_ranker(tmp_path: Path, backbone: Path) -> None:
    for place in (tmp_path, backbone):
        with pytest.raises(BundleError):
            CrossEncoderRanker.load(place)
    with pytest.raises(BundleError):
        CosineRanker.load(tmp_path)
