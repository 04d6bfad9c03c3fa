"""What reading foreign shapes has in common: fields of nested objects, and unknown kinds refused by name."""

from collections.abc import Mapping
from typing import Any


def inside(row: Any, *names: str) -> Any:
    """The field of nested objects; None where it or one above it is missing."""
    for name in names:
        if not isinstance(row, Mapping):
            return None
        row = row.get(name)
    return row


def known(kinds: Mapping[str, str], given: Any, *, field: str) -> str:
    """Our event type for theirs.

    Raises:
        ValueError: there is none.
    """
    found = kinds.get(given) if isinstance(given, str) else None
    if found is None:
        raise ValueError(f"{field} missing" if given is None else f"{field} none of {', '.join(kinds)}")
    return found


def an_object(row: Any) -> Mapping[str, Any]:
    """The row; ValueError where it is no object."""
    if not isinstance(row, Mapping):
        raise ValueError("no JSON object")
    return row


def others(row: Mapping[str, Any], read: frozenset[str]) -> dict[str, Any] | None:
    """The fields that were not read: they are kept with the event, as attributes; None where there are none."""
    return {name: value for name, value in row.items() if name not in read and value is not None} or None
