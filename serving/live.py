"""The live index behind the service: follows `current.json`, and keeps the old one where a new one fails."""

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Protocol

from recsys.catalogue import Catalogue
from recsys.engine.current import CURRENT, current_index
from recsys.engine.manifest import IndexManifest
from recsys.engine.policy import ListShape
from recsys.engine.searcher import ATTRIBUTED, Explain
from recsys.errors import IndexMismatchError, RecsysError
from recsys.types import Answer, Filters, Histories, Rung, Scores

log = logging.getLogger(__name__)

RETRY_SECONDS = 60.0


class Answering(Protocol):
    """What the service asks of an engine; recsys.engine.engine.Engine is one."""

    @property
    def manifest(self) -> IndexManifest:
        """What the index says of itself."""
        ...

    @property
    def catalogue(self) -> Catalogue:
        """The products."""
        ...

    @property
    def model_version(self) -> str:
        """The versions that answer."""
        ...

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int = 10,
        filters: Filters | None = None,
        explain: Explain = False,
        explain_hits: int = ATTRIBUTED,
        stages: str | None = None,
        correct: bool = True,
        min_probability: float | None = None,
        good_only: bool | None = None,
    ) -> list[Answer]:
        """The k best products for each query."""
        ...

    def rank(
        self, queries: Sequence[str], candidates: Sequence[Sequence[str]], *, k: int | None = None
    ) -> list[Answer]:
        """The caller's products in the order of their relevance."""
        ...

    def score_texts(self, query: str, texts: Sequence[str]) -> Scores:
        """float32 [texts], relevance of each text to the query."""
        ...

    def recommend(
        self,
        user_ids: Sequence[str],
        *,
        sessions: Histories | None = None,
        at: Sequence[int | None] | None = None,
        k: int = 20,
        filters: Filters | None = None,
        repeats: bool | None = None,
        shape: ListShape | None = None,
    ) -> list[Answer]:
        """The k best products for each user."""
        ...

    def recommend_histories(
        self,
        histories: Histories,
        *,
        at: Sequence[int | None] | None = None,
        k: int = 20,
        filters: Filters | None = None,
        repeats: bool | None = None,
        shape: ListShape | None = None,
        rung: Rung = Rung.SESSION,
    ) -> list[Answer]:
        """The k best products for each history."""
        ...

    def similar(self, product_ids: Sequence[str], *, k: int = 10, filters: Filters | None = None) -> list[Answer]:
        """The k products nearest to each product."""
        ...


class LiveIndex:
    """The engine of the live index, exchanged whole when `current.json` names another.

    Calls take `engine` once and keep it to their end, so that an exchange drops none of them.

    Args:
        indexes: the folder with `current.json`.
        open_engine: opens an index folder.
    """

    def __init__(self, indexes: Path, *, open_engine: Callable[[Path], Answering]) -> None:
        self.indexes = indexes
        self.open_engine = open_engine
        self.failure: RecsysError | None = None
        self.failures = 0
        self._engine: Answering | None = None
        self._seen = b""
        self._tried = 0.0
        self._lock = Lock()

    @property
    def ready(self) -> bool:
        """True where some index can answer."""
        return self._engine is not None

    @property
    def engine(self) -> Answering:
        """The engine that answers now; IndexMismatchError where none could be loaded yet."""
        if self._engine is None:
            raise self.failure or IndexMismatchError(
                f"no live index in {self.indexes}", expected="an index", action="run `recsys index SHOP`"
            )
        return self._engine

    @property
    def age(self) -> float:
        """Seconds since the index that answers was built; 0 where there is none."""
        if self._engine is None:
            return 0.0
        return max(0.0, (datetime.now(UTC) - self._engine.manifest.created_at).total_seconds())

    def refresh(self) -> bool:
        """Load the index that `current.json` names if it is another; True where the engine was exchanged.

        An index that fails to load leaves the old one in place; the reason stands in `failure`. It is tried again
        when the pointer changes, or after a minute.
        """
        with self._lock:
            seen = self._pointer()
            again = self.failure is not None and monotonic() - self._tried >= RETRY_SECONDS
            if seen == self._seen and not again:
                return False
            self._seen, self._tried = seen, monotonic()
            try:
                engine = self.open_engine(current_index(self.indexes))
            except Exception as error:  # noqa: BLE001 - whatever is wrong with an index, the service outlives it
                self.failures += 1
                self.failure = as_failure(error)
                log.warning("the new index was not loaded, the old one stays: %s", self.failure)
                return False
            self._engine, self.failure = engine, None
            log.info("index %s answers with %s", engine.manifest.digest[:12], engine.model_version)
            return True

    def _pointer(self) -> bytes:
        try:
            return (self.indexes / CURRENT).read_bytes()
        except OSError:
            return b"missing"


def as_failure(error: Exception) -> RecsysError:
    """Why an index was not loaded, as one of our errors."""
    if isinstance(error, RecsysError):
        return error
    return IndexMismatchError(
        f"the index can't be opened ({type(error).__name__}: {' '.join(str(error).split())})",
        expected="a whole index",
        action="build it again with `recsys index SHOP`",
    )
