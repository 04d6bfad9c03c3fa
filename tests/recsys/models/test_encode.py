"""Batched inference: the same vectors as one by one, in every precision and company."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys.models import encode
from recsys.models.backbone import load_backbone
from recsys.models.cross_encoder import CrossEncoder
from recsys.models.encode import encode_texts, fixed_batches, has_bf16, infer, prepare, score_pairs, sorted_batches
from recsys.models.text_encoder import TextEncoder
from recsys.testing.tiny import WIDTH, tiny_backbone
from recsys.text.tokenizer import TextTokenizer

WORDS = ["sofa", "lamp", "blue", "velvet", "desk", "oak"]
TEXTS = [" ".join(random.Random(seed).choices(WORDS, k=seed % 40)) for seed in range(70)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tiny_backbone(tmp_path_factory.mktemp("tiny"), seed=0, words=WORDS)


@pytest.fixture(scope="module")
def encoder(folder: Path) -> TextEncoder:
    return TextEncoder.load(folder)


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> TextTokenizer:
    return TextTokenizer.load(folder)


@pytest.fixture(scope="module")
def single(encoder: TextEncoder, tokenizer: TextTokenizer) -> np.ndarray:
    with torch.inference_mode():
        rows = [encoder(**tokenizer.pad(tokenizer.encode([text]))).numpy()[0] for text in TEXTS]
    return np.stack(rows)


def test_batches_equal_single_texts(encoder: TextEncoder, tokenizer: TextTokenizer, single: np.ndarray) -> None:
    vectors = encode_texts(encoder, tokenizer, TEXTS, precision="fp32")
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, single, atol=1e-5)


def test_bfloat16_stays_close(encoder: TextEncoder, tokenizer: TextTokenizer, single: np.ndarray) -> None:
    vectors = encode_texts(encoder, tokenizer, TEXTS, precision="bf16")
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert (vectors * single).sum(axis=1).min() > 0.999


def test_prepared_networks_keep_every_bit(folder: Path, tokenizer: TextTokenizer) -> None:
    plain = TextEncoder.load(folder)
    for precision in ("bf16", "fp32"):
        ready = prepare(TextEncoder.load(folder), precision=precision)
        expected = encode_texts(plain, tokenizer, TEXTS, precision=precision)
        assert np.array_equal(encode_texts(ready, tokenizer, TEXTS, precision=precision), expected)
        kinds = {weight.dtype for weight in ready.parameters()}
        assert kinds == ({torch.float32, torch.bfloat16} if precision == "bf16" else {torch.float32})


def test_auto_follows_the_machine(
    encoder: TextEncoder, tokenizer: TextTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for there, twin in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(encode, "has_bf16", lambda _, there=there: there)
        automatic = encode_texts(encoder, tokenizer, TEXTS, precision="auto")
        assert np.array_equal(automatic, encode_texts(encoder, tokenizer, TEXTS, precision=twin))


def test_hardware_question(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cpu")
    for known, expected in (({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx2": True}, False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda known=known: known)
        assert has_bf16(device) is expected
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # torch before 2.11
    assert has_bf16(device) is False
    assert has_bf16(torch.device("meta")) is False


def test_deterministic_bytes_in_any_company(encoder: TextEncoder, tokenizer: TextTokenizer) -> None:
    whole = encode_texts(encoder, tokenizer, TEXTS, deterministic=True)
    order = np.random.default_rng(0).permutation(len(TEXTS))
    turned = encode_texts(encoder, tokenizer, [TEXTS[row] for row in order], deterministic=True)
    assert np.array_equal(turned, whole[order])
    for row in (0, 1, 33, 69):
        assert np.array_equal(encode_texts(encoder, tokenizer, [TEXTS[row]], deterministic=True)[0], whole[row])
    np.testing.assert_allclose(whole, encode_texts(encoder, tokenizer, TEXTS, precision="fp32"), atol=1e-5)


def test_scores_of_pairs(folder: Path, tokenizer: TextTokenizer) -> None:
    network = CrossEncoder(load_backbone(folder), seed=2).eval()
    queries = TEXTS[::-1]
    with torch.inference_mode():
        expected = [
            network(**tokenizer.pad(tokenizer.encode([query], pairs=[text]))).item()
            for query, text in zip(queries, TEXTS, strict=True)
        ]
    np.testing.assert_allclose(score_pairs(network, tokenizer, queries, TEXTS, precision="fp32"), expected, atol=1e-5)
    fixed = score_pairs(network, tokenizer, queries, TEXTS, deterministic=True)
    part = score_pairs(network, tokenizer, queries[5:9], TEXTS[5:9], deterministic=True)
    assert np.array_equal(fixed[5:9], part)


def test_nothing_to_encode(encoder: TextEncoder, tokenizer: TextTokenizer) -> None:
    assert encode_texts(encoder, tokenizer, []).shape == (0, WIDTH)
    assert encode_texts(encoder, tokenizer, [], deterministic=True).shape == (0, WIDTH)


def test_chunks_join(
    encoder: TextEncoder, tokenizer: TextTokenizer, single: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encode, "CHUNK", 16)
    np.testing.assert_allclose(encode_texts(encoder, tokenizer, TEXTS, precision="fp32"), single, atol=1e-5)


def test_training_mode_is_given_back(encoder: TextEncoder, tokenizer: TextTokenizer) -> None:
    encoder.train()
    first = infer(encoder, tokenizer, tokenizer.encode(TEXTS), precision="fp32")
    assert encoder.training
    assert np.array_equal(first, infer(encoder.eval(), tokenizer, tokenizer.encode(TEXTS), precision="fp32"))
    assert not encoder.training


@given(st.lists(st.integers(0, 200), max_size=60), st.integers(1, 400))
def test_sorted_batches_hold_every_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    sizes = np.array(lengths, dtype=np.int64)
    batches = list(sorted_batches(sizes, budget=budget))
    assert sorted(row for rows, _ in batches for row in rows) == list(range(len(lengths)))
    for rows, length in batches:
        assert length == max(sizes[rows].max(), 1)
        assert len(rows) == 1 or len(rows) * length <= budget


@given(st.lists(st.integers(0, 200), max_size=60))
def test_fixed_batches_hold_every_row_once_in_its_own_shape(lengths: list[int]) -> None:
    sizes = np.array(lengths, dtype=np.int64)
    batches = list(fixed_batches(sizes))
    assert sorted(row for rows, _ in batches for row in rows) == list(range(len(lengths)))
    for rows, length in batches:
        assert len(rows) <= encode.FIXED_ROWS
        assert all(length == max(-(-size // encode.FIXED_STEP), 1) * encode.FIXED_STEP for size in sizes[rows])


def test_batches_of_a_budget_smaller_than_a_row() -> None:
    batches = [(rows.tolist(), length) for rows, length in sorted_batches(np.array([3, 9, 4]), budget=8)]
    assert batches == [([1], 9), ([2, 0], 4)]
