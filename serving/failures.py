"""Every error as one JSON shape: what was found, what was expected, what to do."""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from feature_store.event_log.writer import FullQueueError
from recsys.errors import IndexMismatchError, MissingDependencyError, RecsysError, StorageError, UsageError
from recsys.wording import expectation
from serving.batcher import BusyError

log = logging.getLogger(__name__)

SHOWN = 80
SHAPE = "correct the request; /docs shows its shape"
STATUS: dict[type[RecsysError], int] = {
    UsageError: 400,
    BusyError: 503,
    FullQueueError: 429,
    IndexMismatchError: 503,
    MissingDependencyError: 503,
    StorageError: 503,
}
LATER = {"Retry-After": "1"}
EXPECTED = {
    400: ("JSON in UTF-8, nested less deeply and with shorter numbers", SHAPE),
    404: ("a route of this service", "/docs lists them"),
    405: ("a method of this route", "/docs lists them"),
    413: ("a smaller body", "send fewer items at once"),
}


def failure(status: int, *, found: str, expected: str, action: str) -> JSONResponse:
    """The response of one error; characters that JSON can't carry are escaped."""
    body = {"found": found, "expected": expected, "action": action}
    safe = {name: text.encode("utf-8", "backslashreplace").decode("utf-8") for name, text in body.items()}
    return JSONResponse({"error": safe}, status_code=status, headers=LATER if status in (429, 503) else None)


def add_handlers(app: FastAPI) -> None:
    """Let every error of the app leave in the one shape."""

    @app.exception_handler(RecsysError)
    async def known(request: Request, error: RecsysError) -> JSONResponse:
        status = STATUS.get(type(error), 500)
        if status >= 500:
            log.warning("%s: %s", request.url.path, error)
        return failure(status, found=error.found, expected=error.expected, action=error.action)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        kind = request.headers.get("content-type", "").partition(";")[0].strip()
        if kind and not kind.lower().endswith(("/json", "+json")):
            return failure(415, found=f"content-type {kind}", expected="application/json", action=SHAPE)
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "json_invalid":
            return failure(
                400,
                found="a body that is no JSON",
                expected=f"JSON ({first['ctx']['error']})",
                action=SHAPE,
            )
        if first["type"] == "value_error":
            return failure(
                422, found=f"{place}: {first['ctx']['error']}", expected="fields that go together", action=SHAPE
            )
        return failure(422, found=f"{place} is {shown(first)}", expected=expectation(first["msg"]), action=SHAPE)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        expected, action = EXPECTED.get(error.status_code, ("a request of this service", SHAPE))
        found = f"{request.method} {request.url.path}: {error.detail}"
        return failure(error.status_code, found=found, expected=expected, action=action)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("%s failed", request.url.path, exc_info=error)
        return failure(
            500,
            found=f"internal error {type(error).__name__}",
            expected="no such error",
            action="report it with the service's log",
        )


def shown(fault: dict[str, Any]) -> str:
    """The value that was wrong, cut to a readable length."""
    if fault["type"] == "missing":
        return "missing"
    text = repr(fault.get("input"))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)"
