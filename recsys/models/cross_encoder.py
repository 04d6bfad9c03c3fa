"""The relevance scorer's network: query and product text read together, one logit out."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from recsys.errors import BundleError
from recsys.models.backbone import UNREADABLE, Backbone, load_backbone
from recsys.models.pooling import mean_pool
from recsys.text.field_names import FIELDS
from recsys.text.tokenizer import MAX_LENGTH

FORMAT = 1
SETTINGS, HEAD = "cross_encoder.json", "head.safetensors"
Pooling = Literal["mean", "first"]


class CrossEncoder(nn.Module):
    """A backbone with a one-number head; sigmoid(logit) is the expected grade over the highest grade.

    Args:
        backbone: the network under the head.
        seed: of the head's weights.
        pooling: what the head reads: "mean" of the hidden vectors, or the "first" one ([CLS]).
        dropout: of the pooled vector, 0..1, in training mode only.
        max_length: tokens a pair may have; part of the model, since it was trained so.
        fields: of a product that stand in its text; part of the model, too.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        seed: int = 0,
        pooling: Pooling = "mean",
        dropout: float = 0.1,
        max_length: int = MAX_LENGTH,
        fields: Sequence[str] = FIELDS,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling
        self.max_length = max_length
        self.fields = tuple(fields)
        self.dropout = nn.Dropout(dropout)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Sequential(
                nn.Linear(backbone.width, backbone.width), nn.Tanh(), nn.Linear(backbone.width, 1)
            )

    def forward(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        word_vectors: Tensor | None = None,
    ) -> Tensor:
        """Relevance logits.

        Args:
            input_ids: int64 [batch, length], query and product text as one pair.
            attention_mask: int64 [batch, length], 0 at padding.
            token_type_ids: int64 [batch, length], 0 in the query, 1 in the product text.
            word_vectors: float [batch, length, width], instead of input_ids; see Backbone.

        Returns:
            float32 [batch], higher is more relevant.
        """
        hidden = self.backbone(input_ids, attention_mask, token_type_ids, word_vectors)
        pooled = mean_pool(hidden, attention_mask) if self.pooling == "mean" else hidden[:, 0]
        logits: Tensor = self.head(self.dropout(pooled)).squeeze(-1)
        return logits.float()

    def save(self, folder: Path) -> None:
        """Write the network into the folder; its tokenizer is saved beside it by the caller."""
        self.backbone.save(folder)
        weights = {name: weight.detach().cpu().contiguous() for name, weight in self.head.state_dict().items()}
        save_file(weights, folder / HEAD)
        settings = {
            "format": FORMAT,
            "pooling": self.pooling,
            "dropout": self.dropout.p,
            "max_length": self.max_length,
            "fields": self.fields,
        }
        (folder / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The network of a folder that `save` wrote, in evaluation mode.

        Raises:
            BundleError: a file is absent, damaged or of another format.
        """
        try:
            settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
            if settings.pop("format") != FORMAT:
                raise ValueError("another format version")
            network = cls(load_backbone(folder), **settings)
            network.head.load_state_dict(load_file(folder / HEAD))
        except UNREADABLE as error:
            raise BundleError(
                f"{folder} holds no cross-encoder ({' '.join(str(error).split())[:200]})",
                expected=f"{SETTINGS} and {HEAD} of format {FORMAT}",
                action="train it again with `recsys train relevance`",
            ) from error
        return network.eval()
