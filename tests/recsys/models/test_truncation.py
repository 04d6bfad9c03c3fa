"""Shorter vectors: prefixes, projections by hand, and the folder they are kept in."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import BundleError
from recsys.models.text_encoder import TextEncoder
from recsys.models.truncation import Truncation, fit_truncation, prefix
from recsys.testing.tiny import tiny_backbone
from recsys.text.tokenizer import TextTokenizer

TEXTS = ["blue velvet sofa", "lamp", ""]


def vectors_of(rows: int, width: int, *, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_a_prefix_by_hand() -> None:
    """3, 4 and 12 of 13 are .6 and .8 of the first two."""
    found = prefix(torch.tensor([[3 / 13, 4 / 13, 12 / 13]]), 2)
    assert found.tolist() == [pytest.approx([0.6, 0.8])]


@given(rows=st.integers(1, 5), width=st.integers(1, 6), data=st.data())
def test_truncated_is_the_prefix_scaled_to_length_1(rows: int, width: int, data: st.DataObject) -> None:
    dimensions = data.draw(st.integers(1, width))
    vectors = vectors_of(rows, width, seed=rows)
    head = vectors[:, :dimensions]
    expected = head / np.linalg.norm(head, axis=1, keepdims=True)
    found = Truncation(dimensions)(torch.from_numpy(vectors))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_a_projection_by_hand() -> None:
    """Vectors along x, x and y: the best single direction is x, which loses one squared length of three."""
    vectors = np.array([[1, 0], [-1, 0], [0, 1]], dtype=np.float32)
    truncation, lost = fit_truncation(vectors, dimensions=1)
    assert lost == pytest.approx(1 / 3)
    assert truncation.projection is not None
    assert truncation.projection.tolist() == [pytest.approx([1.0, 0.0])]


def test_with_a_centre_only_what_differs_is_kept() -> None:
    vectors = np.array([[0.6, 0.8], [-0.6, 0.8]], dtype=np.float32)
    truncation, lost = fit_truncation(vectors, dimensions=1, centred=True)
    assert lost == pytest.approx(0.0, abs=1e-6)
    assert truncation.centre is not None
    assert truncation.centre.tolist() == pytest.approx([0.0, 0.8])
    assert truncation(torch.from_numpy(vectors)).flatten().tolist() == pytest.approx([1.0, -1.0])


@pytest.mark.parametrize("centred", [False, True])
def test_a_projection_is_that_of_the_singular_value_decomposition(centred: bool) -> None:
    """numpy's SVD: the same subspace, and the squared singular values that are left out are what is lost."""
    vectors = vectors_of(50, 8, seed=1) + np.float32(0.3)
    truncation, lost = fit_truncation(vectors, dimensions=3, centred=centred)
    shifted = vectors - vectors.mean(axis=0) if centred else vectors
    _, values, directions = np.linalg.svd(shifted.astype(np.float64), full_matrices=False)
    assert lost == pytest.approx((values[3:] ** 2).sum() / (values**2).sum(), abs=1e-6)
    assert truncation.projection is not None
    projection = truncation.projection.double().numpy()
    np.testing.assert_allclose(projection.T @ projection, directions[:3].T @ directions[:3], atol=1e-5)


def test_all_directions_keep_every_cosine() -> None:
    vectors = vectors_of(20, 6, seed=2)
    truncation, lost = fit_truncation(vectors, dimensions=6)
    assert lost == pytest.approx(0.0, abs=1e-6)
    found = truncation(torch.from_numpy(vectors)).numpy()
    np.testing.assert_allclose(found @ found.T, vectors @ vectors.T, atol=1e-5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_backbone(tmp_path_factory.mktemp("tiny") / "backbone", seed=0)


@pytest.mark.parametrize("projected", [False, True])
def test_saved_is_loaded(folder: Path, tmp_path: Path, projected: bool) -> None:
    encoder = TextEncoder.load(folder)
    batch = TextTokenizer.load(folder).pad(TextTokenizer.load(folder).encode(TEXTS))
    whole = encoder(**batch).detach()
    encoder.truncation = Truncation(3)
    if projected:
        encoder.truncation, _ = fit_truncation(
            vectors_of(30, encoder.backbone.width, seed=3), dimensions=3, centred=True
        )
    encoder.save(tmp_path)
    again = TextEncoder.load(tmp_path)
    assert again.width == 3
    found = again(**batch)
    assert torch.equal(found, encoder(**batch))
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    if not projected:
        torch.testing.assert_close(found, prefix(whole, 3))


@pytest.mark.parametrize("damage", ["wide", "shape", "torn", "none", "centre alone"])
def test_what_does_not_fit_is_refused(folder: Path, tmp_path: Path, damage: str) -> None:
    encoder = TextEncoder.load(folder)
    encoder.truncation, _ = fit_truncation(vectors_of(30, encoder.backbone.width, seed=3), dimensions=3)
    encoder.save(tmp_path)
    settings = json.loads((tmp_path / "text_encoder.json").read_text())
    if damage == "wide":
        settings["dimensions"] = 100_000
    elif damage == "none":
        settings["dimensions"] = 0
    elif damage == "shape":
        np.save(tmp_path / "projection.npy", np.zeros((2, 2), dtype=np.float32))
    elif damage == "torn":
        (tmp_path / "projection.npy").write_bytes(b"\x93NUMPY")
    else:
        (tmp_path / "projection.npy").unlink()
        np.save(tmp_path / "centre.npy", np.zeros(encoder.backbone.width, dtype=np.float32))
    (tmp_path / "text_encoder.json").write_text(json.dumps(settings))
    with pytest.raises(BundleError, match="recsys train retriever"):
        TextEncoder.load(tmp_path)
