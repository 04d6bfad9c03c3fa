"""Cross-encoder and text encoder: shapes, invariances, gradients, save and load."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.errors import BundleError
from recsys.models.backbone import load_backbone
from recsys.models.cross_encoder import CrossEncoder
from recsys.models.pooling import mean_pool
from recsys.models.text_encoder import TextEncoder
from recsys.testing.tiny import WIDTH, tiny_backbone
from recsys.text.tokenizer import TextTokenizer

QUERIES = ["blue sofa", "lamp", "velvet corner sofa with a chaise"]
TEXTS = ["Corner sofa Oslo. velvet", "lamp", "Blue desk lamp. metal. 40 cm"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_backbone(tmp_path_factory.mktemp("tiny"), seed=0, words=["sofa", "lamp", "blue", "velvet"])


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> TextTokenizer:
    return TextTokenizer.load(folder)


@pytest.fixture(params=["mean", "first"])
def network(request: pytest.FixtureRequest, folder: Path) -> CrossEncoder:
    return CrossEncoder(load_backbone(folder), seed=1, pooling=request.param).eval()


def pairs(tokenizer: TextTokenizer, rows: list[int], length: int | None = None) -> dict[str, torch.Tensor]:
    left, right = [QUERIES[row] for row in rows], [TEXTS[row] for row in rows]
    return tokenizer.pad(tokenizer.encode(left, pairs=right), length=length)


def test_mean_pool_by_hand() -> None:
    hidden = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [100.0, 100.0]], [[5.0, 6.0], [7.0, 7.0], [8.0, 8.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    assert mean_pool(hidden, mask).tolist() == [[2.0, 3.0], [5.0, 6.0]]
    assert mean_pool(hidden, torch.zeros_like(mask)).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_logits_do_not_hang_on_padding_company_or_order(network: CrossEncoder, tokenizer: TextTokenizer) -> None:
    together = network(**pairs(tokenizer, [0, 1, 2])).detach()
    assert together.shape == (3,)
    assert together.dtype == torch.float32
    assert together.std() > 1e-3
    for row in range(3):
        torch.testing.assert_close(network(**pairs(tokenizer, [row]))[0], together[row], atol=1e-5, rtol=0)
    torch.testing.assert_close(network(**pairs(tokenizer, [2, 0, 1])), together[[2, 0, 1]], atol=1e-5, rtol=0)
    torch.testing.assert_close(network(**pairs(tokenizer, [0, 1, 2], 90)), together, atol=1e-5, rtol=0)


def test_cross_encoder_reads_both_sides(network: CrossEncoder, tokenizer: TextTokenizer) -> None:
    def logit(query: str, text: str) -> float:
        return network(**tokenizer.pad(tokenizer.encode([query], pairs=[text]))).item()

    assert len({logit("sofa", "lamp"), logit("lamp", "sofa"), logit("sofa", "sofa")}) == 3


def test_cross_encoder_save_and_load(network: CrossEncoder, tokenizer: TextTokenizer, tmp_path: Path) -> None:
    network.max_length, network.fields = 40, ("title", "brand")
    network.save(tmp_path)
    again = CrossEncoder.load(tmp_path)
    assert not again.training
    assert again.fields == ("title", "brand")
    assert (again.max_length, again.pooling, again.dropout.p) == (40, network.pooling, 0.1)
    batch = pairs(tokenizer, [0, 1, 2])
    assert torch.equal(again(**batch), network(**batch))
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}


def test_every_weight_learns(folder: Path, tokenizer: TextTokenizer) -> None:
    network = CrossEncoder(load_backbone(folder), seed=1)
    network(**pairs(tokenizer, [0, 1, 2])).sum().backward()
    still = [name for name, weight in network.named_parameters() if weight.grad is None]
    assert still == []  # DDP waits for ever on weights without a gradient


def test_head_seed(folder: Path) -> None:
    one, same, other = (CrossEncoder(load_backbone(folder), seed=seed).head[0].weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("damage", ["absent", "format", "settings", "head", "shape"])
def test_cross_encoder_refuses_damage(folder: Path, tmp_path: Path, damage: str) -> None:
    CrossEncoder(load_backbone(folder)).save(tmp_path)
    settings = tmp_path / "cross_encoder.json"
    if damage == "absent":
        settings.unlink()
    elif damage == "format":
        settings.write_text(json.dumps(json.loads(settings.read_text()) | {"format": 99}))
    elif damage == "settings":
        settings.write_text('{"format": 1, "unheard": 2}')
    elif damage == "head":
        (tmp_path / "head.safetensors").write_bytes(b"short")
    else:
        (tmp_path / "head.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes())
    with pytest.raises(BundleError, match="no cross-encoder"):
        CrossEncoder.load(tmp_path)


def test_unit_vectors_do_not_hang_on_padding_company_or_order(folder: Path, tokenizer: TextTokenizer) -> None:
    encoder = TextEncoder.load(folder)
    batch = tokenizer.pad(tokenizer.encode(TEXTS))
    together = encoder(batch["input_ids"], batch["attention_mask"]).detach()
    assert together.shape == (3, WIDTH)
    np.testing.assert_allclose(together.norm(dim=1), 1.0, atol=1e-6)
    torch.testing.assert_close(encoder(**batch), together)  # types may be left out
    for row, text in enumerate(TEXTS):
        alone = tokenizer.pad(tokenizer.encode([text]), length=60)
        torch.testing.assert_close(encoder(**alone)[0], together[row], atol=1e-5, rtol=0)
    turned = encoder(**{name: part.flip(0) for name, part in batch.items()})
    torch.testing.assert_close(turned.flip(0), together, atol=1e-5, rtol=0)


def test_text_encoder_save_and_load(folder: Path, tokenizer: TextTokenizer, tmp_path: Path) -> None:
    encoder = TextEncoder(load_backbone(folder), max_length=33).eval()
    encoder.save(tmp_path)
    again = TextEncoder.load(tmp_path)
    batch = tokenizer.pad(tokenizer.encode(TEXTS))
    assert again.max_length == 33
    assert torch.equal(again(**batch), encoder(**batch))
    assert TextEncoder.load(tmp_path, layers=1).backbone.layers == 1


@pytest.mark.parametrize("settings", ["", "{}", '{"format": 2, "max_length": 8}', '{"format": 1}', "[]"])
def test_text_encoder_refuses_damaged_settings(folder: Path, tmp_path: Path, settings: str) -> None:
    TextEncoder(load_backbone(folder)).save(tmp_path)
    (tmp_path / "text_encoder.json").write_text(settings)
    with pytest.raises(BundleError, match=r"text_encoder\.json"):
        TextEncoder.load(tmp_path)
