"""Word pieces: against the library's own call, ragged rows, padding, saving."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from recsys.errors import BundleError
from recsys.text.tokenizer import TextTokenizer, Tokens

WORDS = ("velvet", "sofa", "blue", "lamp")
TEXTS = ["blue velvet sofa", "", 'Lamp, 55" <blue>', "☃ x1", "sofa " * 100]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    TextTokenizer.of_words(WORDS, folder).save(folder)
    return TextTokenizer.load(folder)


def rows(tokens: Tokens) -> list[list[int]]:
    return [part.tolist() for part in np.split(tokens.ids, tokens.offsets[1:-1])]


def test_ids_are_the_librarys_own(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    library = AutoTokenizer.from_pretrained(tmp_path)
    for limit in (8, 128):
        own = tokenizer.encode(TEXTS, max_length=limit)
        assert rows(own) == library(TEXTS, truncation=True, max_length=limit)["input_ids"]
        pairs = tokenizer.encode(TEXTS, pairs=TEXTS[::-1], max_length=limit)
        theirs = library(TEXTS, TEXTS[::-1], truncation="longest_first", max_length=limit)
        assert rows(pairs) == theirs["input_ids"]
        assert pairs.types.tolist() == [kind for row in theirs["token_type_ids"] for kind in row]


def test_padding_is_the_librarys_own(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    library = AutoTokenizer.from_pretrained(tmp_path)
    theirs = library(TEXTS, truncation=True, max_length=32, padding=True, return_tensors="pt")
    own = tokenizer.pad(tokenizer.encode(TEXTS, max_length=32))
    assert own.keys() == theirs.keys()
    for name, expected in theirs.items():
        assert torch.equal(own[name], expected), name


@given(st.lists(st.text(max_size=30), min_size=1, max_size=8), st.data())
def test_taking_rows_is_encoding_them(tokenizer: TextTokenizer, texts: list[str], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=10))
    taken = tokenizer.encode(texts, max_length=12).take(chosen)
    again = tokenizer.encode([texts[row] for row in chosen], max_length=12)
    assert len(taken) == len(chosen)
    assert taken.ids.tolist() == again.ids.tolist()
    assert taken.offsets.tolist() == again.offsets.tolist()
    assert (taken.lengths <= 12).all()


def test_fixed_length_padding(tokenizer: TextTokenizer) -> None:
    batch = tokenizer.pad(tokenizer.encode(["sofa"], max_length=8), length=8)
    assert batch["input_ids"].shape == (1, 8)
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0, 0, 0, 0]]
    assert tokenizer.pad(tokenizer.encode([]))["input_ids"].shape == (0, 1)


def test_surrogates_are_read_as_unknown(tokenizer: TextTokenizer) -> None:
    assert rows(tokenizer.encode(["\ud800"])) == rows(tokenizer.encode(["?"]))


def test_threads_share_one_tokenizer(tokenizer: TextTokenizer) -> None:
    def lengths(limit: int) -> set[int]:
        return {int(tokenizer.encode(["sofa " * 200] * 4, max_length=limit).lengths.max()) for _ in range(20)}

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lengths, [8, 16, 32, 64])) == [{8}, {16}, {32}, {64}]


def test_encoding_leaves_no_trace_in_what_is_saved(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "before")
    tokenizer.encode(TEXTS, max_length=9)
    tokenizer.save(tmp_path / "after")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "before" / name).read_bytes() == (tmp_path / "after" / name).read_bytes()


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no readable tokenizer"):
        TextTokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(BundleError, match="no readable tokenizer"):
        TextTokenizer.load(tmp_path)
