"""Cosine of two texts as a ranker: the encoder that is not fine-tuned is the baseline of every relevance scorer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from recsys.models.encode import Precision, encode_texts, prepare
from recsys.models.text_encoder import TextEncoder
from recsys.text.field_names import FIELDS
from recsys.text.tokenizer import TextTokenizer
from recsys.types import Scores


class CosineRanker:
    """Scores pairs by the cosine of their vectors, -1..1.

    Args:
        encoder: encodes queries and product texts.
        tokenizer: of the same folder.
        precision: of the computation; see `recsys.models.encode`.
        deterministic: same bytes for a pair whatever its company, slower.
    """

    name = "bi-encoder"
    fields = FIELDS

    def __init__(
        self,
        encoder: TextEncoder,
        tokenizer: TextTokenizer,
        *,
        precision: Precision = "auto",
        deterministic: bool = False,
    ) -> None:
        self.encoder = encoder
        self.tokenizer = tokenizer
        self.precision = precision
        self.deterministic = deterministic

    @classmethod
    def load(cls, folder: Path, *, precision: Precision = "auto", deterministic: bool = False) -> Self:
        """The ranker of a folder that holds a text encoder, or a stock backbone, and its tokenizer.

        Raises:
            BundleError: a file is absent, damaged or of another format.
        """
        encoder, tokenizer = TextEncoder.load(folder), TextTokenizer.load(folder)
        if not deterministic:
            prepare(encoder, precision=precision)
        return cls(encoder, tokenizer, precision=precision, deterministic=deterministic)

    def score(self, queries: Sequence[str], texts: Sequence[str]) -> Scores:
        """Cosines, float32 [pairs]; a text that stands in several pairs is encoded once. See `recsys.types.Ranker`."""
        different = list(dict.fromkeys([*queries, *texts]))
        vectors = encode_texts(
            self.encoder, self.tokenizer, different, precision=self.precision, deterministic=self.deterministic
        )
        where = {text: number for number, text in enumerate(different)}
        left = vectors[[where[query] for query in queries]]
        right = vectors[[where[text] for text in texts]]
        cosines: Scores = np.clip((left.astype(np.float64) * right).sum(axis=1), -1.0, 1.0).astype(np.float32)
        return cosines
