"""Signals of the words themselves: how much is asked, how long a title is, and whether the numbers agree.

"16 gb usb stick" and a title with "32GB" have a number in conflict; a title with "16 GB" has it matched.
"""

import re
from collections.abc import Sequence

import numpy as np

from recsys.catalogue import Catalogue
from recsys.meaning import Understanding
from recsys.text.normalise import normalise
from recsys.text.words import singular, words
from recsys.types import Positions, Vectors

# a number, and the unit or word that it counts: 16gb, 16 gb, 5.5 inch, 3-pack
QUANTITY = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)[\s-]?([^\W\d_]*)")
Quantity = tuple[float, str]


class TextSignals:
    """Signals of queries and titles; see `recsys.types.Signals`.

    Args:
        catalogue: the products.
    """

    names = ("words.asked", "words.title_length", "numbers.matched", "numbers.conflicting")
    absent: frozenset[str] = frozenset()

    def __init__(self, catalogue: Catalogue) -> None:
        self.titles = catalogue.column("title")

    def compute(self, query: Understanding, positions: Positions) -> Vectors:
        """float32 [positions, names]; NaN for the numbers where the query has none."""
        asked = quantities(query.text)
        rows = [
            (len(words(title)), *compare(asked, quantities(title) if asked else ()))
            for title in self.titles.gather(positions).to_list()
        ]
        matrix = np.empty((len(positions), len(self.names)), dtype=np.float32)
        matrix[:, 0] = len(words(query.text))
        matrix[:, 1:] = np.asarray(rows, dtype=np.float32).reshape(-1, 3)
        return matrix


def quantities(text: str) -> tuple[Quantity, ...]:
    """The numbers of a text with what they count, "" where nothing follows."""
    return tuple((float(number), singular(unit)) for number, unit in QUANTITY.findall(normalise(text)))


def compare(asked: Sequence[Quantity], offered: Sequence[Quantity]) -> tuple[float, float]:
    """The share of the numbers asked for that are offered, and the share of those offered otherwise.

    A number is in conflict where its unit is offered with other numbers only.

    Returns:
        Two numbers from 0 to 1, NaN twice where no number is asked for.
    """
    if not asked:
        return float("nan"), float("nan")
    values = {number for number, _ in offered}
    units = {unit for _, unit in offered}
    matched = [number in values for number, _ in asked]
    conflicting = [unit in units and not met for (_, unit), met in zip(asked, matched, strict=True)]
    return sum(matched) / len(asked), sum(conflicting) / len(asked)
