"""A product's text in pieces: the words of each field, and how they become one text."""

from collections.abc import Sequence

LIMIT = 1000
Parts = Sequence[tuple[str, str]]


def join_parts(parts: Parts, *, limit: int = LIMIT) -> str:
    """One text of a product.

    Args:
        parts: name and words of each field, most telling first.
        limit: at most so many characters; the text is cut at the last space before.
    """
    return cut(". ".join(words for _, words in parts), limit=limit)


def cut(text: str, *, limit: int) -> str:
    """The text, at most `limit` characters long, cut at a space where there is one."""
    if len(text) <= limit:
        return text
    head = text[: limit + 1]
    return head.rsplit(" ", 1)[0] if " " in head else head[:limit]
