"""One thread that lets the online features follow the event log: what was acknowledged is in them within a second."""

import logging
from collections.abc import Callable
from threading import Condition, Thread
from time import monotonic

from feature_store.event_log.log import EventLog
from feature_store.event_log.parts import Position
from feature_store.online_features.state import AGAIN
from feature_store.online_features.store import OnlineFeatures
from recsys.errors import RecsysError, StorageError

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
RETRY_SECONDS = 1.0
AT_ONCE = 5_000


class Follower:
    """Adds the log's events to the features, whoever wrote them; any number of followers may do so at once.

    Args:
        features: of the shop.
        log: the shop's.
        observe: is told the events and the seconds of each step.
    """

    def __init__(
        self,
        features: OnlineFeatures,
        log: EventLog,
        *,
        observe: Callable[[int, float], None] = lambda events, seconds: None,
    ) -> None:
        self.features = features
        self.log = log
        self.observe = observe
        self.failure: RecsysError | None = None
        self.behind = 0
        self.open = True
        self.woken = False
        self.changed = Condition()
        self.thread = Thread(target=self.work, name="online-features", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self.thread.start()

    def wake(self) -> None:
        """There is something new in the log."""
        with self.changed:
            self.woken = True
            self.changed.notify()

    def work(self) -> None:
        """Follow until it is closed; a store or log that fails is asked again in a second."""
        while self.open:
            try:
                self.catch_up()
            except Exception as error:  # noqa: BLE001 - whatever fails, the service outlives it and says so
                before, self.failure = self.failure, error if isinstance(error, RecsysError) else unexpected(error)
                if before is None:
                    log.warning("the online features do not follow the events: %s", self.failure)
            else:
                if self.failure is not None:
                    log.warning("the online features follow the events again")
                self.failure = None
            with self.changed:
                wait = LOOK_SECONDS if self.failure is None else RETRY_SECONDS
                self.changed.wait_for(lambda: not self.open or (self.woken and self.failure is None), timeout=wait)
                self.woken = False

    def catch_up(self) -> None:
        """Add all that the log holds by now; nothing where no features were ever published.

        Raises:
            StorageError: those that were published have expired or were lost, or the store or the log fails.
        """
        published = self.features.published()  # asked first: what others publish meanwhile is not lost
        while self.open and (position := self.features.position()) is not None:
            now = self.features.clock()
            after, head = position.within(self.log.identity), self.log.head()
            self.behind = max(0, head - after)
            if not self.behind and not self.features.due():
                return
            begun, until = monotonic(), max(after, min(head, after + AT_ONCE))
            events = self.log.read(after=after, until=until)
            if self.features.add(events, until=Position(self.log.identity, until), now=now):
                self.observe(len(events), monotonic() - begun)
        if published and self.open:
            self.behind = self.log.head()
            raise StorageError(
                "the online features that were published are gone",
                expected="a publication within `[online] ttl_days`, and a store that keeps what it takes",
                action=AGAIN,
            )

    def close(self) -> None:
        """End the thread."""
        with self.changed:
            self.open = False
            self.changed.notify()
        if self.thread.is_alive():
            self.thread.join()


def unexpected(error: Exception) -> RecsysError:
    """An error that nobody foresaw as one of ours."""
    return RecsysError(
        f"internal error {type(error).__name__}", expected="no such error", action="report it with the service's log"
    )
