"""The online service as an ASGI app over a live index."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from time import perf_counter
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recsys.errors import RecsysError
from serving.batcher import MicroBatcher
from serving.bodies import Body
from serving.events import EventDesk, event_routes
from serving.failures import add_handlers
from serving.live import LiveIndex
from serving.moments import Clock, wall_clock
from serving.online import OnlineDesk, online_routes
from serving.routes import Desk, routes
from serving.telemetry import Telemetry

MAX_BODY = 4 * 1024 * 1024
DESCRIPTION = (
    "Product search, ranking and recommendations of one shop. Every answer names its rung, "
    "every hit the stage that brought it, and every error what was found, what was expected and what to do."
)


def create_app(
    live: LiveIndex,
    telemetry: Telemetry,
    *,
    events: EventDesk | None = None,
    online: OnlineDesk | None = None,
    interval: float = 2.0,
    max_batch: int = 32,
    clock: Clock = wall_clock,
) -> FastAPI:
    """The service over a live index.

    Args:
        live: the index; it may not be loaded yet, /health/ready says when it is.
        telemetry: this process's figures.
        events: takes what shoppers did; None leaves the route out. Its writer ends with the service.
        online: the features of the shop; None leaves their route out. Its follower begins and ends with the service.
        interval: seconds between looks at `current.json`.
        max_batch: concurrent calls that reach the model together at most.
        clock: tells this moment, from which those that callers ask for may not be far.
    """
    telemetry.follow(live)
    batcher = MicroBatcher(max_batch=max_batch, observe=telemetry.batch)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        ended = asyncio.Event()
        tasks = [asyncio.create_task(batcher.work()), asyncio.create_task(follow(live, ended, interval=interval))]
        if online is not None:
            online.start()
        try:
            yield
        finally:
            batcher.stop()
            ended.set()
            if online is not None:
                await asyncio.to_thread(online.close)
            if events is not None:
                await asyncio.to_thread(events.writer.close)
            await asyncio.gather(*tasks)
            if events is not None:
                events.writer.log.close()

    app = FastAPI(
        title="shoprank",
        version=version("shoprank"),
        description=DESCRIPTION,
        lifespan=lifespan,
        strict_content_type=False,
    )
    app.include_router(routes(Desk(live=live, batcher=batcher, telemetry=telemetry, clock=clock)), tags=["answers"])
    if events is not None:
        app.include_router(event_routes(events), tags=["events"])
    if online is not None:
        app.include_router(online_routes(online), tags=["features"])
    app.include_router(health(live, telemetry, online), tags=["health"])
    add_handlers(app)
    app.add_middleware(Gate, telemetry=telemetry, max_body=MAX_BODY)
    return app


async def follow(live: LiveIndex, ended: asyncio.Event, *, interval: float) -> None:
    """Look at `current.json` until the service ends; loading happens beside the answering."""
    while not ended.is_set():
        await asyncio.to_thread(live.refresh)
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), interval)


def health(live: LiveIndex, telemetry: Telemetry, online: OnlineDesk | None) -> APIRouter:
    """The routes that other machines ask: is it alive, can it answer, how does it do."""
    router = APIRouter()

    @router.get("/health/live", summary="The process runs")
    async def alive() -> dict[str, str]:
        return {"status": "live"}

    @router.get("/health/ready", summary="An index is loaded", responses={503: {"description": "None is loaded yet"}})
    async def ready() -> JSONResponse:
        body: dict[str, Any] = {"status": "ready" if live.ready else "loading"}
        if live.ready:
            manifest = live.engine.manifest
            body |= {
                "index": manifest.digest,
                "model_version": manifest.model_version,
                "shop": manifest.shop,
                "products": manifest.products,
                "created_at": manifest.created_at.isoformat(),
            }
        if live.failure is not None:
            body["failure"] = told(live.failure)
        if online is not None:
            body["online"] = {name: told(fault) if fault else "answers" for name, fault in online.failures().items()}
        return JSONResponse(body, status_code=200 if live.ready else 503)

    @router.get("/metrics", summary="Figures for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(telemetry.text(), media_type=CONTENT_TYPE_LATEST)

    return router


def told(fault: RecsysError) -> dict[str, str]:
    """An error for machines."""
    return {"found": fault.found, "expected": fault.expected, "action": fault.action}


class Gate:
    """Measures every request and refuses bodies above the limit; see `serving.bodies`."""

    def __init__(self, app: ASGIApp, *, telemetry: Telemetry, max_body: int) -> None:
        self.app = app
        self.telemetry = telemetry
        self.max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = perf_counter(), 500
        body = Body(scope, receive, limit=self.max_body)

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if not await body.drop() or status == 413:
                    message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        try:
            with self.telemetry.inside.track_inprogress():
                await self.app(scope, body.read, noted)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self.telemetry.requests.labels(route, str(status)).observe(perf_counter() - begun)
