"""Amazon Personalize: the body of PutEvents, a user's session with a list of events.

Source: https://docs.aws.amazon.com/personalize/latest/dg/API_UBS_PutEvents.html and API_UBS_Event.html
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from feature_store.event_log.shapes.fields import an_object, known, others

KINDS = {
    "view": "view",
    "watch": "view",
    "detail": "view",
    "click": "click",
    "addtocart": "add_to_cart",
    "removefromcart": "remove_from_cart",
    "purchase": "purchase",
    "checkout": "purchase",
    "cancel": "cancel",
    "impression": "impression",
}
"""Our types by their `eventType` in lower case without `_`, `-` and spaces."""
READ = frozenset({"eventId", "eventType", "eventValue", "itemId", "sentAt", "recommendationId", "impression"})


def from_personalize(row: Any) -> Iterator[dict[str, Any]]:
    """Its events as rows of the events table, and each product of an `impression` list as an impression before it.

    Impressions carry the place in the list from 1, and get the event's id with `/impression/PLACE` behind it.
    """
    given = an_object(row)
    listed = given.get("eventList")
    if not isinstance(listed, list) or not listed:
        raise ValueError("eventList missing")
    for one in listed:
        event = an_object(one)
        shared = {
            "user_id": given.get("userId"),
            "session_id": given.get("sessionId"),
            "list_id": event.get("recommendationId"),
            "timestamp": instant(event.get("sentAt")),
        }
        event_id = event.get("eventId")
        shown = event.get("impression") or []
        if not isinstance(shown, list):
            raise ValueError("impression unreadable")
        for place, product in enumerate(shown, start=1):
            own = None if event_id is None else f"{event_id}/impression/{place}"
            yield shared | {"event_id": own, "event_type": "impression", "product_id": product, "position": place}
        yield shared | {
            "event_id": event_id,
            "event_type": known(KINDS, plain(event.get("eventType")), field="eventType"),
            "product_id": event.get("itemId"),
            "value": event.get("eventValue"),
            "attributes": attributes(event),
        }


def plain(kind: Any) -> Any:
    """An event type as KINDS knows it."""
    return kind.lower().replace("_", "").replace("-", "").replace(" ", "") if isinstance(kind, str) else kind


def instant(given: Any) -> Any:
    """`sentAt`: seconds since 1970-01-01 UTC, or text; ValueError where it is no moment."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        return given
    try:
        return datetime.fromtimestamp(given, tz=UTC)
    except (OverflowError, OSError, ValueError):
        raise ValueError("sentAt unreadable") from None


def attributes(event: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is not read; `properties` is JSON in a text, and becomes what it says."""
    rest = others(event, READ)
    if rest and isinstance(rest.get("properties"), str):
        try:
            rest["properties"] = json.loads(rest["properties"])
        except ValueError:
            raise ValueError("properties no JSON") from None
    return rest
