"""Users' segments as numbers that embeddings stand for; what was fitted belongs to the component."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from recsys.retrieval.vocabulary import broken, coded, read_text
from recsys.types import PositionHistories

NAME = "segments.json"


@dataclass(frozen=True, slots=True)
class SegmentCodes:
    """The segments that were learned.

    Attributes:
        names: sorted; the code of the first is 1, and 0 stands for none and for an unknown one.
    """

    names: tuple[str, ...]

    @classmethod
    def fit(cls, segments: Iterable[str]) -> "SegmentCodes":
        """The codes of the segments of some users, "" where a user has none."""
        return cls(tuple(sorted(set(segments) - {""})))

    @property
    def size(self) -> int:
        """How many codes there are, 0 included."""
        return len(self.names) + 1

    def encode(self, segments: Iterable[str]) -> NDArray[np.int64]:
        """int64 [segments]."""
        return coded(segments, names=self.names)

    def numbers(self, histories: PositionHistories, *, users: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 [n]: the codes of the users at some rows of histories; 0 where no segment is known."""
        if not histories.segments:
            return np.zeros(len(users), dtype=np.int64)
        return self.encode(histories.segments[user] for user in users.tolist())

    def save(self, folder: Path) -> None:
        """Write segments.json into the folder."""
        (folder / NAME).write_bytes(TypeAdapter(tuple[str, ...]).dump_json(self.names))

    @classmethod
    def load(cls, folder: Path) -> "SegmentCodes":
        """Read what `save` wrote.

        Raises:
            BundleError: the file is missing or damaged.
        """
        try:
            return cls(TypeAdapter(tuple[str, ...]).validate_json(read_text(folder / NAME)))
        except ValidationError as error:
            raise broken(folder / NAME, expected="a list of segments") from error
