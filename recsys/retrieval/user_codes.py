"""Users' attributes (segment, country ...) as numbers that embeddings stand for; what was fitted is the component's.

An attribute has a code for each of its values that several users share, and 0 for every other: one that nobody had when
the codes were fitted, one that nobody else had, or none at all.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from recsys.retrieval.vocabulary import broken, read_text
from recsys.types import PositionHistories

NAME, SEGMENTS = "user_codes.json", "segments.json"
"""SEGMENTS is what components have that were trained before there were other attributes than the segment."""
SEGMENT = "segment"
LEAST = 2
"""Users who must share a value; one alone says no more than its user's events do."""
MOST_VALUES, MOST_ATTRIBUTES = 100, 16
"""Values of one of the shop's own attributes, and so many of these at most: more is a number or a text, no group."""
COLUMNS = (SEGMENT, "locale", "country")
"""The users table's columns, which have as many values as they have."""


@dataclass(frozen=True, slots=True)
class UserCodes:
    """The values that were learned.

    Attributes:
        values: by attribute its values, sorted; the code of the first is 1.
    """

    values: Mapping[str, tuple[str, ...]]

    @classmethod
    def fit(cls, segments: Iterable[str], attributes: Iterable[str]) -> "UserCodes":
        """The codes of some users.

        Args:
            segments: one for each user, "" where there is none.
            attributes: one for each user, as of `Histories`.
        """
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for told, users in Counter(zip(segments, attributes, strict=True)).items():
            for name, value in named(*told).items():
                counts[name][value] += users
        shared = {name: [value for value, users in found.items() if users >= LEAST] for name, found in counts.items()}
        own = [name for name in shared if name not in COLUMNS and len(shared[name]) <= MOST_VALUES]
        own = sorted(own, key=lambda name: (-counts[name].total(), name))[:MOST_ATTRIBUTES]
        kept = [name for name in (*COLUMNS, *sorted(own)) if shared.get(name)]
        return cls({name: tuple(sorted(shared[name])) for name in kept})

    @property
    def sizes(self) -> tuple[int, ...]:
        """For each attribute the number of its codes, 0 included."""
        return tuple(len(values) + 1 for values in self.values.values())

    def encode(self, segments: Sequence[str], attributes: Sequence[str]) -> NDArray[np.int64]:
        """int64 [users, attributes], the codes of some users; see `fit`."""
        codes = {
            name: {value: code for code, value in enumerate(values, start=1)} for name, values in self.values.items()
        }
        rows: dict[tuple[str, str], list[int]] = {}
        for told in zip(segments, attributes, strict=True):
            if told not in rows:
                own = named(*told)
                rows[told] = [known.get(own.get(name, ""), 0) for name, known in codes.items()]
        found = [rows[told] for told in zip(segments, attributes, strict=True)]
        return np.array(found, dtype=np.int64).reshape(len(segments), len(codes))

    def numbers(self, histories: PositionHistories, *, users: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 [n, attributes]: the codes of the users at some rows of histories; 0 where nothing is known."""
        rows = users.tolist()
        told = (
            [texts[row] for row in rows] if texts else [""] * len(rows)
            for texts in (histories.segments, histories.attributes)
        )
        return self.encode(*told)

    def save(self, folder: Path) -> None:
        """Write user_codes.json into the folder."""
        (folder / NAME).write_bytes(TypeAdapter(dict[str, tuple[str, ...]]).dump_json(dict(self.values)))

    @classmethod
    def load(cls, folder: Path) -> "UserCodes":
        """Read what `save` wrote, or the segments of an older component.

        Raises:
            BundleError: the file is missing or damaged.
        """
        older = (folder / SEGMENTS).is_file() and not (folder / NAME).is_file()
        path = folder / (SEGMENTS if older else NAME)
        try:
            if older:
                return cls({SEGMENT: TypeAdapter(tuple[str, ...]).validate_json(read_text(path))})
            return cls(TypeAdapter(dict[str, tuple[str, ...]]).validate_json(read_text(path)))
        except ValidationError as error:
            raise broken(path, expected="the values of users' attributes") from error


def named(segment: str, attributes: str) -> dict[str, str]:
    """What is known of one user, by attribute; no value is empty."""
    told: dict[str, str] = json.loads(attributes) if attributes else {}
    return {name: value for name, value in (told | {SEGMENT: segment}).items() if value}
