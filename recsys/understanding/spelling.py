"""Spelling by the catalogue's own words: what it does not know may be a slip of a word that it knows.

A word that BM25 can find is never touched, nor is one with a digit in it, nor what an operator or quotes stand around.
A word that the catalogue lacks but English has ("couch" in a shop of sofas) is no slip, or, where it is a rare word,
not with confidence.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from importlib.resources import files
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple, Self

import polars as pl
from symspellpy import SymSpell, Verbosity

from recsys.catalogue import Catalogue
from recsys.meaning import Correction
from recsys.retrieval.lexical import LANGUAGE, WEIGHTS
from recsys.retrieval.lexical_schema import LONGEST_WORD, analyser
from recsys.retrieval.query_syntax import free_words
from recsys.text.fields import field_texts
from recsys.text.normalise import normalise
from recsys.understanding.slips import slip_cost
from recsys.understanding.tokens import TOKEN

WORDS, PAIRS = "words.parquet", "pairs.parquet"
REPLACED, NAMED = 0.7, 0.2
"""Corrections at least this sure replace what was typed; those at least that sure stand beside it."""
SHORTEST, DISTANCE = 4, 2
LONG = 5  # letters of a word in which two slips are not thought of
SURE = 0.95
CERTAIN = {4: 0.65, 5: 0.85}
"""How sure a lone candidate at an easy slip is, by the letters typed: short words have neighbours by chance."""
EASY = 1.2  # cost up to which a slip needs no excuse; beyond, the confidence falls by e to the rest
STEEPNESS = 2.5  # candidates weigh by the root of their frequency, and e to minus this times their cost
TOGETHER = 0.9  # of words that belong together and were typed apart, or the other way round
REAL = 0.35  # what is left of the confidence for a word that English has
COMMON = 20_000  # the rank up to which an English word is never taken for a slip
ROWS = 50_000  # products counted at once
MEANT = 40_000  # the most frequent words, of which slips are made; a bigger dictionary mostly holds others' slips
SPLIT = 200_000  # pairs of words known to stand together
CANDIDATES = 8
UNKNOWN = 8


class Typed(NamedTuple):
    """A word of the query: `query[start:end]`, and its normal spelling."""

    start: int
    end: int
    word: str


@cache
def english() -> dict[str, int]:
    """The words of the frequency list of English that comes with symspellpy, each with its rank from 0 to 82,833."""
    path = files("symspellpy") / "frequency_dictionary_en_82_765.txt"
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    return {line.split(" ", 1)[0]: rank for rank, line in enumerate(lines)}


def count_words(catalogue: Catalogue) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The words of a catalogue with how often they stand, by their fields' weights in BM25, and pairs of neighbours.

    Returns:
        word, term (as BM25 knows it), count; and pair ("sofa bed"), count: those that titles write twice or more.
    """
    parts = [
        pl.DataFrame({"word": field_texts(part, name)}).select(split_words()).explode("word").drop_nulls()
        .group_by("word").agg(pl.len().cast(pl.Int64).alias("count") * weight)
        for part in catalogue.frame.iter_slices(ROWS)
        for name, weight in WEIGHTS.items()
    ]  # fmt: skip
    empty = pl.DataFrame(schema={"word": pl.String, "count": pl.Int64})
    counts = pl.concat([empty, *parts]).group_by("word").agg(pl.col("count").sum())
    terms = analyser(LANGUAGE)
    found = [terms.analyze(word)[:1] for word in counts["word"]]
    known = counts.with_columns(term=pl.Series([one[0] if one else None for one in found], dtype=pl.String))
    return (
        known.drop_nulls().select("word", "term", "count").sort("count", "word", descending=[True, False]),
        count_pairs(catalogue.frame["title"]),
    )


def split_words() -> pl.Expr:
    """The words of a text, in lower case."""
    plain = pl.col("word").str.normalize("NFKC").str.to_lowercase()
    return plain.str.extract_all(r"[\p{L}\p{M}\p{N}]+")


def count_pairs(titles: pl.Series) -> pl.DataFrame:
    """pair, count: neighbours in titles, the most frequent first; those that stand together only once say nothing."""
    row = titles.alias("word").to_frame().with_row_index("title").select("title", split_words())
    words = row.explode("word").drop_nulls()
    pairs = words.with_columns(next=pl.col("word").shift(-1), same=pl.col("title") == pl.col("title").shift(-1))
    joined = pairs.filter(pl.col("same")).select(pair=pl.concat_str("word", "next", separator=" "))
    counted = joined.group_by("pair").agg(pl.len().cast(pl.Int64).alias("count")).filter(pl.col("count") > 1)
    return counted.sort("count", "pair", descending=[True, False]).head(SPLIT)


