"""Training pairs written anew in each epoch: their texts, and the tokens of one batch as an epoch shows them.

What a row shows depends on (seed, epoch, row) alone, so a run that was killed goes on with the same texts, and nothing
of an epoch has to be kept: each batch tokenises its own changed rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from recsys.errors import UsageError
from recsys.models.cross_encoder import CrossEncoder
from recsys.text.normalise import normalise
from recsys.text.parts import Parts, join_parts
from recsys.text.tokenizer import TextTokenizer, Tokens
from training.augment import Synonyms, drop_parts, drop_words, misspell, replace_synonyms
from training.batches import FILLING, Rows
from training.relevance.config import RelevanceConfig
from training.synonyms import near_synonyms, read_synonyms


@dataclass(frozen=True, slots=True)
class PairTexts:
    """What the tokens of judged pairs were made of; each query and product stands once.

    Attributes:
        queries: their texts.
        products: name and words of each field that is read.
        query: int64 [pairs], into `queries`.
        product: int64 [pairs], into `products`.
        judged: bool [pairs], False where nobody judged the pair, whatever grade it is learned with.
        titles: of the whole catalogue, to learn near-synonyms from.
    """

    queries: Sequence[str]
    products: Sequence[Parts]
    query: NDArray[np.int64]
    product: NDArray[np.int64]
    judged: NDArray[np.bool_]
    titles: Sequence[str] = ()

    def take(self, rows: NDArray[np.int64]) -> "PairTexts":
        """Those of some pairs."""
        return replace(self, query=self.query[rows], product=self.product[rows], judged=self.judged[rows])

    def join(self, other: "PairTexts") -> "PairTexts":
        """Those of both, one behind the other."""
        return PairTexts(
            queries=[*self.queries, *other.queries],
            products=[*self.products, *other.products],
            query=np.concatenate([self.query, other.query + len(self.queries)]),
            product=np.concatenate([self.product, other.product + len(self.products)]),
            judged=np.concatenate([self.judged, other.judged]),
            titles=[*self.titles, *other.titles],
        )

    def at(self, row: int) -> tuple[str, Parts]:
        """Query and product of one pair."""
        return self.queries[self.query[row]], self.products[self.product[row]]


class Redraw:
    """Writes training pairs anew.

    Rows of epoch e are numbered from e x pairs on, so that a number names the epoch and the row.

    Args:
        tokens: of the pairs as they are.
        texts: of the pairs.
        tokenizer: of the backbone.
        config: the switches of augmentation, seed and max_length.
        synonyms: words and phrases that may be replaced.
    """

    def __init__(
        self, tokens: Tokens, *, texts: PairTexts, tokenizer: TextTokenizer, config: RelevanceConfig, synonyms: Synonyms
    ) -> None:
        self.tokens, self.texts, self.tokenizer = tokens, texts, tokenizer
        self.config, self.synonyms = config, synonyms

    def number(self, batches: Sequence[Rows], *, epoch: int) -> list[Rows]:
        """The batches of an epoch (0-based) in numbers of `read`; FILLING stays."""
        return [np.where(rows == FILLING, FILLING, rows + epoch * len(self.tokens)) for rows in batches]

    def read(self, numbers: Rows) -> tuple[Rows, Tokens]:
        """The rows of some numbers, and their tokens as their epochs show them; FILLING shows the first row."""
        filling = numbers == FILLING
        epochs, rows = np.divmod(np.where(filling, 0, numbers), len(self.tokens))
        drawn = [self.write(epoch=int(epoch), row=int(row)) for epoch, row in zip(epochs, rows, strict=True)]
        fresh = np.array([pair != self.plain(int(row)) for pair, row in zip(drawn, rows, strict=True)], dtype=bool)
        tokens = self.tokens.take(rows[~fresh])
        if fresh.any():
            queries, products = zip(*(pair for pair, new in zip(drawn, fresh, strict=True) if new), strict=True)
            length = self.config.max_length
            tokens = tokens.join(self.tokenizer.encode(queries, pairs=products, max_length=length))
        order = np.argsort(np.concatenate([np.flatnonzero(~fresh), np.flatnonzero(fresh)]))
        return np.where(filling, FILLING, rows), tokens.take(order)

    def plain(self, row: int) -> tuple[str, str]:
        """Query and product text as they are."""
        query, parts = self.texts.at(row)
        return query, join_parts(parts)

    def write(self, *, epoch: int, row: int) -> tuple[str, str]:
        """Query and product text as an epoch shows them."""
        config, random = self.config, np.random.default_rng((self.config.seed, epoch, row))
        query, parts = self.texts.at(row)
        shares = {"share": config.field_dropout, "attribute_share": config.attribute_dropout}
        product = join_parts(drop_parts(parts, **shares, random=random))
        query, product = (
            drop_words(
                replace_synonyms(text, synonyms=self.synonyms, share=config.synonyms, random=random),
                share=config.word_dropout,
                random=random,
            )
            for text in (query, product)
        )
        return misspell(query, share=config.typos, random=random), product


def new_redraw(
    tokens: Tokens,
    *,
    texts: PairTexts | None,
    grades: NDArray[np.float32],
    network: CrossEncoder,
    tokenizer: TextTokenizer,
    config: RelevanceConfig,
) -> Redraw | None:
    """What writes the training pairs anew; None where all switches of augmentation are off.

    Args:
        tokens: of the pairs.
        texts: of the pairs.
        grades: float32 [pairs], by which judgments speak against near-synonyms; NaN for a pair without one.
        network: whose word vectors tell near-synonyms.
        tokenizer: of the network.
        config: the switches.

    Raises:
        UsageError: a switch is on and the pairs have no texts.
    """
    if not config.augments:
        return None
    if texts is None:
        raise UsageError(
            "pairs without their texts can't be augmented",
            expected="pairs that were read from a snapshot with the same settings",
            action="turn synonyms, typos and dropout of words, fields and attributes off",
        )
    synonyms = known_synonyms(texts, grades=grades, network=network, tokenizer=tokenizer, config=config)
    return Redraw(tokens, texts=texts, tokenizer=tokenizer, config=config, synonyms=synonyms)


def known_synonyms(
    texts: PairTexts,
    *,
    grades: NDArray[np.float32],
    network: CrossEncoder,
    tokenizer: TextTokenizer,
    config: RelevanceConfig,
) -> Synonyms:
    """The shop's own synonyms and those learned; none where none are replaced. Arguments as for `new_redraw`."""
    if not config.synonyms:
        return {}
    own = read_synonyms(Path(config.synonyms_file)) if config.synonyms_file else {}
    asked, shown = texts.queries, [join_parts(parts) for parts in texts.products]
    told = np.where(texts.judged, grades, np.float32(np.nan))
    rows = zip(texts.query.tolist(), texts.product.tolist(), told.tolist(), strict=True)
    learned = near_synonyms(
        texts.titles,
        vectors=lambda words: word_vectors(words, network=network, tokenizer=tokenizer),
        near=config.near,
        judged=((asked[query], shown[product], grade) for query, product, grade in rows if not isnan(grade)),
        seed=config.seed,
    )
    both = {phrase: dict.fromkeys((*own.get(phrase, ()), *learned.get(phrase, ()))) for phrase in (*learned, *own)}
    return {phrase: tuple(others) for phrase, others in both.items()}


def word_vectors(words: Sequence[str], *, network: CrossEncoder, tokenizer: TextTokenizer) -> NDArray[np.float32]:
    """float32 [words, width] of length 1: the mean of a word's pieces in the table of word vectors, less the table's.

    Args:
        words: normalised.
        network: whose table is read.
        tokenizer: of the network.
    """
    table = network.backbone.network.get_input_embeddings().weight.detach().float().cpu()
    tokens = tokenizer.encode([normalise(word) for word in words])
    inner = [
        tokens.ids[start + 1 : stop - 1] for start, stop in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True)
    ]
    centre = table.mean(dim=0)
    means = torch.stack([table[torch.from_numpy(ids).long()].mean(dim=0) - centre for ids in inner])
    return np.asarray(torch.nn.functional.normalize(means, dim=1))
