"""A two-tower recommender: one tower reads a user's history, the other a product's id and text; they meet in a product.

The product tower adds an id embedding and a projected text vector. The user tower is a causal transformer over the
product vectors of the history (SASRec: Kang and McAuley, arXiv 1808.09781; gated residuals as in LiGR and eSASRec,
arXiv 2508.06450), so the state behind each event depends on that event and on earlier ones alone.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from recsys.errors import BundleError
from recsys.types import EVENT_CODES

PADDING, UNKNOWN, FIRST = 0, 1, 2
"""Embedding rows: padding, any product without an own row, the first product of the vocabulary."""


@dataclass(frozen=True, slots=True)
class TwoTowerConfig:
    """The shape of the network.

    Attributes:
        rows: embedding rows, padding and unknown included.
        text_width: width of the text vectors; 0 leaves text out.
        width: width of product and user vectors.
        blocks: transformer blocks of the user tower; 0 leaves a pooled bag of products.
        heads: attention heads; divides `width`.
        expansion: hidden width of the feed-forward layers, in multiples of `width`.
        length: how many of the latest events the user tower reads.
        dropout: share of activations dropped in training, 0 to 1.
        gated: whether a learned gate scales each residual branch.
        positions: whether the place in the history is embedded; False reads it as a set that grows.
        distinct: whether a product is read once, where it first occurs, however often it comes back.
        pool: what stands for the user: the state behind the latest event, or the mean of all states so far.
        similarity: free inner product, or cosine divided by `temperature`.
        temperature: divisor of the cosine, above 0.
    """

    rows: int
    text_width: int = 0
    width: int = 128
    blocks: int = 2
    heads: int = 2
    expansion: int = 2
    length: int = 50
    dropout: float = 0.3
    gated: bool = False
    positions: bool = True
    distinct: bool = False
    pool: Literal["last", "mean"] = "last"
    similarity: Literal["inner", "cosine"] = "inner"
    temperature: float = 0.05


class ProductTower(nn.Module):
    """id embedding + projected text vector."""

    def __init__(self, config: TwoTowerConfig) -> None:
        super().__init__()
        self.identity = nn.Embedding(config.rows, config.width, padding_idx=PADDING)
        nn.init.normal_(self.identity.weight, std=config.width**-0.5)
        with torch.no_grad():
            self.identity.weight[PADDING].zero_()
        self.text = nn.Linear(config.text_width, config.width, bias=False) if config.text_width else None
        self.centre: Tensor
        self.register_buffer("centre", torch.zeros(config.text_width))
        if self.text is not None:
            nn.init.normal_(self.text.weight, std=config.width**-0.5)

    def set_centre(self, text: Tensor) -> None:
        """Take the mean of float32 [products, text_width] out of all texts: what products share says nothing."""
        self.centre.copy_(text.mean(dim=0))

    def forward(self, rows: Tensor, text: Tensor | None = None) -> Tensor:
        """Product vectors.

        Args:
            rows: int64 [...], embedding rows.
            text: float [..., text_width], the products' text vectors; None where the network reads no text.

        Returns:
            float [..., width].
        """
        vectors = cast(Tensor, self.identity(rows))
        if self.text is not None and text is not None:
            # Rows of zeros (no text) stay zeros.
            centred = torch.where(text.any(dim=-1, keepdim=True), text - self.centre, 0.0)
            vectors = vectors + self.text(functional.normalize(centred, dim=-1))
        return vectors


class Block(nn.Module):
    """One pre-normalised transformer block with a causal mask."""

    def __init__(self, config: TwoTowerConfig) -> None:
        super().__init__()
        width, hidden = config.width, config.width * config.expansion
        self.heads = config.heads
        self.dropout = config.dropout
        self.attention_norm = nn.LayerNorm(width)
        self.attention_in = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.forward_norm = nn.LayerNorm(width)
        self.forward_in = nn.Linear(width, hidden)
        self.forward_out = nn.Linear(hidden, width)
        self.gates = nn.ModuleList([nn.Linear(width, width) for _ in range(2)]) if config.gated else None

    def forward(self, states: Tensor) -> Tensor:
        """float [batch, length, width] to the same shape; place i reads places up to i."""
        states = states + self._branch(states, self._attend(self.attention_norm(states)), gate=0)
        hidden = functional.gelu(self.forward_in(self.forward_norm(states)))
        return states + self._branch(states, self.forward_out(hidden), gate=1)

    def _attend(self, states: Tensor) -> Tensor:
        batch, length, width = states.shape
        parts = self.attention_in(states).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        # Written out: on a CPU the fused kernel's backward pass is several times slower on short histories.
        scores = query @ key.transpose(-1, -2) * (width // self.heads) ** -0.5
        later = torch.ones(length, length, dtype=torch.bool, device=states.device).triu(1)
        read = scores.masked_fill(later, -torch.inf).softmax(dim=-1).to(value.dtype) @ value
        return cast(Tensor, self.attention_out(read.transpose(1, 2).reshape(batch, length, width)))

    def _branch(self, states: Tensor, branch: Tensor, *, gate: int) -> Tensor:
        branch = self._drop(branch)
        return branch if self.gates is None else branch * torch.sigmoid(self.gates[gate](states))

    def _drop(self, states: Tensor) -> Tensor:
        return functional.dropout(states, self.dropout, self.training)


class UserTower(nn.Module):
    """A causal transformer over the product vectors of a history."""

    def __init__(self, config: TwoTowerConfig) -> None:
        super().__init__()
        self.config = config
        self.position = nn.Embedding(config.length, config.width) if config.positions else None
        self.event_type = nn.Embedding(len(EVENT_CODES), config.width)
        for embedding in (self.position, self.event_type):
            if embedding is not None:
                nn.init.normal_(embedding.weight, std=0.02)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.blocks)])
        self.norm = nn.LayerNorm(config.width)

    def forward(self, vectors: Tensor, event_types: Tensor) -> Tensor:
        """The user's state behind each event.

        Args:
            vectors: float [batch, length, width], product vectors, oldest first, padded behind.
            event_types: int64 [batch, length], codes of EVENT_CODES.

        Returns:
            float [batch, length, width]; what stands behind a padded place means nothing.
        """
        states = vectors + self.event_type(event_types)
        if self.position is not None:
            states = states + self.position(torch.arange(vectors.shape[1], device=vectors.device))
        states = functional.dropout(states, self.config.dropout, self.training)
        for block in self.blocks:
            states = block(states)
        if self.config.pool == "mean":
            counts = torch.arange(1, states.shape[1] + 1, device=states.device).view(-1, 1)
            states = states.cumsum(dim=1) / counts
        return cast(Tensor, self.norm(states))


class TwoTower(nn.Module):
    """Both towers; a user likes a product as much as their vectors' inner product says."""

    def __init__(self, config: TwoTowerConfig) -> None:
        super().__init__()
        self.config = config
        self.products = ProductTower(config)
        self.users = UserTower(config)

    def encode_products(self, rows: Tensor, text: Tensor | None = None) -> Tensor:
        """float [n, width] for int64 [n] rows and float [n, text_width] text; unit length where cosine is asked."""
        vectors = cast(Tensor, self.products(rows, text))
        return vectors if self.config.similarity == "inner" else functional.normalize(vectors.float(), dim=-1)

    def encode_states(self, vectors: Tensor, event_types: Tensor) -> Tensor:
        """The user vector behind every event.

        Args:
            vectors: float [batch, length, width] from `encode_products`, zeros at padded places behind.
            event_types: int64 [batch, length].

        Returns:
            float [batch, length, width], to be multiplied with product vectors; the temperature is applied.
        """
        states = cast(Tensor, self.users(vectors, event_types))
        if self.config.similarity == "inner":
            return states
        return functional.normalize(states.float(), dim=-1) / self.config.temperature

    def encode_users(self, vectors: Tensor, event_types: Tensor, lengths: Tensor) -> Tensor:
        """The user vector behind the latest event; see `encode_states`.

        Args:
            vectors: float [batch, length, width].
            event_types: int64 [batch, length].
            lengths: int64 [batch], events of each history, at least 1.

        Returns:
            float [batch, width].
        """
        states = self.encode_states(vectors, event_types)
        return states[torch.arange(len(states), device=states.device), lengths - 1]

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors into the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(asdict(self.config), indent=2) + "\n", encoding="utf-8")
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        save_file(weights, folder / "model.safetensors")

    @classmethod
    def load(cls, folder: Path) -> "TwoTower":
        """Read what `save` wrote, ready to answer.

        Raises:
            BundleError: a file is missing or does not fit the other.
        """
        try:
            network = cls(TwoTowerConfig(**json.loads((folder / "config.json").read_text(encoding="utf-8"))))
            network.load_state_dict(load_file(folder / "model.safetensors"))
        except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
            raise BundleError(
                f"{folder}: {' '.join(str(error).split())[:200]}",
                expected="config.json and model.safetensors of one two-tower network",
                action="train the stage again with `recsys train two-tower`",
            ) from error
        return network.eval()
