"""The fine-tuned relevance scorer as a ranker."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from recsys.models.encode import Precision, prepare, score_pairs
from recsys.models.ensemble import PairNetwork, load_cross_encoder
from recsys.text.tokenizer import TextTokenizer
from recsys.types import Scores


class CrossEncoderRanker:
    """Scores pairs with a cross-encoder: 0 means irrelevant, 1 the highest grade.

    Args:
        network: the cross-encoder, or several whose logits are averaged.
        tokenizer: of the same folder.
        precision: of the computation; see `recsys.models.encode`.
        deterministic: same bytes for a pair whatever its company, slower.
    """

    name = "cross-encoder"

    def __init__(
        self,
        network: PairNetwork,
        tokenizer: TextTokenizer,
        *,
        precision: Precision = "auto",
        deterministic: bool = False,
    ) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.precision = precision
        self.deterministic = deterministic

    @classmethod
    def load(cls, folder: Path, *, precision: Precision = "auto", deterministic: bool = False) -> Self:
        """The ranker of a folder that holds a cross-encoder and its tokenizer.

        Raises:
            BundleError: a file is absent, damaged or of another format.
        """
        network, tokenizer = load_cross_encoder(folder), TextTokenizer.load(folder)
        if not deterministic:
            prepare(network, precision=precision)
        return cls(network, tokenizer, precision=precision, deterministic=deterministic)

    @property
    def fields(self) -> Sequence[str]:
        """What the network was trained to read."""
        return self.network.fields

    def score(self, queries: Sequence[str], texts: Sequence[str]) -> Scores:
        """The expected grade over the highest grade, float32 [pairs], 0..1; see `recsys.types.Ranker`."""
        logits = score_pairs(
            self.network,
            self.tokenizer,
            queries,
            texts,
            precision=self.precision,
            deterministic=self.deterministic,
        )
        return sigmoid(logits)


def sigmoid(logits: NDArray[np.floating[Any]]) -> Scores:
    """1 / (1 + exp(-logit)), float32, without overflow; computed in float64, so that order survives far from 0."""
    wide = logits.astype(np.float64)
    share: Scores = np.exp(-np.logaddexp(0.0, -wide)).astype(np.float32)
    return share
