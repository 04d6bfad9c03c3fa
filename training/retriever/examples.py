"""What the retriever learns from and is measured on, tokenised; and its batches."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recsys.text.normalise import normalise
from recsys.text.tokenizer import TextTokenizer, Tokens
from training.batches import Loader, Rows, scoring_batches, shuffled_batches
from training.fit import schedule_steps
from training.negatives.known import Known
from training.retriever.config import RetrieverConfig

Batch = dict[str, Any]
SURE = 1e-6  # a teacher that is surer than this is not heard beyond it


@dataclass(frozen=True, slots=True)
class Judged:
    """Judged pairs as two towers read them: what the validation part is measured on.

    Attributes:
        queries: tokens of the query texts.
        products: tokens of the product texts.
        query: int64 [pairs], rows of `queries`.
        product: int64 [pairs], rows of `products`.
        grades: float32 [pairs], on the shop's scale.
    """

    queries: Tokens
    products: Tokens
    query: NDArray[np.int64]
    product: NDArray[np.int64]
    grades: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.query)

    def take(self, rows: Rows) -> "Judged":
        """Some of the pairs, with the texts that they need."""
        (queries, query), (products, product) = (
            np.unique(numbers[rows], return_inverse=True) for numbers in (self.query, self.product)
        )
        return Judged(
            queries=self.queries.take(queries),
            products=self.products.take(products),
            query=query.astype(np.int64),
            product=product.astype(np.int64),
            grades=self.grades[rows],
        )


@dataclass(frozen=True, slots=True)
class Examples:
    """Pairs that are right, each with products that are wrong.

    Attributes:
        texts: of the queries, one spelling of each.
        queries: tokens of the query texts.
        products: tokens of the product texts.
        twins: int64 [products], equal where two texts are of one product or of its twins.
        query: int64 [pairs], rows of `queries`.
        product: int64 [pairs], rows of `products`.
        weights: float32 [pairs], mean 1.
        negatives: int64 [pairs, n], rows of `products`, -1 where there are fewer; n may be 0.
        teacher: float32 [pairs, 1 + n], the relevance of the pair and of its negatives, 0..1; NaN where unknown.
        known: everything that is right, by the rows of `queries` and by `twins`.
    """

    texts: list[str]
    queries: Tokens
    products: Tokens
    twins: NDArray[np.int64]
    query: NDArray[np.int64]
    product: NDArray[np.int64]
    weights: NDArray[np.float32]
    negatives: NDArray[np.int64]
    teacher: NDArray[np.float32]
    known: Known

    def __len__(self) -> int:
        return len(self.query)

    def without(self, texts: Collection[str]) -> "Examples":
        """The pairs but those of some queries, by normalised text; the others' negatives stay as they are."""
        kept = np.array([normalise(text) not in texts for text in self.texts], dtype=np.bool_)[self.query]
        weights = self.weights[kept]
        return replace(
            self,
            query=self.query[kept],
            product=self.product[kept],
            weights=(weights / weights.mean()).astype(np.float32) if kept.any() else weights,
            negatives=self.negatives[kept],
            teacher=self.teacher[kept],
        )


def loaders(
    train: Examples, judged: Judged | None, *, tokenizer: TextTokenizer, config: RetrieverConfig
) -> tuple[Loader, Loader | None, int]:
    """Training and validation batches, and the optimiser steps of the whole schedule."""

    def batches(epoch: int) -> list[Rows]:
        return shuffled_batches(len(train), batch_size=config.batch_size, seed=config.seed, epoch=epoch)

    first = Loader(batches, lambda rows: collate(train, rows, tokenizer=tokenizer))
    steps = schedule_steps(first, config)
    if judged is None:
        return first, None, steps
    lengths = judged.products.lengths[judged.product]
    fixed = scoring_batches(lengths, batch_size=256, processes=config.devices)
    return first, Loader(lambda epoch: fixed, lambda rows: collate_judged(judged, rows, tokenizer=tokenizer)), steps


def collate(examples: Examples, rows: Rows, *, tokenizer: TextTokenizer) -> Batch:
    """Some pairs: first the products of all pairs, then all their first negatives, their second ones and so on.

    A negative that is missing shows the first product, with -1 as its twin.
    """
    shown = np.concatenate([examples.product[rows], examples.negatives[rows].T.ravel()])
    filled = np.maximum(shown, 0)
    sure = np.clip(examples.teacher[rows], SURE, 1 - SURE)
    return {
        "queries": tokenizer.pad(examples.queries.take(examples.query[rows])),
        "products": tokenizer.pad(examples.products.take(filled)),
        "query": torch.from_numpy(examples.query[rows]),
        "twin": torch.from_numpy(np.where(shown < 0, -1, examples.twins[filled])),
        "weights": torch.from_numpy(examples.weights[rows]),
        "teacher": torch.from_numpy(np.log(sure) - np.log1p(-sure)),
    }


def collate_judged(judged: Judged, rows: Rows, *, tokenizer: TextTokenizer) -> Batch:
    """Queries and products of some judged pairs, padded to the longest of each."""
    return {
        "queries": tokenizer.pad(judged.queries.take(judged.query[rows])),
        "products": tokenizer.pad(judged.products.take(judged.product[rows])),
        "rows": torch.from_numpy(rows),
    }
