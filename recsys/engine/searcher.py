"""From queries to answers: the search stages' rankings as hits, cut off where that is asked for, and explained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Literal

import numpy as np

from recsys.catalogue import Catalogue
from recsys.engine.ranked import NONE, Ranked, alone, cut, good
from recsys.engine.relax import Attempt, attempts
from recsys.engine.search import Search
from recsys.meaning import Understanding
from recsys.types import Answer, Filters, Hit, Mask, Relaxation, Rung

Explain = bool | Literal["tokens"]
ATTRIBUTED = 3
"""Hits of an answer whose words are explained where the caller does not say; each costs about as much as scoring fifty
products."""
MOST_ATTRIBUTED = 20
"""The most that a caller may ask for."""
SHOWN = 3
"""Hits of a relaxation that stand in the answer."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How queries are to be answered, all checked.

    Attributes:
        k: at most so many hits each.
        filters: which products may be shown.
        stages: those that run.
        explain: True gives each stage's part; "tokens" also the words behind the network's score.
        explain_hits: the words of so many first hits.
        cutoff: the least probability of a hit; None lets all pass.
        correct: whether mistyped words are searched for as they were most likely meant.
    """

    k: int
    filters: Filters = field(default_factory=Filters)
    stages: str = "full"
    explain: Explain = False
    explain_hits: int = ATTRIBUTED
    cutoff: float | None = None
    correct: bool = True


@dataclass(frozen=True, slots=True)
class Searcher:
    """Answers queries from one index.

    Attributes:
        catalogue: the products.
        search: the stages.
        model_version: the versions that answer.
    """

    catalogue: Catalogue
    search: Search
    model_version: str

    def answer(self, queries: Sequence[str], wish: Wish) -> list[Answer]:
        """One answer for each query; where a cut-off leaves one empty, with what else could be asked."""
        allowed = self.catalogue.mask(wish.filters)
        reason = closed(self.catalogue, allowed)
        asked = [number for number, query in enumerate(queries) if query.strip()]
        read = self.search.read([queries[number] for number in asked], correct=wish.correct)
        rankings = self.ranked(read, wish, allowed=allowed)
        found = dict(zip(asked, zip(read, rankings, strict=True), strict=True))
        answers = [
            self.first(*found[number], wish)
            if reason is None and number in found
            else self.empty(reason or "the query is empty")
            for number in range(len(queries))
        ]
        if wish.cutoff is None or not len(self.catalogue):
            return answers
        failed = [number for number in asked if not answers[number].hits]
        relaxed = self.relax({number: found[number][0] for number in failed}, wish)
        for number in failed:
            tried = (*relaxed[number], *self.closest(*found[number], wish))
            answers[number] = replace(answers[number], no_good_match=True, relaxations=tried)
        return answers

    def ranked(self, read: Sequence[Understanding], wish: Wish, *, allowed: Mask | None) -> list[Ranked]:
        """The rankings before the cut-off: of k products, with a cut-off of all that the network looks at."""
        if closed(self.catalogue, allowed) is not None:
            return [alone(NONE) for _ in read]
        depth = wish.k if wish.cutoff is None else max(wish.k, self.search.policy.depth)
        return list(self.search.run(read, k=depth, allowed=allowed, stages=wish.stages))

    def first(self, read: Understanding, ranked: Ranked, wish: Wish) -> Answer:
        """The answer to one query."""
        kept, message = ranked, "no product matches"
        if wish.cutoff is not None:
            kept = cut(good(ranked, cutoff=wish.cutoff), k=wish.k)
            message = f"no product is a good match with probability {wish.cutoff:g} or more"
        answer = self.of(kept, query=read.text, explain=wish.explain, explained=wish.explain_hits, message=message)
        return replace(
            answer,
            corrected_query=read.corrected,
            did_you_mean=read.suggestion,
            understanding=read if wish.explain else None,
        )

    def of(
        self,
        ranked: Ranked,
        *,
        query: str,
        explain: Explain,
        message: str,
        note: str = "",
        explained: int = ATTRIBUTED,
    ) -> Answer:
        """A ranking as an answer; `message` says why it is empty, `note` stands by one that is not.

        With `explain` "tokens", so many first hits as `explained` says have their words explained.
        """
        if not len(ranked.positions):
            return self.empty(message)
        hits = self.hits(ranked, explain=bool(explain))
        if explain == "tokens":
            hits = self.attributed(query, ranked, hits, count=explained)
        return Answer(hits=hits, rung=Rung.QUERY, model_version=self.model_version, message=note)

    def empty(self, message: str) -> Answer:
        """The answer without a hit."""
        return Answer(hits=(), rung=Rung.NONE, model_version=self.model_version, message=message)

    def hits(self, ranked: Ranked, *, explain: bool) -> tuple[Hit, ...]:
        """The rows of a ranking as hits."""
        chances = ranked.probabilities
        return tuple(
            Hit(
                product_id=product_id,
                score=float(ranked.scores[row]),
                rank=row + 1,
                source=ranked.sources[row],
                parts={name: float(part[row]) for name, part in ranked.parts.items()} if explain else {},
                probability=None if chances is None or np.isnan(chances[row]) else float(chances[row]),
            )
            for row, product_id in enumerate(self.catalogue.ids(ranked.positions))
        )

    def attributed(self, query: str, ranked: Ranked, hits: tuple[Hit, ...], *, count: int) -> tuple[Hit, ...]:
        """The hits, the first few with the words behind their scores where a network gave them."""
        if "cross_encoder" not in ranked.parts:
            return hits
        found = self.search.attribute(query, ranked.positions[:count])
        first = [replace(hit, attribution=words) for hit, words in zip(hits, found, strict=False)]
        return (*first, *hits[len(first) :])

    def relax(self, queries: Mapping[int, Understanding], wish: Wish) -> dict[int, list[Relaxation]]:
        """For each query what else was tried; attempts under equal filters are one search."""
        tried = [(number, attempt) for number, read in queries.items() for attempt in self.attempts(read, wish)]
        by_filters: dict[Filters, dict[str, None]] = {}
        for _, attempt in tried:
            by_filters.setdefault(attempt.filters, {})[attempt.query] = None
        rankings: dict[tuple[Filters, str], Ranked] = {}
        for filters, asked in by_filters.items():
            read = self.search.read(list(asked), correct=wish.correct)
            found = self.ranked(read, wish, allowed=self.catalogue.mask(filters))
            rankings |= {(filters, query): ranked for query, ranked in zip(asked, found, strict=True)}
        relaxed: dict[int, list[Relaxation]] = {number: [] for number in queries}
        for number, attempt in tried:
            ranked = rankings[attempt.filters, attempt.query]
            relaxed[number].append(self.relaxation(attempt, good(ranked, cutoff=wish.cutoff or 0.0)))
        return relaxed

    def attempts(self, read: Understanding, wish: Wish) -> list[Attempt]:
        """What is tried for one query; its spelling where that was doubtful, or was not to be corrected."""
        meant = read if wish.correct else self.search.read([read.query])[0]
        spelling = meant.suggestion or meant.corrected
        found = attempts(read.text, wish.filters, vocabulary=self.search.vocabulary, spelling=spelling)
        return list(islice(found, self.search.policy.relaxations))

    def relaxation(self, attempt: Attempt, kept: Ranked) -> Relaxation:
        """What an attempt brought."""
        return Relaxation(
            kind=attempt.kind,
            what=attempt.what,
            query=attempt.query,
            filters=attempt.filters,
            good=len(kept.positions),
            hits=self.hits(cut(kept, k=SHOWN), explain=False),
        )

    def closest(self, read: Understanding, ranked: Ranked, wish: Wish) -> list[Relaxation]:
        """The best of what was found and is no good match."""
        if not len(ranked.positions):
            return []
        what = f"the cut-off at probability {wish.cutoff:g}"
        hits = self.hits(cut(ranked, k=SHOWN), explain=False)
        return [Relaxation(kind="closest", what=what, query=read.text, filters=wish.filters, good=0, hits=hits)]


def closed(catalogue: Catalogue, allowed: Mask | None) -> str | None:
    """Why no product can be shown at all; None where some can."""
    if not len(catalogue):
        return "the catalogue is empty"
    return None if allowed is None or allowed.any() else "the filters let no product pass"
