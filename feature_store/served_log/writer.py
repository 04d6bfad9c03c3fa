"""One thread that writes a sample of what was served; no request ever waits for it, or fails with it."""

import logging
from collections import deque
from collections.abc import Callable
from random import Random
from threading import Condition, Thread

from feature_store.forgetting.marks import NOBODY, Forgotten
from feature_store.online_features.reading import Read
from feature_store.served_log.log import ServedLog
from recsys.errors import RecsysError

log = logging.getLogger(__name__)

MOST_WAITING = 20_000
"""Rows that may wait; what more comes is dropped and counted."""
GATHER_SECONDS = 0.2
"""How long rows are gathered before they are written together."""


class ServedWriter:
    """Takes a share of all reads and writes them to the served log.

    Args:
        served: where they go.
        share: of the reads that are taken, from 0 to 1; what each publication says of itself where None.
        seed: of the drawing.
        forgotten: gives those who were forgotten by now; no row of them is written.
        observe: is told what became of rows ("kept", "dropped" where too many waited, "failed") and how many.
        most_waiting: rows that may wait.
    """

    def __init__(
        self,
        served: ServedLog,
        *,
        share: float | None,
        seed: int,
        forgotten: Callable[[], Forgotten] = lambda: NOBODY,
        observe: Callable[[str, int], None] = lambda result, rows: None,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self.served = served
        self.share = share
        self.forgotten = forgotten
        self.observe = observe
        self.most_waiting = most_waiting
        self.random = Random(seed)
        self.waiting: deque[Read] = deque()
        self.rows = 0
        self.failing = False
        self.open = True
        self.changed = Condition()
        self.thread = Thread(target=self.work, name="served-log", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self.thread.start()

    def note(self, read: Read) -> None:
        """Take what was read, if it is drawn."""
        share = read.about.log_share if self.share is None else self.share
        with self.changed:
            if self.random.random() >= share or not read.keys:
                return
            full = not self.open or self.rows + len(read.keys) > self.most_waiting
            if not full:
                self.waiting.append(read)
                self.rows += len(read.keys)
                self.changed.notify()
        if full:
            self.observe("dropped", len(read.keys))

    def work(self) -> None:
        """Write until it is closed and nothing waits."""
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.waiting or not self.open)
                if self.open:
                    self.changed.wait_for(lambda: not self.open, timeout=GATHER_SECONDS)
                reads, self.rows = [*self.waiting], 0
                self.waiting.clear()
            if reads:
                self.write(reads)
            elif not self.open:
                return

    def write(self, reads: list[Read]) -> None:
        """Write reads in one step; a log that fails is told once, until it takes rows again."""
        try:
            kept = self.served.append(reads, forgotten=self.forgotten())
        except Exception as error:  # noqa: BLE001 - whatever fails, the service outlives it and says so
            self.observe("failed", sum(len(read.keys) for read in reads))
            if not self.failing:
                told = error if isinstance(error, RecsysError) else f"internal error {type(error).__name__}"
                log.warning("served features are not logged: %s", told)
            self.failing = True
        else:
            self.observe("kept", kept)
            if self.failing:
                log.warning("served features are logged again")
            self.failing = False

    def close(self) -> None:
        """Take no more, write what waits, and end the thread."""
        with self.changed:
            self.open = False
            self.changed.notify()
        if self.thread.is_alive():
            self.thread.join()
        self.served.close()
