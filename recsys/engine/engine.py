"""The engine: one index, opened once, that answers searches and recommendations in batches."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from recsys.catalogue import Catalogue
from recsys.engine.cutoff import choose_cutoff
from recsys.engine.ladder import Filled, going_on
from recsys.engine.manifest import IndexManifest
from recsys.engine.moments import Now, answered_at
from recsys.engine.opening import Opened, open_index
from recsys.engine.policy import ListShape
from recsys.engine.ranked import cut
from recsys.engine.recommend import Recommendations
from recsys.engine.search import Search
from recsys.engine.searcher import ATTRIBUTED, MOST_ATTRIBUTED, Explain, Searcher, Wish, closed
from recsys.engine.sessions import answer_sessions
from recsys.errors import UsageError
from recsys.retrieval.each_user import moments
from recsys.settings import Settings, load_settings
from recsys.types import Answer, Filters, Histories, HistorySource, Hit, Rung, Scores

LISTED = 5


@dataclass(frozen=True)
class Engine:
    """Answers from one index; the engine that is evaluated is the engine that serves.

    Every answer names the rung that brought its best hit, and each hit its own where that is another; `message` says
    why an answer is short or empty. Hits stand in the order of (score descending, position ascending); recommendations
    of lower rungs stand below those of higher ones, and scores compare within one source.

    Attributes:
        manifest: what the index says of itself.
        catalogue: the products.
        finder: the search stages.
        recommendations: the recommenders.
        histories: where users' histories are read; None where the caller brings them.
        now: the moment that recommendations are for where the caller does not say, microseconds since 1970-01-01 UTC,
            or a clock that tells it; None where the shop has no calendar, or nobody said.
    """

    manifest: IndexManifest
    catalogue: Catalogue
    finder: Search
    recommendations: Recommendations
    histories: HistorySource | None = None
    now: Now | None = None

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        settings: Settings | None = None,
        histories: HistorySource | None = None,
        now: Now | None = None,
        deterministic: bool = False,
        verify: bool = True,
    ) -> "Engine":
        """Open an index folder with the bundles that it was built from.

        Args:
            folder: the index.
            settings: where downloaded bundles lie; the environment's by default.
            histories: where users' histories are read.
            now: see the class.
            deterministic: give a query's scores the same bytes in every company, slower; see Search.
            verify: hash every file first, a second or so for each gigabyte; see open_index.

        Raises:
            IndexMismatchError: the folder is no index, a file was altered, or its catalogue or a bundle is not the one
                it was built from.
            BundleError: a bundle is damaged.
        """
        found = settings or load_settings()
        opened: Opened = open_index(folder, settings=found, deterministic=deterministic, verify=verify)
        return cls(
            manifest=opened.manifest,
            catalogue=opened.catalogue,
            finder=opened.search,
            recommendations=opened.recommendations,
            histories=histories,
            now=now,
        )

    @property
    def model_version(self) -> str:
        """The versions that answer."""
        return self.manifest.model_version

    @property
    def searcher(self) -> Searcher:
        """Answers queries."""
        return Searcher(self.catalogue, self.finder, self.model_version)

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
        """The k best products for each query.

        Args:
            queries: texts as the shopper typed them.
            k: at most so many hits each.
            filters: which products may be shown.
            explain: also give each stage's part, which add up to the score, and what was read in the query; "tokens"
                gives for the first few hits the words behind the cross-encoder's score as well, where there is one.
            explain_hits: how many those few are, 1 to MOST_ATTRIBUTED of `recsys.engine.searcher`.
            stages: "bm25", "dense", "hybrid" or "full"; None takes the most complete that the index has.
            correct: search for what a mistyped word most likely means; the answer says so.
            min_probability: the least probability of a hit, 0 to 1. What the cross-encoder did not look at has none
                and is not shown. Where nothing is left, the answer says so and what else could be asked.
            good_only: the same with the calibration's own cut-off; None follows the bundle's policy.

        Raises:
            UsageError: the index has no such stages or no calibration for a cut-off, k is below 1, or `explain_hits` is
                out of its range.
        """
        chosen = self.finder.resolve(stages)
        check_k(k)
        check_explained(explain_hits)
        cutoff = choose_cutoff(self.finder, chosen, min_probability=min_probability, good_only=good_only)
        wish = Wish(k, filters or Filters(), chosen, explain, explain_hits, cutoff=cutoff, correct=correct)
        return self.searcher.answer(queries, wish)

    def rank(
        self, queries: Sequence[str], candidates: Sequence[Sequence[str]], *, k: int | None = None
    ) -> list[Answer]:
        """The caller's products in the order of their relevance to the query, by the same sum as `search`.

        Args:
            queries: one for each list of candidates.
            candidates: product ids; unknown ones are left out and named in the message, repeated ones stand once.
            k: at most so many hits each; None gives all.

        Raises:
            UsageError: there are not as many queries as lists of candidates.
        """
        if len(queries) != len(candidates):
            raise UsageError(
                f"{len(queries)} queries and {len(candidates)} lists of candidates",
                expected="one list for each query",
                action="correct the request",
            )
        return [self._rank(query, ids, k=k) for query, ids in zip(queries, candidates, strict=True)]

    def _rank(self, query: str, ids: Sequence[str], *, k: int | None) -> Answer:
        positions = self.catalogue.positions(ids)
        unknown = [name for name, position in zip(ids, positions, strict=True) if position < 0]
        known = np.unique(positions[positions >= 0])
        message = f"unknown products left out: {listed(unknown)}" if unknown else ""
        if not len(known):
            return self.searcher.empty(message or "no candidates")
        ranked = self.finder.within(query, known, stages=self.finder.resolve(None))
        kept = ranked if k is None else cut(ranked, k=k)
        return self.searcher.of(kept, query=query, explain=True, message="", note=message)

    def score_texts(self, query: str, texts: Sequence[str]) -> Scores:
        """float32 [texts], relevance of each text to the query: cross-encoder, else text encoder, else shared words."""
        return self.finder.score_texts(query, texts)

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
        """The k best products for each user; unknown users get what is popular, and the message says so.

        Args:
            user_ids: in any order; unknown ones are allowed.
            sessions: what each of them has done since, in the order of `user_ids`; see `recsys.engine.sessions`.
            at: for each the moment to recommend for, microseconds since 1970-01-01 UTC, never before the newest event;
                None takes the engine's `now`.
            k: at most so many hits each.
            filters: which products may be shown.
            repeats: whether products that the user has bought may come back; None follows the bundle's policy.
            shape: what the lists hold to; what it leaves unset follows the bundle's policy.

        Raises:
            UsageError: this engine has no history source, k is below 1, there are not as many sessions or moments as
                users, a moment is given in a shop without a calendar, or the shape wants what is not known.
        """
        if self.histories is None:
            raise UsageError(
                "users asked for, but no history source is open",
                expected="an engine opened with one",
                action="run `recsys index SHOP`, or give the events themselves",
            )
        known = self.histories.known(user_ids)
        ask = partial(self.recommend_histories, k=k, filters=filters, repeats=repeats, shape=shape)
        now = answered_at(at, users=len(user_ids), now=self.now)
        answers = answer_sessions(self.histories.read(user_ids), sessions, now=now, ask=ask)
        return [
            answer if seen else with_note(answer, "the user is unknown")
            for answer, seen in zip(answers, known, strict=True)
        ]

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
        """The k best products for each history given by the caller, as of an anonymous shopper's session.

        Args:
            histories: what the shoppers did, oldest first; events on unknown products are passed over.
            at: as of `recommend`.
            k: at most so many hits each.
            filters: which products may be shown.
            repeats: whether bought products may come back; None follows the bundle's policy.
            shape: as of `recommend`.
            rung: the name of the rung that reads the history.

        Raises:
            UsageError: as of `recommend`.
        """
        check_k(k)
        now = answered_at(at, users=len(histories), now=self.now)
        allowed = self.catalogue.mask(filters or Filters())
        if (reason := closed(self.catalogue, allowed)) is not None:
            return [self.searcher.empty(reason) for _ in range(len(histories))]
        known = replace(self.catalogue.encode(histories), now=now)
        filled = self.recommendations.lists(
            going_on(known, now=now) if now is not None and rung is Rung.SESSION else known,
            histories.segments,
            k=k,
            allowed=allowed,
            repeats=repeats,
            wishes=shape,
            rung=rung,
        )
        missing = self.recommendations.missing
        answered = [None] * len(histories) if now is None else moments(known, until=0).tolist()
        return [
            replace(self._recommended(found, message=missing), at=moment)
            for found, moment in zip(filled, answered, strict=True)
        ]

    def similar(self, product_ids: Sequence[str], *, k: int = 10, filters: Filters | None = None) -> list[Answer]:
        """The k products nearest to each product, filled up with what is popular in its category.

        Unknown products get what is popular in the whole shop, and the message says so. Arguments as `recommend`.
        """
        check_k(k)
        allowed = self.catalogue.mask(filters or Filters())
        if (reason := closed(self.catalogue, allowed)) is not None:
            return [self.searcher.empty(reason) for _ in product_ids]
        positions = self.catalogue.positions(product_ids)
        filled = self.recommendations.similar(positions, k=k, allowed=allowed)
        return [
            self._recommended(found, message="" if position >= 0 else f"product {name} is unknown")
            for name, position, found in zip(product_ids, positions, filled, strict=True)
        ]

    def _recommended(self, filled: Filled, *, message: str) -> Answer:
        if not len(filled.positions):
            return self.searcher.empty(message or "no recommender knows a product for this")
        hits = tuple(
            Hit(product_id, float(score), rank=rank, source=source, rung=None if rung is filled.rungs[0] else rung)
            for rank, (product_id, score, source, rung) in enumerate(
                zip(self.catalogue.ids(filled.positions), filled.scores, filled.sources, filled.rungs, strict=True),
                start=1,
            )
        )
        return Answer(hits=hits, rung=filled.rungs[0], model_version=self.model_version, message=message)


def check_k(k: int) -> None:
    """Refuse a count below 1."""
    if k < 1:
        raise UsageError(f"k is {k}", expected="1 or more", action="ask for at least one product")


def check_explained(hits: int) -> None:
    """Refuse a number of hits to explain that is out of its range."""
    if not 1 <= hits <= MOST_ATTRIBUTED:
        raise UsageError(f"explain_hits is {hits}", expected=f"1 to {MOST_ATTRIBUTED}", action="correct the number")


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def with_note(answer: Answer, note: str) -> Answer:
    """The answer with the note before its message."""
    parts: Iterable[str] = (note, answer.message) if answer.message else (note,)
    return replace(answer, message="; ".join(parts))
