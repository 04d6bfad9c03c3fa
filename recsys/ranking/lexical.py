"""BM25 over given pairs: the baseline for judged lists, and the ranker where no network is at hand."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from recsys.text.field_names import FIELDS
from recsys.text.words import words
from recsys.types import Scores

K1, B = 1.2, 0.75


class Bm25Ranker:
    """Scores pairs by BM25, with the statistics of one collection of texts.

    Args:
        frequencies: for each word, in how many texts of the collection it stands.
        texts: how many texts the collection has.
        mean_length: words of a text on average, above 0.

    Source: Robertson and Zaragoza, "The probabilistic relevance framework: BM25 and beyond", 2009, equation 3.15 with
    the idf of Lucene, log(1 + (N - n + .5) / (n + .5)), which is never negative.
    """

    name = "bm25"
    fields = FIELDS

    def __init__(self, frequencies: Mapping[str, int], *, texts: int, mean_length: float) -> None:
        self.frequencies = frequencies
        self.texts = texts
        self.mean_length = mean_length

    @classmethod
    def of_texts(cls, texts: Sequence[str]) -> Self:
        """A ranker with the statistics of these texts, such as `Catalogue.texts()`."""
        frequencies: Counter[str] = Counter()
        total = 0
        for text in texts:
            found = words(text)
            total += len(found)
            frequencies.update(set(found))
        return cls(frequencies, texts=len(texts), mean_length=max(total / max(len(texts), 1), 1.0))

    def score(self, queries: Sequence[str], texts: Sequence[str]) -> Scores:
        """BM25, float32 [pairs], 0 where no word of the query stands in the text; see `recsys.types.Ranker`."""
        asked = {query: Counter(words(query)) for query in dict.fromkeys(queries)}
        read = {text: Counter(words(text)) for text in dict.fromkeys(texts)}
        scores = (self.pair(asked[query], read[text]) for query, text in zip(queries, texts, strict=True))
        return np.fromiter(scores, dtype=np.float32, count=len(queries))

    def pair(self, query: Mapping[str, int], text: Mapping[str, int]) -> float:
        """BM25 of one pair of word counts; a word that stands twice in the query counts twice."""
        length = K1 * (1 - B + B * sum(text.values()) / self.mean_length)
        return math.fsum(
            times * self.idf(word) * text[word] * (K1 + 1) / (text[word] + length)
            for word, times in query.items()
            if word in text
        )

    def idf(self, word: str) -> float:
        """How telling a word is, 0 or more; a word that the collection lacks tells most."""
        count = self.frequencies.get(word, 0)
        return math.log(1 + (self.texts - count + 0.5) / (count + 0.5))
