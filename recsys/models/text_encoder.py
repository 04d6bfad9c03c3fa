"""The retriever's network: one text in, one unit vector out, the same for queries and products."""

import json
from pathlib import Path
from typing import Self

from torch import Tensor, nn
from torch.nn.functional import normalize

from recsys.errors import BundleError
from recsys.models.backbone import Backbone, load_backbone
from recsys.models.pooling import mean_pool
from recsys.text.tokenizer import MAX_LENGTH

FORMAT = 1
SETTINGS = "text_encoder.json"


class TextEncoder(nn.Module):
    """Mean pooling over a backbone, scaled to length 1.

    Args:
        backbone: the network under the pooling.
        max_length: tokens a text may have; part of the model, since it was trained so.
    """

    def __init__(self, backbone: Backbone, *, max_length: int = MAX_LENGTH) -> None:
        super().__init__()
        self.backbone = backbone
        self.max_length = max_length

    @property
    def width(self) -> int:
        """Size of a text's vector."""
        return self.backbone.width

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Unit vectors; their dot product is the cosine.

        Args:
            input_ids: int64 [batch, length].
            attention_mask: int64 [batch, length], 0 at padding.
            token_type_ids: int64 [batch, length], all 0; may be left out.

        Returns:
            float32 [batch, width], each of Euclidean length 1.
        """
        hidden = self.backbone(input_ids, attention_mask, token_type_ids)
        return normalize(mean_pool(hidden, attention_mask), dim=-1)

    def save(self, folder: Path) -> None:
        """Write the network into the folder; its tokenizer is saved beside it by the caller."""
        self.backbone.save(folder)
        settings = {"format": FORMAT, "max_length": self.max_length}
        (folder / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, *, layers: int | None = None) -> Self:
        """The network of a folder that `save` wrote, or of a stock backbone, in evaluation mode.

        Args:
            folder: a text encoder, or a backbone of which the mean is taken.
            layers: keep only the first so many layers.

        Raises:
            BundleError: a file is absent, damaged or of another format.
        """
        settings = read_settings(folder / SETTINGS)
        return cls(load_backbone(folder, layers=layers), **settings).eval()


def read_settings(path: Path) -> dict[str, int]:
    """The fields of text_encoder.json, none where a stock backbone has no such file."""
    if not path.is_file():
        return {}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if settings["format"] != FORMAT:
            raise ValueError("another format version")
        return {"max_length": int(settings["max_length"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"{path} can't be read ({' '.join(str(error).split())[:200]})",
            expected=f"text encoder settings of format {FORMAT}",
            action="train it again with `recsys train retriever`",
        ) from error
