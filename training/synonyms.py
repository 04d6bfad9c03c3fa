"""Words that may stand for one another: learned from a catalogue and its judgments, or read from a shop's own file.

Near vectors alone make synonyms of red and blue: they are used alike and exclude each other. What tells them from
sofa and couch is that shops write real synonyms into one title, and that buyers who ask for one accept the other.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys.errors import UsageError
from recsys.text.normalise import normalise
from training.augment import LETTERS, WORD

Vectors = Callable[[Sequence[str]], NDArray[np.float32]]
Judged = Iterable[tuple[str, str, float]]
Learned = dict[str, tuple[str, ...]]
LARGEST = 4000  # words that are compared
TITLES = 100_000  # titles that are read
RARE, SHORT = 5, 3  # fewer titles, or fewer letters: too little is known of the word
ALIKE = 0.2  # cosine of the words that stand beside the two
TOGETHER = 10.0  # times as often in one title as chance would have it
WITNESSES = 3  # judged pairs before judgments may speak against two words
ACCEPTED = 0.8  # of the mean grade that the word itself has, its synonym must have


def near_synonyms(
    titles: Sequence[str], *, vectors: Vectors, near: float, judged: Judged = (), seed: int = 0
) -> Learned:
    """Pairs of words that are near by their vectors and stand together in similar titles.

    Two words of letters are near-synonyms where the cosine of their vectors is at least `near`, that of the words they
    stand beside (positive pointwise mutual information) at least .2, where they share titles ten times as often as by
    chance, and where judgments don't speak against it: titles that have only the second word, shown to queries with
    the first, have at least .8 of the mean grade of titles with the first.

    Args:
        titles: of the catalogue; of more than 100,000 a random sample is read.
        vectors: float32 [words, width] of length 1, the vector of each word.
        near: the least cosine of two vectors, 0..1.
        judged: query, product text and grade of the training pairs.
        seed: of the sample.

    Returns:
        For each word its near-synonyms, nearest first.

    Source: Levy and Goldberg 2014, "Neural word embedding as implicit matrix factorization", for the PPMI vectors.
    """
    if near >= 1:
        return {}
    sample: Sequence[str] = titles
    if len(titles) > TITLES:
        drawn = np.random.default_rng(seed).choice(len(titles), TITLES, replace=False)
        sample = [titles[number] for number in drawn]
    read = [frozenset(letter_words(title)) for title in sample]
    counts = Counter(word for title in read for word in title)
    words = sorted((word for word, count in counts.items() if count >= RARE), key=lambda word: (-counts[word], word))
    words = words[:LARGEST]
    if not words:
        return {}
    alike, times = company(read, words)
    cosines = np.asarray(vectors(words)) @ np.asarray(vectors(words)).T
    first, second = np.nonzero(
        (cosines >= near) & (alike >= ALIKE) & (times >= TOGETHER) & ~np.eye(len(words), dtype=bool)
    )
    found: dict[str, list[str]] = {}
    for one, other in sorted(zip(first, second, strict=True), key=lambda pair: -cosines[pair]):
        found.setdefault(words[one], []).append(words[other])
    return accepted(found, judged)


def company(titles: Sequence[frozenset[str]], words: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """How alike the company of two words is, and how much oftener than by chance they share a title.

    Args:
        titles: the words of each.
        words: those that are compared, each in some title.

    Returns:
        Two float32 [words, words]: the cosine of their PPMI vectors, and observed over expected titles.
    """
    number = {word: place for place, word in enumerate(words)}
    size = len(words)
    shared = np.zeros(size * size, dtype=np.int64)
    pending: list[int] = []
    for last, title in enumerate(titles, start=1):
        known = sorted(number[word] for word in title if word in number)
        pending += [one * size + other for one, other in combinations(known, 2)]
        if len(pending) > size * size or last == len(titles):
            shared += np.bincount(np.asarray(pending, dtype=np.int64), minlength=size * size)
            pending = []
    pairs = shared.reshape(size, size).astype(np.float32)
    pairs += pairs.T
    seen = Counter(word for title in titles for word in title)
    alone = np.array([seen[word] for word in words], dtype=np.float32)
    times = pairs * len(titles) / (alone[:, None] * alone[None, :])
    positive = np.log(np.maximum(times, 1))
    positive /= np.maximum(np.linalg.norm(positive, axis=1, keepdims=True), 1e-9)
    return positive @ positive.T, times


def accepted(found: Mapping[str, Sequence[str]], judged: Judged) -> Learned:
    """The near-synonyms that judgments don't speak against."""
    own: dict[str, list[float]] = {}
    others: dict[tuple[str, str], list[float]] = {}
    for query, text, grade in judged:
        asked = [word for word in letter_words(query) if word in found]
        shown = set(letter_words(text)) if asked else set()
        for word in asked:
            if word in shown:
                own.setdefault(word, []).append(grade)
            else:
                for other in shown.intersection(found[word]):
                    others.setdefault((word, other), []).append(grade)

    def refused(word: str, other: str) -> bool:
        grades, base = others.get((word, other), []), own.get(word, [])
        enough = min(len(grades), len(base)) >= WITNESSES
        return enough and float(np.mean(grades)) < ACCEPTED * float(np.mean(base))

    def stands(word: str, other: str) -> bool:
        return not refused(word, other) and not refused(other, word)

    kept = {word: tuple(other for other in near if stands(word, other)) for word, near in found.items()}
    return {word: near for word, near in kept.items() if near}


def letter_words(text: str) -> list[str]:
    """The normalised words of three letters or more, without digits in them."""
    return [word for word in WORD.findall(normalise(text)) if len(word) >= SHORT and LETTERS.fullmatch(word)]


def read_synonyms(path: Path) -> Learned:
    """A shop's own synonyms: a line of phrases apart by commas that mean the same, or `phrases => phrases` one way.

    Lines that begin with # say nothing. Phrases are normalised, and cut into words as `replace_synonyms` reads them.

    Raises:
        UsageError: there is no such file, or a line that names fewer than two phrases.

    Source: the synonyms format of Apache Solr, which Elasticsearch and OpenSearch read, too.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"no synonyms in {path}", expected="a text file in UTF-8", action="check the path") from error
    found: dict[str, dict[str, None]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        sides = [phrases(side) for side in re.split(r"=>", line)]
        if len(sides) > 2 or not all(sides) or len({phrase for side in sides for phrase in side}) < 2:
            raise UsageError(
                f"{path}, line {number}: {line.strip()[:80]}",
                expected="`sofa, couch` or `telly => tv, television`",
                action="correct the line",
            )
        for phrase in sides[0]:
            found.setdefault(phrase, {}).update(dict.fromkeys(other for other in sides[-1] if other != phrase))
    return {phrase: tuple(others) for phrase, others in found.items() if others}


def phrases(text: str) -> list[str]:
    """The phrases between commas, as words apart by one space."""
    cut = (" ".join(WORD.findall(normalise(part))) for part in text.split(","))
    return [phrase for phrase in cut if phrase]
