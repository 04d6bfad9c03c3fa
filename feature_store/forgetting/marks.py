"""Who was forgotten, as marks: keyed hashes of names, which tell whether a given name is among them and no more.

A name is whatever a user is called somewhere: the plain id in the shop's tables, the masked id or the pseudonym in the
event log, in snapshots and nights. What a user did until some moment is hidden under all names; for a plain or masked
id that moment is that of forgetting, so that whoever comes back begins anew; a pseudonym is hidden for good.
"""

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

FOREVER = 2**63 - 1
"""No moment is later, microseconds since 1970-01-01 UTC."""
DIGITS = 32
"""Hex digits of a mark: 128 bits."""


def mark_of(key: bytes, name: str) -> str:
    """The mark of a name, 32 hex digits: HMAC-SHA256, apart from the masked id that the same key makes of it.

    Args:
        key: the shop's.
        name: what a user is called.
    """
    return hmac.digest(key, b"\x00forgotten\x00" + name.encode("utf-8", "surrogatepass"), "sha256").hex()[:DIGITS]


@dataclass(frozen=True)
class Forgotten:
    """The marks of one shop.

    Attributes:
        key: makes marks; whoever has it and the marks can test whether a name that they guess was forgotten.
        marks: by mark until when the name is hidden, microseconds since 1970-01-01 UTC.
        changes: how often anybody had been forgotten when these were read.
    """

    key: bytes = field(default=b"", repr=False)
    marks: Mapping[str, int] = field(default_factory=dict, repr=False)
    changes: int = 0

    def __bool__(self) -> bool:
        """True where anybody was forgotten."""
        return bool(self.marks)

    def until(self, names: Iterable[str]) -> dict[str, int]:
        """For the names that are hidden, until when; the others are left out."""
        if not self.marks:
            return {}
        found = ((name, self.marks.get(mark_of(self.key, name))) for name in names)
        return {name: until for name, until in found if until is not None}

    def hides(self, name: str, *, moment: int) -> bool:
        """True where what happened under a name at a moment (microseconds since 1970-01-01 UTC) is hidden."""
        return self.until((name,)).get(name, -FOREVER) >= moment


NOBODY = Forgotten()
