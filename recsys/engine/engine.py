"""The engine: one index, opened once, that answers searches and recommendations in batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recsys.engine.manifest import IndexManifest
from recsys.settings import Settings
from recsys.types import Answer, Filters, Histories, HistorySource, Rung, Scores


class Engine:
    """Answers from one index; the engine that is evaluated is the engine that serves."""

    manifest: IndexManifest

    @classmethod
    def open(cls, folder: Path, *, settings: Settings | None = None, histories: HistorySource | None = None) -> Engine:
        """Open an index folder with the bundles that it was built from; IndexMismatchError where they differ."""
        raise NotImplementedError

    @property
    def model_version(self) -> str:
        """The versions that answer."""
        return self.manifest.model_version

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int = 10,
        filters: Filters | None = None,
        explain: bool = False,
        stages: str | None = None,
    ) -> list[Answer]:
        """The k best products for each query."""
        raise NotImplementedError

    def rank(
        self, queries: Sequence[str], candidates: Sequence[Sequence[str]], *, k: int | None = None
    ) -> list[Answer]:
        """The caller's products in the order of their relevance to the query."""
        raise NotImplementedError

    def score_texts(self, query: str, texts: Sequence[str]) -> Scores:
        """float32 [texts], relevance of each text to the query."""
        raise NotImplementedError

    def recommend(
        self,
        user_ids: Sequence[str],
        *,
        k: int = 20,
        filters: Filters | None = None,
        repeats: bool | None = None,
    ) -> list[Answer]:
        """The k best products for each user, from the history source."""
        raise NotImplementedError

    def recommend_histories(
        self,
        histories: Histories,
        *,
        k: int = 20,
        filters: Filters | None = None,
        repeats: bool | None = None,
        rung: Rung = Rung.SESSION,
    ) -> list[Answer]:
        """The k best products for each history given by the caller, as of an anonymous shopper's session."""
        raise NotImplementedError

    def similar(self, product_ids: Sequence[str], *, k: int = 10, filters: Filters | None = None) -> list[Answer]:
        """The k products nearest to each product."""
        raise NotImplementedError
