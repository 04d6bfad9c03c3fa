"""The tower that reads a product: id embedding + projected text vector + an embedding for each coded feature.

An id has a row of its own, or is the sum of some rows that all ids share, so that the table has any size: as in Serra
and Karatzoglou, "Getting deep recommenders fit" (RecSys 2017), with few rows to an id.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from recsys.models.two_tower_config import FIRST, PADDING, UNKNOWN, TwoTowerConfig


class ProductTower(nn.Module):
    """id embedding + projected text vector + embeddings of brand, category, price and the like."""

    def __init__(self, config: TwoTowerConfig) -> None:
        super().__init__()
        self.identity = nn.Embedding(
            config.hashed + FIRST if config.hashed else config.rows, config.width, padding_idx=PADDING
        )
        summed = config.hashes if config.hashed else 1
        shared = torch.zeros(config.rows, config.hashes, dtype=torch.int64) if config.hashed else None
        nn.init.normal_(self.identity.weight, std=(summed * config.width) ** -0.5)
        self.shared: Tensor | None
        self.register_buffer("shared", shared)
        with torch.no_grad():
            self.identity.weight[PADDING].zero_()
        self.text = nn.Linear(config.text_width, config.width, bias=False) if config.text_width else None
        self.centre: Tensor
        self.register_buffer("centre", torch.zeros(config.text_width))
        if self.text is not None:
            nn.init.normal_(self.text.weight, std=config.width**-0.5)
        self.features = nn.ModuleList([nn.Embedding(size, config.width, padding_idx=0) for size in config.codes])
        for embedding in self.features:
            # Smaller than an id's, which they share the vector with.
            nn.init.normal_(cast(nn.Embedding, embedding).weight, std=0.5 * config.width**-0.5)
            with torch.no_grad():
                cast(nn.Embedding, embedding).weight[0].zero_()

    def set_shared(self, buckets: Tensor) -> None:
        """Take int64 [products, hashes], the buckets of each product of the vocabulary, from 0."""
        if self.shared is not None:
            self.shared.copy_(shared_rows(buckets))

    def set_centre(self, text: Tensor) -> None:
        """Take the mean of float32 [products, text_width] out of all texts: what products share says nothing."""
        self.centre.copy_(text.mean(dim=0))

    def forward(self, rows: Tensor, text: Tensor | None = None, codes: Tensor | None = None) -> Tensor:
        """Product vectors.

        Args:
            rows: int64 [...], embedding rows.
            text: float [..., text_width], the products' text vectors; None where the network reads no text.
            codes: int64 [..., features], the products' codes, 0 where one is unknown; None where there are none.

        Returns:
            float [..., width].
        """
        vectors = cast(Tensor, self.identity(rows) if self.shared is None else self.identity(self.shared[rows]).sum(-2))
        if self.text is not None and text is not None:
            # Rows of zeros (no text) stay zeros.
            centred = torch.where(text.any(dim=-1, keepdim=True), text - self.centre, 0.0)
            vectors = vectors + self.text(functional.normalize(centred, dim=-1))
        if codes is not None:
            for place, embedding in enumerate(self.features):
                vectors = vectors + embedding(codes[..., place])
        return vectors


def shared_rows(buckets: Tensor) -> Tensor:
    """int64 [rows, hashes]: the rows of the table that make up each embedding row; padding and unknown share none.

    Args:
        buckets: int64 [products, hashes], from 0.
    """
    own = torch.full((FIRST, buckets.shape[1]), PADDING)
    own[UNKNOWN, 0] = UNKNOWN
    return torch.cat([own, buckets + FIRST])
