"""The retriever's network: one text in, one unit vector out, the same for queries and products."""

import json
from pathlib import Path
from typing import Self, cast

from torch import Tensor, nn
from torch.nn.functional import normalize

from recsys.errors import BundleError
from recsys.models.backbone import Backbone, load_backbone
from recsys.models.pooling import mean_pool
from recsys.models.truncation import Truncation
from recsys.text.tokenizer import MAX_LENGTH

FORMAT, FORMAT_TRUNCATED = 1, 2  # a reader that knows no truncation must not give whole vectors in its place
SETTINGS = "text_encoder.json"


class TextEncoder(nn.Module):
    """Mean pooling over a backbone, scaled to length 1.

    Args:
        backbone: the network under the pooling.
        max_length: tokens a text may have; part of the model, since it was trained so.
        truncation: makes the vectors shorter; None leaves them as wide as the backbone.
    """

    def __init__(
        self, backbone: Backbone, *, max_length: int = MAX_LENGTH, truncation: Truncation | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.max_length = max_length
        self.truncation = truncation

    @property
    def width(self) -> int:
        """Size of a text's vector."""
        return self.backbone.width if self.truncation is None else self.truncation.dimensions

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
        vectors = normalize(mean_pool(hidden, attention_mask), dim=-1)
        return vectors if self.truncation is None else cast(Tensor, self.truncation(vectors))

    def save(self, folder: Path) -> None:
        """Write the network into the folder; its tokenizer is saved beside it by the caller."""
        self.backbone.save(folder)
        settings = {"format": FORMAT, "max_length": self.max_length}
        if self.truncation is not None:
            settings |= {"format": FORMAT_TRUNCATED, "dimensions": self.truncation.dimensions}
            self.truncation.save(folder)
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
        max_length, dimensions = read_settings(folder / SETTINGS)
        backbone = load_backbone(folder, layers=layers)
        truncation = Truncation.load(folder, dimensions=dimensions, width=backbone.width) if dimensions else None
        return cls(backbone, max_length=max_length, truncation=truncation).eval()


def read_settings(path: Path) -> tuple[int, int]:
    """The longest text and the dimensions in text_encoder.json; 0 dimensions are all, as of a stock backbone."""
    if not path.is_file():
        return MAX_LENGTH, 0
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if settings["format"] not in (FORMAT, FORMAT_TRUNCATED):
            raise ValueError("another format version")
        if settings["format"] == FORMAT:
            return int(settings["max_length"]), 0
        if int(settings["dimensions"]) < 1:
            raise ValueError("no dimensions")
        return int(settings["max_length"]), int(settings["dimensions"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"{path} can't be read ({' '.join(str(error).split())[:200]})",
            expected=f"text encoder settings of format {FORMAT} or {FORMAT_TRUNCATED}",
            action="train it again with `recsys train retriever`",
        ) from error
