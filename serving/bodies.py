"""The body of one request: refused above a limit, and read to its end before the answer goes out.

A server that answers and closes while a client is still sending has the connection reset, and a client that sends all
before it reads never sees the answer.
"""

import asyncio
from contextlib import suppress

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

DROPPED = 64 * 1024 * 1024
"""Bytes of an unwanted body that are read and dropped at most."""
SECONDS = 30.0
"""How long that may take."""


class Body:
    """What a client sends with one request.

    Args:
        scope: of the request.
        receive: brings its messages.
        limit: bytes that are taken.
    """

    def __init__(self, scope: Scope, receive: Receive, *, limit: int) -> None:
        self.receive = receive
        self.limit = limit
        self.taken = 0
        self.ended = False
        headers = dict(scope["headers"])
        self.told = int(headers.get(b"content-length", b"0"))
        self.waits = b"100-continue" in headers.get(b"expect", b"").lower()

    async def read(self) -> Message:
        """The next message.

        Raises:
            HTTPException: 413, the body says that it is above the limit, or is.
        """
        if self.told <= self.limit:
            message = await self.next()
            if self.taken <= self.limit:
                return message
        raise HTTPException(413, f"more than {self.limit} bytes of body")

    async def drop(self) -> bool:
        """Read what is left and forget it, up to DROPPED and SECONDS; True where the body has ended.

        A client that waits to be asked for its body (`Expect: 100-continue`) is not asked.
        """
        if self.waits and not self.taken:
            return self.ended
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS):
                while not self.ended and self.taken <= self.limit + DROPPED:
                    await self.next()
        return self.ended

    async def next(self) -> Message:
        """The next message, counted."""
        message = await self.receive()
        self.taken += len(message.get("body", b""))
        self.ended = message["type"] != "http.request" or not message.get("more_body", False)
        return message
