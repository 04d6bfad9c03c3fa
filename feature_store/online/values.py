"""The online store of packed values: what every store of it promises.

A store holds generations of values by key. Readers see one of them as a whole, with what was changed since it was
published; a new one takes its place in a single step.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol, TypeVar

Entry = TypeVar("Entry")
Values = list[bytes | None]
Change = Callable[[Values], Mapping[str, bytes] | None]

LONGEST_KEY = 500
"""Bytes of a key in UTF-8 at most; LMDB allows 511."""


class ValueStore(Protocol):
    """Values by key, in generations.

    Every call may raise StorageError, and then has done nothing: the store is full, damaged or does not answer, or a
    server threw the values away to make room.
    """

    def publish(self, values: Iterable[tuple[str, bytes]], *, ttl_s: float) -> str:
        """Write a new generation, then make it the one that is read.

        Args:
            values: each key once, in any order.
            ttl_s: seconds after which the generation vanishes unless another one is published, above 0.

        Returns:
            Its name.
        """
        ...

    def generation(self) -> str | None:
        """The name of the generation that is read; None where none was published, or it has expired."""
        ...

    def published(self) -> bool:
        """True where something was published once, whether it is still read, has expired or was lost."""
        ...

    def read(self, keys: Sequence[str]) -> Values:
        """The newest values of the keys in the order asked, all of one generation and one instant.

        None stands for a key that it does not have; all are None where nothing was published, or it has expired.
        """
        ...

    def update(self, keys: Sequence[str], change: Change) -> bool:
        """Change values in one step that no other writer comes between; readers see all of it or nothing.

        Args:
            keys: whose values the change reads.
            change: gets them in that order and gives what is to be written, or None to leave all as it is. It may be
                called several times.

        Returns:
            True where something was written.
        """
        ...

    def delete(self, keys: Sequence[str]) -> int:
        """Remove keys from the generation, its files included; how many it had."""
        ...

    def keys(self, prefix: str = "") -> list[str]:
        """The keys that begin so, sorted."""
        ...


def in_batches(entries: Iterable[Entry], *, size: int) -> Iterator[tuple[Entry, ...]]:
    """The entries, `size` at a time."""
    left = iter(entries)
    return iter(lambda: tuple(islice(left, size)), ())
