"""The tower that reads a user's history: a causal transformer over product vectors, or a pooled bag of them.

SASRec: Kang and McAuley, arXiv 1808.09781; gated residuals as in LiGR and eSASRec, arXiv 2508.06450; what attention
adds for the time between two events as in T5 (arXiv 1910.10683, 2.1) and HSTU (arXiv 2402.17152, 3.1).
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from recsys.models.two_tower_config import TwoTowerConfig
from recsys.types import EVENT_CODES

MICROSECONDS_A_MINUTE = 60_000_000


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

    def forward(self, states: Tensor, bias: Tensor | None = None) -> Tensor:
        """float [batch, length, width] to the same shape; place i reads places up to i.

        Args:
            states: float [batch, length, width].
            bias: float [batch or 1, heads, length, length], what is added before the softmax; None adds nothing.
        """
        states = states + self._branch(states, self._attend(self.attention_norm(states), bias), gate=0)
        hidden = functional.gelu(self.forward_in(self.forward_norm(states)))
        return states + self._branch(states, self.forward_out(hidden), gate=1)

    def _attend(self, states: Tensor, bias: Tensor | None) -> Tensor:
        batch, length, width = states.shape
        parts = self.attention_in(states).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        # Written out: on a CPU the fused kernel's backward pass is several times slower on short histories.
        scores = query @ key.transpose(-1, -2) * (width // self.heads) ** -0.5
        scores = scores if bias is None else scores + bias
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
        self.distance = nn.Embedding(config.length, config.heads) if config.distances else None
        self.span = nn.Embedding(config.spans, config.heads) if config.spans else None
        for embedding in (self.distance, self.span):
            if embedding is not None:
                nn.init.zeros_(embedding.weight)
        self.attributes = nn.ModuleList([nn.Embedding(size, config.width, padding_idx=0) for size in config.attributes])
        for one in self.attributes:
            nn.init.normal_(cast(nn.Embedding, one).weight, std=0.02)
            with torch.no_grad():
                cast(nn.Embedding, one).weight[0].zero_()
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.blocks)])
        self.norm = nn.LayerNorm(config.width)

    def forward(
        self,
        vectors: Tensor,
        event_types: Tensor,
        times: Tensor | None = None,
        attributes: Tensor | None = None,
    ) -> Tensor:
        """The user's state behind each event.

        Args:
            vectors: float [batch, length, width], product vectors, oldest first, padded behind.
            event_types: int64 [batch, length], codes of EVENT_CODES.
            times: int64 [batch, length], microseconds; None where the network knows no time.
            attributes: int64 [batch, attributes], the users' codes, 0 where one is unknown; None where there are none.

        Returns:
            float [batch, length, width]; what stands behind a padded place means nothing.
        """
        states = vectors + self.event_type(event_types)
        if attributes is not None:
            for place, embedding in enumerate(self.attributes):
                states = states + embedding(attributes[:, place])[:, None]
        if self.position is not None:
            states = states + self.position(torch.arange(vectors.shape[1], device=vectors.device))
        states = functional.dropout(states, self.config.dropout, self.training)
        bias = self._bias(states, times)
        for block in self.blocks:
            states = block(states, bias)
        if self.config.pool == "mean":
            counts = torch.arange(1, states.shape[1] + 1, device=states.device).view(-1, 1)
            states = states.cumsum(dim=1) / counts
        return cast(Tensor, self.norm(states))

    def _bias(self, states: Tensor, times: Tensor | None) -> Tensor | None:
        """float [batch or 1, heads, length, length]: what attention adds for the events and the time between two."""
        bias = None
        if self.distance is not None:
            places = torch.arange(states.shape[1], device=states.device)
            bias = self.distance((places[:, None] - places).clamp(min=0)).permute(2, 0, 1)[None]
        if self.span is not None and times is not None:
            spans = span_buckets(times, buckets=self.config.spans)
            bias = (0.0 if bias is None else bias) + self.span(spans).permute(0, 3, 1, 2)
        return bias


def span_buckets(times: Tensor, *, buckets: int) -> Tensor:
    """The bucket of the time from each event back to each other: 0 within a minute, n from 2^(n-1) minutes on.

    Args:
        times: int64 [batch, length], microseconds.
        buckets: how many there are; the last one takes all that is longer.

    Returns:
        int64 [batch, length, length]; 0 where the other event is later.
    """
    minutes = (times[:, :, None] - times[:, None, :]).clamp(min=0) // MICROSECONDS_A_MINUTE
    return torch.log2(minutes.double().clamp(min=0.5)).floor().long().add(1).clamp(max=buckets - 1)
