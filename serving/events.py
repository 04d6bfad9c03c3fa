"""The route that takes events: checked row by row, acknowledged when they are on the disk."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header

from feature_store.event_log.door import Door
from feature_store.event_log.writer import Writer
from serving.event_schemas import EventsRequest, EventsResponse, RefusedRow
from serving.schemas import MAX_ID, FailureResponse
from serving.telemetry import Telemetry

FAILURES: dict[int | str, dict[str, Any]] = {
    413: {"model": FailureResponse, "description": "The body is too large: send fewer events at once."},
    422: {"model": FailureResponse, "description": "The body is no list of events, or of too many."},
    429: {"model": FailureResponse, "description": "Too many events wait to be written: try again after Retry-After."},
    503: {"model": FailureResponse, "description": "The disk is full or the log does not answer; nothing was taken."},
}
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=MAX_ID,
        description="The same for the same events sent again: then those without an event_id are taken once, too.",
    ),
]


@dataclass(frozen=True, slots=True)
class EventDesk:
    """What the route needs: the door that events pass, the writer behind it, and the measuring."""

    door: Door
    writer: Writer
    telemetry: Telemetry


def event_routes(desk: EventDesk) -> APIRouter:
    """The route over one desk."""
    router = APIRouter(prefix="/v1", responses=FAILURES)

    @router.post("/events", summary="Keep what shoppers did")
    async def events(body: EventsRequest, key: Key = None) -> EventsResponse:
        """Take events into the log.

        When the answer comes, `accepted` events are on the disk and the next recommendation of their users knows
        them. A row that can't be taken is named with its reason, and keeps no other one out.
        """
        checked = await asyncio.to_thread(desk.door.check, body.events, shape=body.shape, key=key)
        stored = await asyncio.wrap_future(desk.writer.submit(checked.events)) if checked.events else []
        answer = EventsResponse(
            accepted=sum(stored),
            duplicates=len(stored) - sum(stored),
            refused=[RefusedRow(row=row, reason=reason) for row, reason in checked.refused],
        )
        desk.telemetry.taken(answer.accepted, duplicates=answer.duplicates, refused=len(answer.refused))
        return answer

    return router
