"""Which of a product's words stand where: one text for the networks, one text per field for the lexical index.

The text of a product is `title. brand. category leaf. attributes. description`, most telling first, because a
network reads only the first words that fit. A brand or category that the title already says is left out.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from recsys.text.field_names import FIELDS
from recsys.text.normalise import normalise
from recsys.text.parts import LIMIT, Parts, join_parts

LEVELS = 32
"""Deeper nesting is no attribute but an accident or an attack; the bound keeps the outcome apart from the stack's."""
# attr_t_colour, attr_b_foldable: the type mark that search servers with dynamic fields put before a name
TYPE_MARK = re.compile(r"^attr_[a-z]_")
MARKUP = re.compile(r"<[^<>]{1,200}>")


def product_text(frame: pl.DataFrame, *, fields: Sequence[str] = FIELDS, limit: int = LIMIT) -> list[str]:
    """One text for each product, as the networks read it.

    Args:
        frame: rows of a catalogue; `title` is needed, brand, category, attributes and description are used if there.
        fields: those of FIELDS that are read; the others stay unsaid.
        limit: at most so many characters each; a text is cut at the last space before.

    Returns:
        A text for each row, in the order of the rows.
    """
    return [join_parts(parts, limit=limit) for parts in product_parts(frame, fields=fields, limit=limit)]


def product_parts(frame: pl.DataFrame, *, fields: Sequence[str] = FIELDS, limit: int = LIMIT) -> list[Parts]:
    """The fields that a product's text is joined of, each at most one character longer than the limit.

    Args:
        frame: as for `product_text`.
        fields: as for `product_text`.
        limit: of the text.

    Returns:
        For each row name and words of the fields that say something, most telling first; the title always stands.
    """
    columns = {name: strings(frame, name) if name in fields else [""] * frame.height for name in FIELDS}
    return [
        [(name, words[: limit + 1]) for name, words in told(dict(zip(columns, row, strict=True)))]
        for row in zip(*columns.values(), strict=True)
    ]


def field_texts(frame: pl.DataFrame, name: str) -> list[str]:
    """The words of one field for each product, "" where there are none.

    Args:
        frame: rows of a catalogue.
        name: one of FIELDS.
    """
    words = strings(frame, name)
    if name == "attributes":
        return [attribute_text(value) for value in words]
    if name == "category":
        return [value.replace(" > ", " ") for value in words]
    return [MARKUP.sub(" ", value) if name == "description" else value for value in words]


def attribute_text(attributes: str) -> str:
    """The attributes as words: `colour: blue, foldable, width: 80`; false and empty ones say nothing.

    Args:
        attributes: a JSON object; a text that is none, or is nested too deep to be one, is taken as it stands.
    """
    if not attributes:
        return ""
    try:
        known = json.loads(attributes)
        return ", ".join(attribute_words(known)) if isinstance(known, dict) else words_of(known)
    except (ValueError, RecursionError):
        return attributes


def attribute_words(attributes: Mapping[str, Any]) -> Iterable[str]:
    """`name: value` for each attribute that says something, in the order given."""
    for key, value in attributes.items():
        name = TYPE_MARK.sub("", key).replace("_", " ").strip()
        if value is True:
            yield name
        elif value is not False and (words := words_of(value)):
            yield f"{name}: {words}"


def words_of(value: Any, *, levels: int = LEVELS) -> str:
    """A JSON value as words; whole numbers without a decimal point.

    Raises:
        ValueError: it is nested more than `levels` deep.
    """
    if levels == 0:
        raise ValueError("nested too deep")
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return " ".join(filter(None, (words_of(one, levels=levels - 1) for one in value)))
    if isinstance(value, dict):
        return words_of(list(value.values()), levels=levels)
    return str(value).strip()


def told(product: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Name and words of each field of a product's text, most telling first."""
    title = product["title"].strip()
    said = normalise(title)
    yield "title", title.rstrip(".")
    for name, words in (("brand", product["brand"]), ("category", product["category"].rsplit(" > ", 1)[-1])):
        if words and normalise(words) not in said:
            yield name, words.strip()
    attributes, description = attribute_text(product["attributes"]), MARKUP.sub(" ", product["description"])
    for name, words in (("attributes", attributes), ("description", description)):
        if words:
            yield name, " ".join(words.split())


def strings(frame: pl.DataFrame, name: str) -> list[str]:
    """A column as texts, "" where it is null or absent."""
    if name not in frame.columns:
        return [""] * frame.height
    return frame[name].cast(pl.String).fill_null("").to_list()