class Speller:
    """Corrects the words of queries.

    Args:
        words: word, term, count, the most frequent first.
        pairs: pair, count.
    """

    def __init__(self, words: pl.DataFrame, pairs: pl.DataFrame) -> None:
        self.terms = frozenset(words["term"])
        self.words: Mapping[str, int] = dict(zip(words["word"], words["count"], strict=True))
        self.pairs = frozenset(pairs["pair"])
        self.analyser = analyser(LANGUAGE)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The speller of a folder; the files' own errors pass."""
        return cls(pl.read_parquet(folder / WORDS), pl.read_parquet(folder / PAIRS))

    @cached_property
    def dictionary(self) -> SymSpell:
        """The words that a slip may have been, made when the first unknown word comes: a second for 40,000 words."""
        made = SymSpell(max_dictionary_edit_distance=DISTANCE, prefix_length=7)
        least = 2 if len(self.words) > 1000 else 1
        likely = (word for word, count in self.words.items() if count >= least and is_likely(word))
        for word in islice(likely, MEANT):
            made.create_dictionary_entry(word, self.words[word])
        return made

    def knows(self, word: str) -> bool:
        """True for what BM25 may find, and for what is no word to correct: too short, too long, digits in it."""
        if not word.isalpha() or len(word) > LONGEST_WORD:
            return True
        found = self.analyser.analyze(word)
        return not found or found[0] in self.terms

    def correct(self, query: str) -> tuple[Correction, ...]:
        """The corrections of a query in its order; none where every word is known.

        Only the first few unknown words are looked at: a query of many is in another language, not mistyped.
        """
        row = [
            Typed(start + match.start(), start + match.end(), normalise(match.group()))
            for start, end in free_words(query, fields=WEIGHTS)
            for match in TOKEN.finditer(query[start:end])
        ]
        unknown = [place for place, one in enumerate(row) if not self.knows(one.word)][:UNKNOWN]
        done = -1
        corrections: list[Correction] = []
        for place in unknown:
            if place <= done:
                continue
            joined = self.joined(query, row[max(place - 1, done + 1) : place + 2])
            found = joined or self.alone(row[place])
            if found is not None:
                corrections.append(found)
                done = max(number for number, one in enumerate(row) if one.start < found.end)
        return tuple(corrections)

    def joined(self, query: str, row: Sequence[Typed]) -> Correction | None:
        """Two neighbours that the catalogue writes as one word."""
        for one, other in pairwise(row):
            together = one.word + other.word
            if together in self.words and not query[one.end : other.start].strip(" -"):
                return correction(one.start, other.end, query[one.start : other.end], together, TOGETHER)
        return None

    def alone(self, typed: Typed) -> Correction | None:
        """What one unknown word may have been meant to be; None where nothing is near."""
        word = typed.word
        rank = english().get(word)
        if rank is not None and rank < COMMON:
            return None
        real = 1.0 if rank is None else REAL
        best, confidence = self.apart(word), TOGETHER * real
        nearest, chance = self.nearest(word)
        if not best or chance * real > confidence:
            best, confidence = nearest, chance * real
        return correction(typed.start, typed.end, word, best, confidence) if best and confidence >= NAMED else None

    def apart(self, word: str) -> str:
        """The pair of words that titles write apart, "" where there is none."""
        cuts = (f"{word[:place]} {word[place:]}" for place in range(2, len(word) - 1))
        return next((pair for pair in cuts if pair in self.pairs), "")

    def nearest(self, word: str) -> tuple[str, float]:
        """The likeliest word that a slip made this of, and how sure that is; ("", 0) where none is near."""
        if len(word) < SHORTEST:
            return "", 0.0
        reach = DISTANCE if len(word) > LONG else 1
        near = self.dictionary.lookup(word, Verbosity.CLOSEST, max_edit_distance=reach)[:CANDIDATES]
        if not near:
            return "", 0.0
        costs = [slip_cost(word, one.term) for one in near]
        weights = [math.sqrt(one.count) * math.exp(-STEEPNESS * cost) for one, cost in zip(near, costs, strict=True)]
        place = max(range(len(near)), key=lambda number: (weights[number], near[number].term))
        share = weights[place] / sum(weights)
        return near[place].term, share * CERTAIN.get(len(word), SURE) * min(1.0, math.exp(EASY - costs[place]))


def is_likely(word: str) -> bool:
    """True for a word that people may mean: letters only, neither too short nor too long."""
    return SHORTEST <= len(word) <= LONGEST_WORD and word.isalpha()


def correction(start: int, end: int, typed: str, corrected: str, confidence: float) -> Correction:
    """A correction that replaces where it is sure enough."""
    return Correction(start, end, typed, corrected, confidence, replaced=confidence >= REPLACED)
