"""A text that was encoded before is not encoded again, and never changes its vector by that."""

from pathlib import Path

import numpy as np
import pytest

from recsys.engine import text_vectors as module
from recsys.engine.text_vectors import encoder_digest, text_vectors
from recsys.testing.tiny import tiny_backbone


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that reach the network."""
    seen: list[str] = []
    encode = module.encode_texts

    def watch(network, tokenizer, texts, **options):  # noqa: ANN001, ANN003, ANN202
        seen.extend(texts)
        return encode(network, tokenizer, texts, **options)

    monkeypatch.setattr(module, "encode_texts", watch)
    return seen


def test_only_new_texts_are_encoded(backbone: Path, tmp_path: Path, encoded: list[str]) -> None:
    first = text_vectors(["blue sofa", "lamp", "blue sofa"], backbone, cache=tmp_path)
    assert sorted(encoded) == ["blue sofa", "lamp"]
    second = text_vectors(["chair", "lamp", "blue sofa"], backbone, cache=tmp_path)
    assert encoded[2:] == ["chair"]
    assert np.array_equal(second[1:], first[[1, 0]])
    assert np.array_equal(first[0], first[2])
    third = text_vectors(["chair", "lamp"], backbone, cache=tmp_path)
    assert len(encoded) == 3
    assert np.array_equal(third, second[:2])


def test_the_cache_changes_no_vector(backbone: Path, tmp_path: Path, encoded: list[str]) -> None:
    text_vectors(["blue sofa"], backbone, cache=tmp_path)
    kept = text_vectors(["blue sofa", "red chair"], backbone, cache=tmp_path)
    assert np.allclose(kept, text_vectors(["blue sofa", "red chair"], backbone, cache=None), atol=0.02)


def test_another_encoder_shares_nothing(backbone: Path, tmp_path: Path, encoded: list[str]) -> None:
    other = tiny_backbone(tmp_path / "other", seed=1)
    assert encoder_digest(other) != encoder_digest(backbone)
    text_vectors(["blue sofa"], backbone, cache=tmp_path / "cache")
    text_vectors(["blue sofa"], other, cache=tmp_path / "cache")
    assert encoded == ["blue sofa", "blue sofa"]


@pytest.mark.parametrize("name", ["keys.npy", "vectors.npy", "sha256.txt"])
@pytest.mark.parametrize("torn", [False, True])
def test_a_damaged_cache_is_written_anew(
    backbone: Path, tmp_path: Path, encoded: list[str], name: str, torn: bool
) -> None:
    first = text_vectors(["blue sofa"], backbone, cache=tmp_path)
    (folder,) = tmp_path.iterdir()
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(b"\x93NUMPY" if torn else bytes([*whole[:-1], whole[-1] ^ 1]))
    assert np.array_equal(text_vectors(["blue sofa"], backbone, cache=tmp_path), first)
    text_vectors(["blue sofa"], backbone, cache=tmp_path)
    assert encoded == ["blue sofa", "blue sofa"]


def test_no_text_has_no_vector(backbone: Path, tmp_path: Path) -> None:
    assert text_vectors([], backbone, cache=tmp_path).shape == (0, 32)
