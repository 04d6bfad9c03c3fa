"""Micro-batching: concurrent calls of one kind reach the model together, on one thread.

A call that comes alone is answered at once as a batch of one; while the thread is busy, calls gather and the next
batch takes all that agree in kind and options. Nothing waits for company.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

from recsys.errors import RecsysError

Item = TypeVar("Item")
Result = TypeVar("Result")


class BusyError(RecsysError):
    """The service can't take the call now."""


@dataclass(slots=True)
class Call:
    """One waiting call; calls with the same key may be answered together."""

    key: Hashable
    answer: Callable[[list[Any]], Sequence[Any]]
    item: Any
    future: asyncio.Future[Any]
    since: float


class MicroBatcher:
    """One thread, one line of waiting calls, batches of calls that agree.

    Args:
        max_batch: calls in one batch.
        max_waiting: calls that may wait; more are refused with BusyError.
        observe: is told each batch's size, the seconds that each of its calls waited and the seconds of its work.
    """

    def __init__(
        self, *, max_batch: int = 32, max_waiting: int = 1024, observe: Callable[[int, list[float], float], None]
    ) -> None:
        self.max_batch = max_batch
        self.max_waiting = max_waiting
        self.observe = observe
        self.waiting: deque[Call] = deque()
        self.arrived = asyncio.Event()
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self.open = True

    def stop(self) -> None:
        """Take no more calls, answer those that wait, then let `work` end."""
        self.open = False
        self.arrived.set()

    async def submit(self, key: Hashable, answer: Callable[[list[Item]], Sequence[Result]], item: Item) -> Result:
        """The answer to one item.

        Args:
            key: kind and options; items of equal keys may be handed to one `answer` together.
            answer: gives as many results as it is given items, in their order; runs on the model thread.
            item: what the caller asks.

        Raises BusyError where too many wait or the service stops, else whatever `answer` raises for the item.
        """
        if not self.open:
            raise BusyError("the service is stopping", expected="a running service", action="try again in a moment")
        if len(self.waiting) >= self.max_waiting:
            raise BusyError(
                f"{len(self.waiting)} calls wait already",
                expected=f"fewer than {self.max_waiting}",
                action="try again in a moment or add a service process",
            )
        call = Call(key, answer, item, asyncio.get_running_loop().create_future(), perf_counter())
        self.waiting.append(call)
        self.arrived.set()
        result: Result = await call.future
        return result

    async def work(self) -> None:
        """Answer batch after batch until `stop`, then what still waits."""
        while self.open or self.waiting:
            await self.arrived.wait()
            batch = self.take()
            if batch:
                await self.finish(batch)
        await asyncio.to_thread(self.thread.shutdown)

    def take(self) -> list[Call]:
        """The oldest call and those that agree with it, oldest first; calls whose client left are dropped."""
        batch: list[Call] = []
        rest: deque[Call] = deque()
        for call in self.waiting:
            if call.future.done():
                continue
            if len(batch) < self.max_batch and (not batch or call.key == batch[0].key):
                batch.append(call)
            else:
                rest.append(call)
        self.waiting = rest
        if not rest and self.open:
            self.arrived.clear()
        return batch

    async def finish(self, batch: list[Call]) -> None:
        """Answer a batch on the model thread; where it fails, each call is tried alone: none can fail the others."""
        begun = perf_counter()
        work = asyncio.get_running_loop().run_in_executor(self.thread, batch[0].answer, [call.item for call in batch])
        outcome: Sequence[Any] | BaseException = (await asyncio.gather(work, return_exceptions=True))[0]
        self.observe(len(batch), [begun - call.since for call in batch], perf_counter() - begun)
        if not isinstance(outcome, BaseException):
            for call, result in zip(batch, outcome, strict=True):
                if not call.future.done():
                    call.future.set_result(result)
        elif len(batch) > 1:
            for call in batch:
                await self.finish([call])
        elif not batch[0].future.done():
            batch[0].future.set_exception(outcome)
