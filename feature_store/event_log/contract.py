"""One event at the door: the columns of the shop's events table, checked row by row before the log takes it.

What passes here holds the contract of the events table (`feature_store.contracts.Events`) when the night reads it; a
product that the catalogue does not know yet passes, for it may come with the next catalogue.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Required

from pydantic import AwareDatetime, BeforeValidator, ConfigDict, Field, TypeAdapter, with_config
from pydantic_core import PydanticCustomError, to_json
from typing_extensions import TypedDict

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST_ID = 120
"""Characters; as `feature_store.contracts.LONGEST_ID`, which a test holds it to: Polars is not imported here."""
LONGEST_TEXT = 2_000
LONGEST_ATTRIBUTES = 16_384

EventKind = Literal["impression", "view", "click", "search", "add_to_cart", "remove_from_cart", "purchase", "cancel"]


def written(value: Any) -> Any:
    """A moment as text or as one; a bare number might be of any unit, and is refused."""
    if isinstance(value, str | datetime):
        return value
    raise PydanticCustomError("unreadable", "a moment is text in ISO 8601")


def as_json(value: Any) -> Any:
    """The shop's own fields as JSON text."""
    try:
        return json.dumps(value, ensure_ascii=False) if isinstance(value, Mapping) else value
    except (TypeError, RecursionError):
        raise PydanticCustomError("unreadable", "no JSON, or too deep") from None


Instant = Annotated[AwareDatetime, BeforeValidator(written)]
Id = Annotated[str, Field(min_length=1, max_length=LONGEST_ID, pattern=r"^[^\x00]*$")]
Number = Annotated[float, Field(allow_inf_nan=False)]
Attributes = Annotated[str, Field(max_length=LONGEST_ATTRIBUTES), BeforeValidator(as_json)]


@with_config(ConfigDict(extra="forbid", coerce_numbers_to_str=True))
class EventRow(TypedDict, total=False):
    """A row of the events table; what is missing is left out.

    Columns:
        timestamp: when it happened, with a zone.
        event_type: what the shopper did.
        user_id: left out where the shopper is not known.
        product_id: left out of a search alone.
        event_id: the same id is taken once, however often it is sent.
        known_at: when the shop knew of it; where left out, when the log took it.
        attributes: whatever else the shop wants to keep, as JSON.

    The others as in `feature_store.contracts.Events`.
    """

    timestamp: Required[Instant]
    event_type: Required[EventKind]
    user_id: Id
    product_id: Id
    event_id: Id
    value: Number
    quantity: Number
    price: Annotated[Number, Field(ge=0)]
    order_id: Id
    session_id: Id
    query: Annotated[str, Field(max_length=LONGEST_TEXT)]
    query_id: Id
    position: Annotated[int, Field(ge=0, le=2**53)]
    list_id: Id
    policy: Id
    propensity: Annotated[float, Field(gt=0, le=1)]
    known_at: Instant
    attributes: Attributes


COLUMNS = tuple(EventRow.__annotations__)
VALIDATE = TypeAdapter(EventRow).validator.validate_python


def read_row(row: Any) -> EventRow:
    """A row with the types of its columns. Empty text and NaN are missing, as in the tables of a shop folder.

    Raises:
        ValidationError: a column is missing, unknown, or holds what it may not.
        ValueError: the columns do not go together; the text says why.
    """
    if not isinstance(row, Mapping):
        raise ValueError("no JSON object")
    given = {name: value for name, value in row.items() if value is not None and value != "" and value == value}  # noqa: PLR0124 - NaN is unlike itself
    found: EventRow = VALIDATE(given)
    kind = found["event_type"]
    if kind != "search" and "product_id" not in found:
        raise ValueError("product_id missing")
    if kind == "purchase" and found.get("quantity", 1) <= 0:
        raise ValueError("purchase quantity not above 0")
    return found


def body_of(row: EventRow) -> str:
    """A row as the log keeps it: one JSON object, moments in microseconds since 1970-01-01 UTC."""
    kept: dict[str, Any] = {**row, "timestamp": microseconds(row["timestamp"])}
    if "known_at" in kept:
        kept["known_at"] = microseconds(row["known_at"])
    return to_json(kept).decode()


def microseconds(moment: datetime) -> int:
    """A moment in microseconds since 1970-01-01 UTC."""
    since = moment - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


WORDS = {
    "missing": "missing",
    "string_too_short": "empty",
    "string_too_long": "too long",
    "greater_than_equal": "below the least allowed",
    "greater_than": "not above 0",
    "less_than_equal": "above the most allowed",
    "finite_number": "infinite",
    "timezone_aware": "without time zone",
    "literal_error": "none of the known types",
    "extra_forbidden": "is no column of events (your own fields go under attributes)",
}


def reason_of(fault: Mapping[str, Any]) -> str:
    """Why a row is refused, without any of its values: "timestamp without time zone".

    Args:
        fault: one of pydantic's errors.
    """
    return f"{str(fault['loc'][0])[:LONGEST_ID]} {WORDS.get(fault['type'], 'unreadable')}"
