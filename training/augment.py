"""Other ways to write the same query and product: pure functions of texts, drawn with a numpy generator.

Words are runs of letters and digits; what stands between them stays. Each word is touched with a probability of its
own, so a `share` of 0 gives the text back and draws nothing.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from numpy.random import Generator

Parts = Sequence[tuple[str, str]]
Synonyms = Mapping[str, Sequence[str]]
WORD = re.compile(r"[^\W_]+")
LETTERS = re.compile(r"[^\W\d_]+")
SPACES = re.compile(r"\s{2,}")
LEAST = 4  # letters of a word that is misspelt: shorter ones become other words
KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def keyboard() -> Mapping[str, str]:
    """The neighbours of each key: left and right, and those that touch it in the rows above and below.

    Source: the US QWERTY layout, whose second and third row stand a quarter and three quarters of a key further right.
    """
    places = {key: (row, column) for row, keys in enumerate(KEYS) for column, key in enumerate(keys)}

    def near(key: str, other: str) -> bool:
        (row, column), (across, along) = places[key], places[other]
        if row == across:
            return abs(column - along) == 1
        upper, lower = (column, along) if row < across else (along, column)
        return abs(row - across) == 1 and upper - lower in (0, 1)

    return {key: "".join(other for other in places if near(key, other)) for key in places}


NEIGHBOURS = keyboard()


def misspell(text: str, *, share: float, random: Generator) -> str:
    """Words with one slip of the fingers: a neighbouring key, two letters swapped, one left out, one typed twice.

    Words of fewer than four letters, and those with digits in them, are model names and sizes and stay.

    Args:
        text: any text.
        share: probability of a slip for each word, 0..1.
        random: draws.

    Source: the four kinds of single slips of Damerau 1964, "A technique for computer detection and correction of
    spelling errors", the wrong letter drawn from the keys beside the right one.
    """

    def slipped(word: str) -> str | None:
        if len(word) < LEAST or not LETTERS.fullmatch(word) or random.random() >= share:
            return None
        return slip(word, random=random)

    return change_words(text, slipped) if share else text


def slip(word: str, *, random: Generator) -> str:
    """One of the four slips at a random place; the first letter stays, as people rarely miss it.

    Args:
        word: of two letters or more.
        random: draws.
    """
    place, kind = int(random.integers(1, len(word))), int(random.integers(4))
    head, letter, tail = word[:place], word[place], word[place + 1 :]
    near = NEIGHBOURS.get(letter.lower(), "")
    if kind == 0 and near:
        return head + near[int(random.integers(len(near)))] + tail
    if kind == 1 and tail:
        return head + tail[0] + letter + tail[1:]
    return head + tail if kind == 2 else head + letter + letter + tail


def drop_words(text: str, *, share: float, random: Generator) -> str:
    """The text without some of its words; one word at least stays.

    Args:
        text: any text.
        share: probability of each word to be left out, 0..1.
        random: draws.
    """
    count = len(WORD.findall(text)) if share else 0
    if count < 2:
        return text
    kept = random.random(count) >= share
    if kept.all():
        return text
    if not kept.any():
        kept[int(random.integers(count))] = True
    order = iter(kept.tolist())
    return SPACES.sub(" ", WORD.sub(lambda match: match[0] if next(order) else "", text)).strip()


def replace_synonyms(text: str, *, synonyms: Synonyms, share: float, random: Generator) -> str:
    """Words and phrases replaced by others that mean the same; of overlapping phrases the longest is taken.

    Args:
        text: any text.
        synonyms: for each word or phrase (lower case, words apart by one space) what may stand in its place.
        share: probability of each word or phrase that has synonyms to be replaced, 0..1.
        random: draws.
    """
    if not share or not synonyms:
        return text
    longest = 1 + max(phrase.count(" ") for phrase in synonyms)
    words = list(WORD.finditer(text))
    pieces, done, at = [], 0, 0
    while at < len(words):
        phrase, size = find_phrase([match[0].lower() for match in words[at : at + longest]], synonyms)
        if size and random.random() < share:
            others = synonyms[phrase]
            other = others[int(random.integers(len(others)))]
            start = words[at].start()
            pieces += [text[done:start], other[:1].upper() + other[1:] if text[start].isupper() else other]
            done = words[at + size - 1].end()
        at += max(size, 1)
    return "".join([*pieces, text[done:]])


def find_phrase(words: Sequence[str], synonyms: Synonyms) -> tuple[str, int]:
    """The longest phrase with synonyms that the words begin with, and how many words it has; 0 where there is none."""
    for size in range(len(words), 0, -1):
        phrase = " ".join(words[:size])
        if phrase in synonyms:
            return phrase, size
    return "", 0


def drop_parts(parts: Parts, *, share: float, attribute_share: float, random: Generator) -> Parts:
    """A product without some of its fields, or some of its attributes; the first field, the title, always stays.

    Args:
        parts: name and words of each field, in the order of the text.
        share: probability of each field to be left out, 0..1.
        attribute_share: probability of each attribute to be left out, 0..1.
        random: draws.
    """
    if not share and not attribute_share:
        return parts
    kept = list(parts[:1])
    for name, words in parts[1:]:
        if random.random() < share:
            continue
        if name != "attributes" or not attribute_share:
            kept.append((name, words))
            continue
        attributes = words.split(", ")
        stay = random.random(len(attributes)) >= attribute_share
        if stay.any():
            kept.append((name, ", ".join(one for one, stays in zip(attributes, stay, strict=True) if stays)))
    return kept


def change_words(text: str, change: Callable[[str], str | None]) -> str:
    """The text with each word replaced by what `change` gives, None leaving it."""

    def changed(match: re.Match[str]) -> str:
        other = change(match[0])
        return match[0] if other is None else other

    return WORD.sub(changed, text)
