"""Whether an online store answers: those who ask go on without it, and ask again in a second."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

from recsys.errors import StorageError

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
Answer = TypeVar("Answer")


@dataclass
class Watch:
    """How a store does.

    Attributes:
        what: is read from it, in a few words.
        failure: why it does not answer; None where it did when it was asked last.
        failures: how often it did not, those who did not ask because of that included.
        clock: seconds.
    """

    what: str = "histories"
    failure: StorageError | None = None
    failures: int = 0
    clock: Callable[[], float] = monotonic
    _asked: float = 0.0

    def ask(self, call: Callable[[], Answer], *, otherwise: Answer) -> Answer:
        """What the store answers, or something else where it does not; one that failed is spared for a second."""
        if self.failure is not None and self.clock() - self._asked < RETRY_SECONDS:
            self.failures += 1
            return otherwise
        try:
            answer = call()
        except StorageError as error:
            if self.failure is None:
                log.warning("answers without %s: %s", self.what, error)
            self.failure, self._asked = error, self.clock()
            self.failures += 1
            return otherwise
        if self.failure is not None:
            log.warning("%s answer again", self.what)
            self.failure = None
        return answer
