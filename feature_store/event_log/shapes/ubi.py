"""User Behavior Insights 1.3: one event of the OpenSearch community's standard.

Source: https://o19s.github.io/ubi/schema/1.3.0/event.schema.json
"""

from collections.abc import Iterator
from typing import Any

from feature_store.event_log.shapes.fields import an_object, inside, known, others

KINDS = {
    "click": "click",
    "click_through": "click",
    "view": "view",
    "watch": "view",
    "product_hover": "impression",
    "impression": "impression",
    "search": "search",
    "on_search": "search",
    "add_to_cart": "add_to_cart",
    "remove_from_cart": "remove_from_cart",
    "purchase": "purchase",
    "cancel": "cancel",
}
"""Our types by their `action_name`; names of the shop's own are refused, for nobody knows what they say."""
READ = frozenset({"action_name", "query_id", "session_id", "client_id", "user_id", "timestamp", "event_id"})


def from_ubi(row: Any) -> Iterator[dict[str, Any]]:
    """The event as a row of the events table.

    A client (a browser, a service, a bot) is no user: without `user_id` the event has none, and `session_id`, else
    `client_id`, holds together what was done. `message` is the query of a search. What is not read stays as
    attributes.
    """
    given = an_object(row)
    kind = known(KINDS, given.get("action_name"), field="action_name")
    product = inside(given, "event_attributes", "object", "object_id")
    yield {
        "event_id": given.get("event_id"),
        "user_id": given.get("user_id"),
        "product_id": None if kind == "search" else product,
        "timestamp": given.get("timestamp"),
        "event_type": kind,
        "session_id": given.get("session_id") or given.get("client_id"),
        "query": given.get("message") if kind == "search" else None,
        "query_id": given.get("query_id"),
        "position": inside(given, "event_attributes", "position", "ordinal"),
        "attributes": others(given, READ),
    }
