"""Dense retrieval of texts: the encoder and the index together."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recsys.catalogue import Catalogue
from recsys.models.encode import encode_texts
from recsys.retrieval.dense_text import DenseTextRetriever
from recsys.retrieval.order import top_k
from recsys.testing.retriever import check_retriever
from recsys.testing.tiny import tiny_backbone

WORDS = ["sofa", "blue", "red", "velvet", "oak", "lamp", "desk", "corner"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_backbone(tmp_path_factory.mktemp("tiny"), seed=0, words=WORDS)


@pytest.fixture
def catalogue(make_catalogue: Callable[..., Catalogue]) -> Catalogue:
    generator = np.random.default_rng(0)
    return make_catalogue([" ".join(generator.choice(WORDS, size=4)) for _ in range(120)])


@pytest.fixture
def retriever(catalogue: Catalogue, encoder: Path, tmp_path: Path) -> DenseTextRetriever:
    return DenseTextRetriever.build(catalogue, tmp_path / "dense", encoder=encoder, precision="fp32")


def test_conformance(retriever: DenseTextRetriever) -> None:
    check_retriever(retriever, queries=["blue sofa", "lamp", "oak desk -red"], catalogue=120, tolerance=1e-5)


def test_it_is_the_cosine_of_texts(retriever: DenseTextRetriever, catalogue: Catalogue) -> None:
    texts = encode_texts(retriever.encoder, retriever.tokenizer, catalogue.texts(), precision="fp32")
    for query in ("blue velvet sofa", "lamp"):
        vector = encode_texts(retriever.encoder, retriever.tokenizer, [query], precision="fp32")[0]
        positions, scores = top_k((texts @ vector).astype(np.float32), k=7)
        answer = retriever.retrieve([query], k=7)[0]
        assert set(answer.positions) == set(positions)
        np.testing.assert_allclose(answer.scores, scores, atol=1e-5)
        assert answer.source == "dense"


def test_opening_again(retriever: DenseTextRetriever, encoder: Path, tmp_path: Path) -> None:
    again = DenseTextRetriever.open(tmp_path / "dense", encoder=encoder, precision="fp32")
    assert len(again) == 120
    assert again.exact
    one, other = retriever.retrieve(["sofa"], k=5)[0], again.retrieve(["sofa"], k=5)[0]
    assert np.array_equal(one.positions, other.positions)
    assert np.array_equal(one.scores, other.scores)


def test_operators_are_not_read_as_words(retriever: DenseTextRetriever) -> None:
    plain, signed, blank = retriever.retrieve(["blue sofa", "+blue sofa -red", "-red"], k=5)
    assert np.array_equal(plain.positions, signed.positions)
    assert len(blank.positions) == 0
