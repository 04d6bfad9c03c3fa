"""One thread that writes what many callers bring: all that waits shares one commit, and so one fsync."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Condition, Thread
from time import perf_counter
from typing import NamedTuple

from feature_store.event_log.log import Event, EventLog
from recsys.errors import RecsysError

MOST_WAITING = 50_000
MOST_TOGETHER = 10_000


class FullQueueError(RecsysError):
    """The log takes events more slowly than they come."""


class Waiting(NamedTuple):
    """One caller's events."""

    events: Sequence[Event]
    done: "Future[list[bool]]"


class Writer:
    """Appends to a log from one thread, in the order in which the callers came.

    Args:
        log: where the events go.
        most_waiting: events that may wait; a caller whose events would be more is refused.
        most_together: events that share a commit, unless one caller alone brings more.
        observe: is told the events and the seconds of each commit.
    """

    def __init__(
        self,
        log: EventLog,
        *,
        most_waiting: int = MOST_WAITING,
        most_together: int = MOST_TOGETHER,
        observe: Callable[[int, float], None] = lambda events, seconds: None,
    ) -> None:
        self.log = log
        self.most_waiting = most_waiting
        self.most_together = most_together
        self.observe = observe
        self.waiting: deque[Waiting] = deque()
        self.events = 0
        self.open = True
        self.changed = Condition()
        self.thread = Thread(target=self.work, name="event-log", daemon=True)
        self.thread.start()

    def submit(self, events: Sequence[Event]) -> "Future[list[bool]]":
        """Bring events; the result comes when they are on the disk, and is that of `EventLog.append`.

        Raises:
            FullQueueError: too many events wait, or the writer is closed; none of these was taken.
        """
        done: Future[list[bool]] = Future()
        with self.changed:
            if not self.open or self.events + len(events) > self.most_waiting:
                raise FullQueueError(
                    f"{self.events} events wait to be written" if self.open else "the event log is closing",
                    expected=f"at most {self.most_waiting} with these {len(events)}",
                    action="send the same events again in a moment",
                )
            self.waiting.append(Waiting(events, done))
            self.events += len(events)
            self.changed.notify()
        return done

    def work(self) -> None:
        """Write until the writer is closed and nothing waits."""
        while True:
            if group := self.take():
                self.write(group)
            elif not self.open:
                return

    def write(self, group: Sequence[Waiting]) -> None:
        """Append what some callers brought in one commit, and tell each what became of its own."""
        events = [event for one in group for event in one.events]
        begun = perf_counter()
        try:
            stored = self.log.append(events)
        except Exception as error:  # noqa: BLE001 - it is handed to those who wait
            for one in group:
                one.done.set_exception(error)
        else:
            self.observe(len(events), perf_counter() - begun)
            start = 0
            for one in group:
                one.done.set_result(stored[start : start + len(one.events)])
                start += len(one.events)
        with self.changed:
            self.events -= len(events)

    def take(self) -> list[Waiting]:
        """Wait for callers and take as many as may share a commit; nothing at the end."""
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or not self.open)
            group: list[Waiting] = []
            size = 0
            while self.waiting and (not group or size + len(self.waiting[0].events) <= self.most_together):
                one = self.waiting.popleft()
                if one.done.set_running_or_notify_cancel():
                    group.append(one)
                    size += len(one.events)
                else:  # its caller has left
                    self.events -= len(one.events)
            return group

    def close(self) -> None:
        """Take no more, write what waits, and end the thread."""
        with self.changed:
            self.open = False
            self.changed.notify()
        self.thread.join()
