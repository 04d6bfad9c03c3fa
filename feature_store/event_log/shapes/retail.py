"""Google Vertex AI Search for commerce (Retail API): a UserEvent, as it is written or imported.

Source: https://cloud.google.com/retail/docs/reference/rest/v2/projects.locations.catalogs.userEvents
"""

from collections.abc import Iterator, Mapping
from typing import Any

from feature_store.event_log.shapes.fields import an_object, inside, known, others

KINDS = {
    "detail-page-view": "view",
    "add-to-cart": "add_to_cart",
    "remove-from-cart": "remove_from_cart",
    "purchase-complete": "purchase",
    "search": "search",
}
"""Our types by their `eventType`. Views of the home page, of categories and of the cart name no product."""
READ = frozenset(
    {
        "eventType",
        "visitorId",
        "sessionId",
        "eventTime",
        "attributionToken",
        "productDetails",
        "searchQuery",
        "userInfo",
    }
)


def from_retail(row: Any) -> Iterator[dict[str, Any]]:
    """A row of the events table for each of its products; of a search one for the search, then an impression for each.

    The user is `userInfo.userId`, else `visitorId`. The shape has no id of an event: send it with a key, or with an
    `eventId` beside its own fields.
    """
    given = an_object(row)
    kind = known(KINDS, given.get("eventType"), field="eventType")
    details = given.get("productDetails") or []
    if not isinstance(details, list):
        raise ValueError("productDetails unreadable")
    shared = {
        "user_id": inside(given, "userInfo", "userId") or given.get("visitorId"),
        "session_id": given.get("sessionId"),
        "timestamp": given.get("eventTime"),
        "list_id": token(given),
        "order_id": inside(given, "purchaseTransaction", "id"),
        "query": given.get("searchQuery"),
        "attributes": others(given, READ | {"eventId"}),
    }
    event_id = given.get("eventId")
    if kind == "search":
        yield shared | {"event_id": event_id, "event_type": kind}
        kind, shared = "impression", shared | {"attributes": None}
    elif not details:
        raise ValueError("productDetails missing")
    for place, detail in enumerate(details, start=1):
        own = event_id if event_id is None or (len(details) == 1 and kind != "impression") else f"{event_id}/{place}"
        yield shared | {
            "event_id": own,
            "event_type": kind,
            "product_id": inside(detail, "product", "id"),
            "quantity": inside(detail, "quantity"),
            "price": inside(detail, "product", "priceInfo", "price"),
            "position": place if kind == "impression" else None,
        }


def token(given: Mapping[str, Any]) -> Any:
    """The attribution token where it is short enough to be the id of a list; longer ones would hold nothing else."""
    found = given.get("attributionToken")
    return found if isinstance(found, str) and len(found) <= 120 else None
