"""The head that fills in masked pieces: read from a checkpoint that has one, else new, tied to the word vectors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from recsys.errors import BundleError
from recsys.models.backbone import UNREADABLE, Backbone

WEIGHTS = "model.safetensors"
HEAD = "masked_language.safetensors"
PARTS = ("dense.weight", "dense.bias", "norm.weight", "norm.bias", "bias")
# how checkpoints name these parts: BERT, RoBERTa, DistilBERT
NAMES = (
    (
        "cls.predictions.transform.dense.weight",
        "cls.predictions.transform.dense.bias",
        "cls.predictions.transform.LayerNorm.weight",
        "cls.predictions.transform.LayerNorm.bias",
        "cls.predictions.bias",
    ),
    (
        "lm_head.dense.weight",
        "lm_head.dense.bias",
        "lm_head.layer_norm.weight",
        "lm_head.layer_norm.bias",
        "lm_head.bias",
    ),
    (
        "vocab_transform.weight",
        "vocab_transform.bias",
        "vocab_layer_norm.weight",
        "vocab_layer_norm.bias",
        "vocab_projector.bias",
    ),
)


class MaskedLanguageHead(nn.Module):
    """From hidden vectors to a logit for each piece of the vocabulary.

    Args:
        width: size of a hidden vector.
        vocabulary: number of pieces.
        seed: of the weights.

    Source: Devlin et al. 2019 (arXiv 1810.04805), the authors' `get_masked_lm_output`.
    """

    def __init__(self, width: int, *, vocabulary: int, seed: int = 0) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        nn.init.normal_(self.dense.weight, std=0.02, generator=torch.Generator().manual_seed(seed))
        nn.init.zeros_(self.dense.bias)

    def forward(self, hidden: Tensor, embeddings: Tensor) -> Tensor:
        """Logits of the pieces.

        Args:
            hidden: float [pieces, width], of the masked places alone.
            embeddings: float [vocabulary, width], the word vectors, to which the output is tied.

        Returns:
            float [pieces, vocabulary].
        """
        return functional.linear(self.norm(functional.gelu(self.dense(hidden))), embeddings, self.bias)

    def save(self, folder: Path) -> None:
        """Write the head beside a backbone, for the next adaptation."""
        save_file({name: part.detach().cpu().contiguous() for name, part in self.state_dict().items()}, folder / HEAD)

    @classmethod
    def load(cls, folder: Path, backbone: Backbone, *, seed: int) -> Self:
        """The head of a backbone's folder, a new one with this seed where the checkpoint has none that fits.

        Raises:
            BundleError: the checkpoint can't be read.
        """
        words = word_vectors(backbone)
        head = cls(backbone.width, vocabulary=len(words), seed=seed)
        try:
            found = read_head(folder)
        except UNREADABLE as error:
            raise BundleError(
                f"{folder} can't be read ({' '.join(str(error).split())[:200]})",
                expected="weights in safetensors",
                action="fetch or train it again",
            ) from error
        own = head.state_dict()
        if found and all(found[name].shape == part.shape for name, part in own.items()):
            head.load_state_dict({name: part.float() for name, part in found.items()})
        return head


def word_vectors(backbone: Backbone) -> nn.Parameter:
    """The word vectors of a network, float [vocabulary, width]."""
    weight: nn.Parameter = backbone.network.get_input_embeddings().weight
    return weight


def read_head(folder: Path) -> Mapping[str, Tensor]:
    """The parts of a head by our names; nothing where the folder has none."""
    for path, table in ((folder / HEAD, (PARTS,)), (folder / WEIGHTS, NAMES)):
        if path.is_file():
            with safe_open(path, framework="pt") as file:
                there = set(file.keys())
                for names in table:
                    if there.issuperset(names):
                        return {ours: file.get_tensor(theirs) for ours, theirs in zip(PARTS, names, strict=True)}
    return {}
