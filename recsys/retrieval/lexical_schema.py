"""The fields and terms of the lexical index, and how products become its entries."""

from collections.abc import Iterable, Mapping
from itertools import repeat
from typing import Any

import tantivy

from recsys.catalogue import Catalogue
from recsys.errors import UsageError
from recsys.text.field_names import FIELDS
from recsys.text.fields import field_texts
from recsys.text.normalise import normalise

ALL = "words"  # the field that holds every field's words
ANALYSER = "shop"
LONGEST_WORD = 40


def analyser(language: str) -> Any:
    """What turns text into terms: words of letters and digits, lower-cased, without accents and endings.

    Raises:
        UsageError: there is no stemmer for the language.
    """
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    filters = [tantivy.Filter.remove_long(LONGEST_WORD), tantivy.Filter.lowercase(), tantivy.Filter.ascii_fold()]
    for step in filters:
        builder = builder.filter(step)
    if not language:
        return builder.build()
    try:
        return builder.filter(tantivy.Filter.stemmer(language)).build()
    except ValueError as error:
        raise UsageError(
            f"no stemmer for the language {language!r}",
            expected='"english", "german", ... or ""',
            action="name another",
        ) from error


def schema_of(weights: Mapping[str, int]) -> Any:
    """The fields of the index: `position`, `words`, and each product field by itself.

    Raises:
        UsageError: a weight names no field of a product or is below 0.
    """
    wrong = [name for name, weight in weights.items() if name not in FIELDS or weight < 0]
    if wrong:
        raise UsageError(
            f"lexical weights for {', '.join(wrong)}",
            expected=f"0 or more for {', '.join(FIELDS)}",
            action="correct them",
        )
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("position", indexed=True, fast=True)
    for name in (ALL, *weights):
        builder.add_text_field(name, tokenizer_name=ANALYSER)
    return builder.build()


def documents(catalogue: Catalogue, *, weights: Mapping[str, int], schema: Any) -> Iterable[Any]:
    """The products as tantivy takes them; a field's repetitions are values apart, so that no phrase spans two."""
    columns = {name: [normalise(text) for text in field_texts(catalogue.frame, name)] for name in weights}
    for position in range(len(catalogue)):
        fields = {name: texts[position] for name, texts in columns.items() if texts[position]}
        words = [text for name, text in fields.items() for text in repeat(text, weights[name])]
        yield tantivy.Document.from_dict({"position": position, ALL: words, **fields}, schema)


def stands_in_order(searcher: Any) -> bool:
    """True where tantivy numbers the products by position, so that its own rule for ties is ours."""
    if searcher.num_segments != 1:
        return bool(searcher.num_docs == 0)
    positions = searcher.fast_field_values("position", [tantivy.DocAddress(0, row) for row in range(searcher.num_docs)])
    return bool(positions == list(range(searcher.num_docs)))
