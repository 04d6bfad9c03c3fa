"""Words with their places: the spelling that counts (recsys.text.words), the offsets of the text as it stands."""

import re
from typing import NamedTuple

from recsys.text.words import words

TOKEN = re.compile(r"[^\W_]+(?:[\u0300-\u036f]+[^\W_]*)*")  # an accent that stands apart belongs to its letter


class Token(NamedTuple):
    """One word: `text[start:end]` is how it stands, `word` how it counts."""

    start: int
    end: int
    word: str


def tokens(text: str) -> list[Token]:
    """The words of a text in order, normalised and without plural endings."""
    return [Token(match.start(), match.end(), word) for match in TOKEN.finditer(text) for word in words(match.group())]


def phrases(row: list[str], *, longest: int) -> set[str]:
    """Every run of 1 to `longest` words, joined by spaces."""
    return {
        " ".join(row[start:end])
        for start in range(len(row))
        for end in range(start + 1, min(start + longest, len(row)) + 1)
    }
