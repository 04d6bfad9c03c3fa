"""Pictures, image encoders and the image tower: what is read, what is refused, and what does not hang on company."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModel, CLIPConfig, ViTConfig

from recsys.errors import BundleError
from recsys.models.image_encoder import SmallImageEncoder
from recsys.models.image_tower import ImageTower, ImageTowerConfig
from recsys.models.pictures import ELSEWHERE, MISSING, NOWHERE, find_picture, picture_keys, read_picture
from recsys.models.vision_backbone import load_vision


def tower(**values: object) -> ImageTower:
    torch.manual_seed(0)
    config = ImageTowerConfig(**{"encoder": "small", "features": 48, "width": 16, "size": 16, **values})
    return ImageTower.new(config, checkpoint=Path()).eval()


def pixels(count: int, size: int = 16) -> torch.Tensor:
    return torch.randint(0, 256, (count, size, size, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def test_the_small_encoder_is_small_and_a_row_does_not_hang_on_its_company() -> None:
    assert sum(weights.numel() for weights in SmallImageEncoder().parameters()) < 6000
    network, many = tower(), pixels(9)
    together = network(many)
    assert torch.allclose(torch.cat([network(one[None]) for one in many]), together, atol=1e-6)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(network(many[order]), together[order], atol=1e-6)
    assert torch.allclose(together.norm(dim=1), torch.ones(9))


def test_join_by_hand() -> None:
    network = tower(width=2)
    text, images = torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    strength = float(np.log(2))
    found = network.join(text, images, torch.tensor([True, False]))
    length = (1 + strength**2) ** 0.5
    assert found.vectors[0].tolist() == pytest.approx([1 / length, strength / length])
    assert found.vectors[1].tolist() == text[1].tolist()
    assert found.shares.tolist() == pytest.approx([strength / length, 0.0])


@pytest.mark.parametrize("encoder", ["small", "vectors"])
def test_saved_is_loaded(encoder: str, tmp_path: Path) -> None:
    network = tower(encoder=encoder)
    inputs = pixels(3) if encoder == "small" else torch.randn(3, 48)
    network.save(tmp_path)
    assert torch.equal(ImageTower.load(tmp_path)(inputs), network(inputs))
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(BundleError, match="recsys train images"):
        ImageTower.load(tmp_path)


SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.mark.parametrize("family", ["vit", "clip"])
def test_any_vision_checkpoint_joins(family: str, tmp_path: Path) -> None:
    vision = {**SMALL, "image_size": 16, "patch_size": 8}
    config = ViTConfig(**vision) if family == "vit" else CLIPConfig(text_config=SMALL, vision_config=vision)
    AutoModel.from_config(config).save_pretrained(tmp_path / "checkpoint")
    network = load_vision(tmp_path / "checkpoint")
    assert (network.width, network.size) == (16, 16)
    shape = ImageTowerConfig(encoder="checkpoint", features=16, width=8, size=16)
    whole = ImageTower.new(shape, checkpoint=tmp_path / "checkpoint").eval()
    assert whole(pixels(2)).shape == (2, 8)
    assert not any(weights.requires_grad for weights in whole.encoder.parameters())  # type: ignore[union-attr]
    whole.save(tmp_path / "tower")
    assert torch.equal(ImageTower.load(tmp_path / "tower")(pixels(2)), whole(pixels(2)))


def test_a_text_network_is_no_vision_network(tmp_path: Path) -> None:
    from recsys.testing.tiny import tiny_backbone

    with pytest.raises(BundleError, match="as a vision network"):
        load_vision(tiny_backbone(tmp_path, seed=0))


def test_pictures_are_found_on_this_disk_alone(tmp_path: Path) -> None:
    file = tmp_path / "a b.png"
    Image.new("RGB", (4, 4), "red").save(file)
    assert find_picture("a b.png", tmp_path).path == file
    assert find_picture(file.as_uri(), None).path == file
    assert find_picture(str(file), None).path == file
    assert find_picture(None, tmp_path) == find_picture(" ", tmp_path) == (None, "")
    assert find_picture("http://shop.example/a.png", tmp_path).problem == ELSEWHERE
    assert find_picture("a b.png", None).problem == NOWHERE
    for nothing in ("b.png", "x" * 5000, "a\0b.png", "file://[b.png", f"/{'y' * 300}.png"):
        assert find_picture(nothing, tmp_path).problem == MISSING
    before = picture_keys([find_picture("a b.png", tmp_path)])
    Image.new("RGB", (5, 4), "red").save(file)
    assert picture_keys([find_picture("a b.png", tmp_path)]) != before
    found = find_picture("a b.png", tmp_path)
    (tmp_path / "a b.png").unlink()
    assert picture_keys([found, found]).tolist() == [0, 0], "taken away since it was found"


def test_pictures_stand_whole_on_white(tmp_path: Path) -> None:
    file = tmp_path / "wide.png"
    Image.new("RGBA", (8, 4), (255, 0, 0, 255)).save(file)
    found = read_picture(file, size=8)
    assert found is not None
    assert found[0].tolist() == [[255, 255, 255]] * 8
    assert found[4].tolist() == [[255, 0, 0]] * 8
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(file)
    assert (read_picture(file, size=8) == 255).all()  # type: ignore[union-attr]
    file.write_bytes(file.read_bytes()[:50])
    assert read_picture(file, size=8) is None
