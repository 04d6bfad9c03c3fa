"""What a picture adds to its product's vector: a projection into the space of the text vectors, and how much it counts.

A product's vector is normalise(text + strength · image); without picture it is the text's, byte for byte. One inner
product with a query's text vector therefore serves both, and splits into what text and picture add.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from recsys.errors import BundleError
from recsys.models.image_encoder import ImageEncoder, SmallImageEncoder

FORMAT = 1
SETTINGS, WEIGHTS, CHECKPOINT = "image_tower.json", "model.safetensors", "encoder"


@dataclass(frozen=True, slots=True)
class ImageTowerConfig:
    """The shape of an image tower.

    Attributes:
        encoder: "vectors" reads the shop's own image vectors, "small" pictures by the small network that is learned
            with the tower, "checkpoint" pictures by a vision checkpoint whose weights stay.
        features: width of the image vectors or of the encoder's features.
        width: width of the text vectors.
        size: height and width of the pictures, in pixels; 0 for vectors.
        text: sha256 of the text encoder whose space it was learned for.
    """

    encoder: Literal["vectors", "small", "checkpoint"]
    features: int
    width: int
    size: int = 0
    text: str = ""


class Joined(NamedTuple):
    """Product vectors of text and picture.

    Attributes:
        vectors: float32 [products, width], unit vectors.
        shares: float32 [products], how often a picture's unit vector stands in the sum; 0 without picture.
    """

    vectors: Tensor
    shares: Tensor


class ImageTower(nn.Module):
    """The image side of the product tower.

    Args:
        config: its shape.
        encoder: turns pictures into features; None where the shop's own vectors are read.
    """

    def __init__(self, config: ImageTowerConfig, *, encoder: ImageEncoder | None) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.norm = nn.LayerNorm(config.features)
        self.projection = nn.Linear(config.features, config.width)
        self.gate = nn.Parameter(torch.zeros(()))

    @property
    def strength(self) -> Tensor:
        """Float scalar above 0: the length of the image beside the text's, which is 1; .69 untrained."""
        return functional.softplus(self.gate)

    def features(self, inputs: Tensor) -> Tensor:
        """float32 [batch, features] for uint8 [batch, size, size, 3], or for the shop's image vectors themselves."""
        return inputs if self.encoder is None else self.encoder(inputs)

    def project(self, features: Tensor) -> Tensor:
        """Unit vectors float32 [batch, width], in the space of the text vectors."""
        return functional.normalize(self.projection(self.norm(features)), dim=-1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Unit vectors float32 [batch, width] of pictures or image vectors; see `features`."""
        return self.project(self.features(inputs))

    def join(self, text: Tensor, images: Tensor, seen: Tensor) -> Joined:
        """The vectors of products.

        Args:
            text: float32 [products, width], unit vectors.
            images: float32 [products, width], unit vectors; what stands in the rows without picture is not read.
            seen: bool [products], True where there is a picture.
        """
        total = text + self.strength * images
        length = total.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(total.dtype).tiny)
        vectors = torch.where(seen[:, None], total / length, text)
        return Joined(vectors, torch.where(seen, self.strength / length[:, 0], 0.0))

    def save(self, folder: Path) -> None:
        """Write image_tower.json and model.safetensors, and a checkpoint's files in a folder of their own."""
        folder.mkdir(parents=True, exist_ok=True)
        settings = {"format": FORMAT, **asdict(self.config)}
        (folder / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in own_weights(self).items()}
        save_file(weights, folder / WEIGHTS)
        if self.config.encoder == "checkpoint":
            from recsys.models.vision_backbone import VisionBackbone

            cast(VisionBackbone, self.encoder).save(folder / CHECKPOINT)

    @classmethod
    def load(cls, folder: Path) -> "ImageTower":
        """Read what `save` wrote, ready to answer.

        Raises:
            BundleError: a file is missing, damaged, of another format or does not fit the others.
        """
        try:
            tower = cls.new(read_config(folder), checkpoint=folder / CHECKPOINT)
            tower.load_own(load_file(folder / WEIGHTS))
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise damaged(folder, error) from error
        return tower.eval()

    @classmethod
    def new(cls, config: ImageTowerConfig, *, checkpoint: Path) -> "ImageTower":
        """A tower with new weights but for those of a checkpoint.

        Args:
            config: its shape.
            checkpoint: folder of the vision network; read for `encoder = "checkpoint"` only.
        """
        encoder: ImageEncoder | None = None
        if config.encoder == "small":
            encoder = SmallImageEncoder(config.size)
        elif config.encoder == "checkpoint":
            from recsys.models.vision_backbone import load_vision

            encoder = load_vision(checkpoint).requires_grad_(requires_grad=False)
        return cls(config, encoder=encoder)

    def load_own(self, weights: dict[str, Tensor]) -> None:
        """Take these weights for all but a checkpoint's; RuntimeError where one is absent, new or of another shape."""
        names = set(own_weights(self))
        if names != set(weights):
            raise RuntimeError(f"weights {', '.join(sorted(names ^ set(weights))[:3])} too many or too few")
        self.load_state_dict(weights, strict=False)


def read_config(folder: Path) -> ImageTowerConfig:
    """The shape of the tower in a folder that `save` wrote; BundleError where it can't be read."""
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        if settings.pop("format") != FORMAT:
            raise ValueError(f"another format than {FORMAT}")
        return ImageTowerConfig(**settings)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(folder, error) from error


def damaged(folder: Path, error: Exception) -> BundleError:
    """The error for a folder that holds no whole image tower."""
    return BundleError(
        f"{folder}: {' '.join(str(error).split())[:200]}",
        expected="image_tower.json and model.safetensors of one image tower",
        action="train the stage again with `recsys train images`",
    )


def own_weights(tower: ImageTower) -> dict[str, Tensor]:
    """The weights that a tower has learned: all but a checkpoint's."""
    kept = tower.config.encoder != "checkpoint"
    return {name: tensor for name, tensor in tower.state_dict().items() if kept or not name.startswith("encoder.")}
