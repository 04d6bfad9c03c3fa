"""Dense retrieval for query texts: a text encoder over a dense index."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from recsys.catalogue import Catalogue
from recsys.models.encode import Precision, encode_texts, prepare
from recsys.models.text_encoder import TextEncoder
from recsys.retrieval.dense import DenseIndex
from recsys.retrieval.images import ImageVectors
from recsys.retrieval.nearest import Kind
from recsys.retrieval.order import nothing
from recsys.retrieval.query_syntax import spoken
from recsys.text.tokenizer import TextTokenizer
from recsys.types import Candidates, Mask, Vectors


class DenseTextRetriever:
    """A retriever: encodes queries and searches the vectors of the products.

    Args:
        encoder: encodes queries; the same that encoded the products.
        tokenizer: of the same folder as the encoder.
        index: the products' vectors.
        images: what pictures add to them; None where there are none.
        precision: of encoding queries; see `recsys.models.encode`.
    """

    name = "dense"

    def __init__(
        self,
        encoder: TextEncoder,
        tokenizer: TextTokenizer,
        index: DenseIndex,
        *,
        images: ImageVectors | None = None,
        precision: Precision = "auto",
    ) -> None:
        self.encoder = encoder
        self.tokenizer = tokenizer
        self.index = index
        self.images = images
        self.precision = precision
        self.exact = index.exact

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def build(
        cls,
        catalogue: Catalogue,
        folder: Path,
        *,
        encoder: Path,
        kind: Kind | Literal["auto"] = "auto",
        precision: Precision = "auto",
        label: str = "",
    ) -> Self:
        """Encode a catalogue, write its dense index and open it.

        Args:
            catalogue: the products.
            folder: an empty or absent folder for the index.
            encoder: folder of a text encoder or stock backbone; it is not copied.
            kind: of the index; see `DenseIndex.build`.
            precision: of encoding; see `recsys.models.encode`.
            label: of the progress bar; none without.
        """
        network, tokenizer = prepare(TextEncoder.load(encoder), precision=precision), TextTokenizer.load(encoder)
        vectors = encode_texts(network, tokenizer, catalogue.texts(), precision=precision, label=label)
        return cls(network, tokenizer, DenseIndex.build(vectors, folder, kind=kind), precision=precision)

    @classmethod
    def open(cls, folder: Path, *, encoder: Path, images: Path | None = None, precision: Precision = "auto") -> Self:
        """The retriever over an index folder that `build` wrote with this encoder, and over its pictures' folder."""
        network, tokenizer = prepare(TextEncoder.load(encoder), precision=precision), TextTokenizer.load(encoder)
        seen = None if images is None else ImageVectors.open(images)
        return cls(network, tokenizer, DenseIndex.open(folder), images=seen, precision=precision)

    def encode(self, queries: Sequence[str]) -> Vectors:
        """float32 [queries, width], the vectors of query texts without their operators."""
        texts = [spoken(query) for query in queries]
        return encode_texts(self.encoder, self.tokenizer, texts, precision=self.precision)

    def retrieve(self, queries: Sequence[str], *, k: int, allowed: Mask | None = None) -> list[Candidates]:
        """The k products nearest to each query; see `recsys.types.Retriever`. A blank query has no candidates."""
        asked = [number for number, query in enumerate(queries) if spoken(query).strip()]
        vectors = self.encode([queries[number] for number in asked])
        found = self.index.search(vectors, k=k, allowed=allowed, source=self.name)
        answers = dict(zip(asked, found, strict=True))
        return [answers.get(number, nothing(self.name)) for number in range(len(queries))]
