"""Any vision checkpoint of transformers (ViT, DINOv2, CLIP, SigLIP, ConvNeXt, ResNet ...) as an image encoder.

Weights are read from safetensors only, code from a checkpoint is never run. transformers is imported on first use, for
it takes four seconds.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recsys.errors import BundleError
from recsys.models.backbone import check_folder, quiet

PREPROCESSOR = "preprocessor_config.json"
HALF = (0.5, 0.5, 0.5)


class VisionBackbone(nn.Module):
    """A vision network with the scale of pixels that it was trained on; see `recsys.models.image_encoder`.

    Args:
        network: a loaded transformers model that reads `pixel_values`.
        mean: by channel, of pixels between 0 and 1.
        deviation: by channel.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: Any, *, mean: tuple[float, ...] = HALF, deviation: tuple[float, ...] = HALF) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1), persistent=False)

    @property
    def size(self) -> int:
        """Height and width of the pictures, in pixels; 224 where the checkpoint takes any."""
        size = getattr(self.network.config, "image_size", None) or 224
        return int(size[0] if isinstance(size, list | tuple) else size)

    @property
    def width(self) -> int:
        """Size of a picture's features."""
        config = self.network.config
        sizes = getattr(config, "hidden_sizes", None)
        return int(sizes[-1] if sizes else config.hidden_size)

    def forward(self, pixels: Tensor) -> Tensor:
        """float32 [batch, width] for uint8 [batch, size, size, 3]: the pooled state, else that of the first place."""
        values = (pixels.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.deviation
        found = self.network(pixel_values=values)
        pooled = getattr(found, "pooler_output", None)
        states: Tensor = found.last_hidden_state[:, 0] if pooled is None else pooled
        return states.flatten(1).float()

    def save(self, folder: Path) -> None:
        """Write config.json, model.safetensors and preprocessor_config.json into the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        with quiet():
            self.network.save_pretrained(folder)
        scale = {"image_mean": self.mean.flatten().tolist(), "image_std": self.deviation.flatten().tolist()}
        (folder / PREPROCESSOR).write_text(json.dumps(scale, indent=1) + "\n", encoding="utf-8")


def load_vision(folder: Path) -> VisionBackbone:
    """The vision network of a checkpoint folder, in float32 and evaluation mode; of CLIP and the like its vision half.

    Pictures are scaled to its size and its scale of pixels (preprocessor_config.json, else around .5 by .5). They are
    shown whole, on white, not cropped.

    Raises:
        BundleError: the files are absent, damaged, or no vision network's.
    """
    check_folder(folder)
    from transformers import AutoConfig, AutoModel

    try:
        with quiet():
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            network = AutoModel.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
            )
        network = getattr(network, "vision_model", network)
        if network.main_input_name != "pixel_values":
            raise ValueError(f"it reads {network.main_input_name}")
        mean, deviation = read_scale(folder / PREPROCESSOR)
    except BundleError:
        raise
    except Exception as error:
        raise BundleError(
            f"{folder} can't be read as a vision network ({' '.join(str(error).split())[:200]})",
            expected="a vision checkpoint in safetensors that reads pixel_values",
            action="name another folder",
        ) from error
    return VisionBackbone(network, mean=mean, deviation=deviation).eval()


def read_scale(path: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation by channel; a half where the file is absent or says nothing."""
    told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return tuple(told.get("image_mean") or HALF), tuple(told.get("image_std") or HALF)
