"""The shapes of the requests and answers of the route that takes events."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from feature_store.event_log.shapes.names import Shape
from serving.schemas import closed

MAX_EVENTS = 5_000


class EventsRequest(BaseModel):
    """What shoppers did, in the shop's own shape or in a foreign one."""

    model_config = closed(
        {
            "events": [
                {
                    "event_id": "3b1c0d52",
                    "user_id": "u0001",
                    "product_id": "p0001",
                    "timestamp": "2026-03-01T12:00:00Z",
                    "event_type": "view",
                }
            ]
        }
    )

    events: Annotated[
        list[Any],
        Field(
            max_length=MAX_EVENTS,
            description="Rows of the events table: timestamp with a zone, event_type, product_id; event_id, user_id, "
            "session_id, query, price, quantity ... where known; your own fields as an object under attributes.",
        ),
    ]
    shape: Annotated[
        Shape,
        Field(description="shop; ubi (UBI 1.3), personalize (PutEvents of Amazon Personalize) or retail (Google's)."),
    ] = "shop"


class RefusedRow(BaseModel):
    """A row that was not taken."""

    row: Annotated[int, Field(description="Its place in the request, from 0.")]
    reason: Annotated[str, Field(examples=["timestamp without time zone"])]


class EventsResponse(BaseModel):
    """What became of the events; a row of a foreign shape may hold several."""

    accepted: Annotated[int, Field(description="Events that are new, and on the disk.")]
    duplicates: Annotated[int, Field(description="Events whose id was there before.")]
    refused: list[RefusedRow]
