"""Who looks for candidates: BM25 and the text encoder over the whole catalogue, indexed once in the working folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recsys.catalogue import Catalogue
from recsys.engine.text_vectors import encoder_digest, text_vectors
from recsys.models.encode import Precision, encode_texts, prepare
from recsys.models.text_encoder import TextEncoder
from recsys.retrieval.dense import DenseIndex
from recsys.retrieval.lexical import LexicalIndex
from recsys.retrieval.query_syntax import spoken
from recsys.retrieval.scan import exact_scores
from recsys.storage import atomic_folder
from recsys.text.tokenizer import TextTokenizer
from recsys.types import Positions, Scores, Vectors
from training.negatives.config import MiningConfig


@dataclass(frozen=True)
class Searchers:
    """What mining asks.

    Attributes:
        lexical: BM25; None where it is no miner.
        dense: the catalogue's vectors; None where neither a miner nor a margin needs them.
        vectors: float32 [queries, width], of all queries; empty without `dense`.
        nearest: whether the encoder is a miner, not the measure of the margins alone.
    """

    lexical: LexicalIndex | None
    dense: DenseIndex | None
    vectors: Vectors | None
    nearest: bool

    def find(self, texts: Sequence[str], *, first: int, k: int) -> list[list[Positions]]:
        """For each of some neighbouring queries the k best of every miner.

        Args:
            texts: of the queries.
            first: the number of the first of them.
            k: how many.
        """
        lists = []
        if self.lexical is not None:
            lists.append([found.positions for found in self.lexical.retrieve(texts, k=k)])
        if self.dense is not None and self.vectors is not None and self.nearest:
            asked = self.vectors[first : first + len(texts)]
            lists.append([found.positions for found in self.dense.search(asked, k=k)])
        return [list(row) for row in zip(*lists, strict=True)]

    def cosines(self, query: int, positions: Positions) -> Scores | None:
        """float32 [positions]: how near they are to a query; None where no encoder was asked for."""
        if self.dense is None or self.vectors is None:
            return None
        return exact_scores(self.dense.vectors, self.dense.rows[positions], self.vectors[query])


def open_searchers(
    texts: Sequence[str],
    catalogue: Catalogue,
    *,
    encoder: Path,
    config: MiningConfig,
    folder: Path,
    precision: Precision,
) -> Searchers:
    """Index the catalogue, unless an earlier run has, and encode the queries.

    Args:
        texts: of all queries.
        catalogue: the products.
        encoder: folder of the text encoder.
        config: who searches, and whether there are margins.
        folder: keeps the indexes; named inside it by the catalogue's and the encoder's digests.
        precision: of encoding.
    """
    lexical = dense = vectors = None
    if "bm25" in config.miners:
        place = folder / f"words-{catalogue.digest[:16]}"
        if not place.exists():
            with atomic_folder(place) as partial:
                LexicalIndex.build(catalogue, partial)
        lexical = LexicalIndex.open(place)
    nearest = "encoder" in config.miners
    if nearest or config.absolute_margin is not None or config.relative_margin is not None:
        place = folder / f"vectors-{catalogue.digest[:16]}-{encoder_digest(encoder)[:16]}"
        if not place.exists():
            with atomic_folder(place) as partial:
                DenseIndex.build(text_vectors(catalogue.texts(), encoder, cache=None), partial)
        dense = DenseIndex.open(place)
        network = prepare(TextEncoder.load(encoder), precision=precision)
        asked = [spoken(text) for text in texts]
        vectors = encode_texts(network, TextTokenizer.load(encoder), asked, precision=precision)
    return Searchers(lexical, dense, vectors, nearest)
