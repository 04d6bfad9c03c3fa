"""What a query's meaning says of given products, as the signals that a blender reads."""

from collections.abc import Mapping

import numpy as np

from recsys.meaning import SpanKind, Understanding
from recsys.ranking.signals import UNDERSTANDING
from recsys.types import Positions, Vectors
from recsys.understanding.reader import QueryReader
from recsys.understanding.signals import NAMES

KINDS: Mapping[str, SpanKind] = {
    "brand_match": SpanKind.BRAND,
    "colour_match": SpanKind.COLOUR,
    "attribute_match": SpanKind.ATTRIBUTE,
}


class UnderstandingSignals:
    """The agreement of products with a query's category, brand, colour, attributes and quantities.

    The numbers are those of `recsys.understanding.signals`; see `recsys.types.Signals`.

    Args:
        reader: the index's own.
    """

    def __init__(self, reader: QueryReader) -> None:
        self.reader = reader
        self.names = tuple(f"{UNDERSTANDING}.{name}" for name in NAMES)
        self.absent = frozenset(f"{UNDERSTANDING}.{name}" for name in NAMES if not tells(reader, name))

    def compute(self, query: Understanding, positions: Positions) -> Vectors:
        """float32 [positions, names]; NaN where the query asks nothing of the kind."""
        found = self.reader.signals(query, positions)
        matrix = np.stack([found[name] for name in NAMES], axis=1)
        matrix[:, [name in self.absent for name in self.names]] = np.nan
        return matrix


def tells(reader: QueryReader, name: str) -> bool:
    """True where the catalogue can agree or disagree with a query in this."""
    if name == "category_match":
        return reader.classifier is not None
    if name == "quantity_match":
        return len(reader.traits.values) > 0
    return any(entry.kind is KINDS[name] for entries in reader.gazetteer.entries.values() for entry in entries)
