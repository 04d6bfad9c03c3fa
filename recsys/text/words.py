"""Words of a text for exact counting: letters and digits, in one spelling, plurals folded."""

import re

from recsys.text.normalise import normalise

WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """The words of a text in order: normalised, cut at everything but letters and digits, without plural endings."""
    return [singular(word) for word in WORD.findall(normalise(text))]


def singular(word: str) -> str:
    """An English word without its plural ending; other words stay.

    Source: Harman, "How effective is suffixing?", JASIS 1991, the S stemmer: the first rule that fits is applied.
    """
    if word.endswith("ies") and not word.endswith(("eies", "aies")) and len(word) > 3:
        return word[:-3] + "y"
    if word.endswith("es") and not word.endswith(("aes", "ees", "oes")) and len(word) > 3:
        return word[:-1]
    if word.endswith("s") and not word.endswith(("us", "ss")) and len(word) > 2:
        return word[:-1]
    return word
