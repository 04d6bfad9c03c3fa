"""The blend: candidates of all recommenders in one order, by what is known of each for this user."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsys.bundle.read import Bundle
from recsys.bundle.recommenders import changed
from recsys.catalogue import Catalogue
from recsys.engine.ladder import NOTHING, take
from recsys.ranking.candidate_blender import FACTS, CandidateBlender
from recsys.ranking.candidate_signals import ProductFacts, candidate_matrix
from recsys.retrieval.each_user import moments
from recsys.retrieval.order import in_order, nothing
from recsys.retrieval.vocabulary import read_table
from recsys.types import Candidates, Mask, PositionHistories, Positions, Recommender, Vectors

NAME = "blend"


@dataclass(frozen=True)
class BlendRecommender:
    """Asks every source and orders what they bring by the blender; each product names who stands behind it.

    Attributes:
        blender: the fitted blender.
        table: which of its functions: with repeats or without.
        sources: in the blender's order.
        facts: of the catalogue.
    """

    blender: CandidateBlender
    table: str
    sources: tuple[Recommender, ...]
    facts: ProductFacts

    @property
    def name(self) -> str:
        """The blend's name."""
        return NAME

    def recommend(
        self,
        histories: PositionHistories,
        *,
        k: int,
        allowed: Mask | None = None,
        exclude: Sequence[Positions] | None = None,
    ) -> list[Candidates]:
        """The k best of what the sources bring, which is not more than their settings say; see Recommender."""
        settings = self.blender.settings
        gathered = gather(self.sources, histories, candidates=settings.candidates, allowed=allowed, exclude=exclude)
        now = moments(histories, until=settings.until)
        pools = [union(lists) for lists in gathered]
        matrices = [
            candidate_matrix(lists, pool, history=take(histories, np.array([row])), now=int(now[row]), facts=self.facts)
            for row, (lists, pool) in enumerate(zip(gathered, pools, strict=True))
        ]
        if not matrices:
            return []
        scores = self.blender.score(np.concatenate(matrices), table=self.table)
        ends = np.cumsum([len(pool) for pool in pools])
        return [
            best(lists, pool, part, k=k)
            for lists, pool, part in zip(gathered, pools, np.split(scores, ends[:-1]), strict=True)
        ]


def gather(
    sources: Sequence[Recommender],
    histories: PositionHistories,
    *,
    candidates: int,
    allowed: Mask | None = None,
    exclude: Sequence[Positions] | None = None,
) -> list[tuple[Candidates, ...]]:
    """For each user what each source brings; nothing for a user without a history.

    Args:
        sources: who is asked.
        histories: of the users.
        candidates: at most so many of each source.
        allowed: as of `Recommender.recommend`.
        exclude: the same.
    """
    lists = [source.recommend(histories, k=candidates, allowed=allowed, exclude=exclude) for source in sources]
    known = np.diff(histories.offsets) > 0
    return [
        tuple(found[row] if known[row] else nothing(found[row].source) for found in lists)
        for row in range(len(histories))
    ]


def union(lists: Sequence[Candidates]) -> Positions:
    """int64 [candidates]: every position that some list holds, ascending."""
    return np.unique(np.concatenate([NOTHING, *(found.positions for found in lists)]))


def best(lists: Sequence[Candidates], pool: Positions, scores: Vectors, *, k: int) -> Candidates:
    """The k best of a pool; each is named after the list in which it stands highest, the first of equals."""
    positions, ordered = in_order(pool, scores, k=k)
    if not len(positions):
        return nothing(NAME)
    ranks = np.full((len(lists), len(pool)), np.iinfo(np.int64).max)
    for row, found in enumerate(lists):
        ranks[row, np.searchsorted(pool, found.positions)] = np.arange(len(found.positions))
    highest = ranks.argmin(axis=0)[np.searchsorted(pool, positions)]
    return Candidates(positions, ordered, NAME, tuple(lists[row].source for row in highest))


def find_blends(
    bundle: Bundle, catalogue: Catalogue, *, recommenders: Mapping[str, Recommender]
) -> tuple[dict[str, BlendRecommender], str]:
    """The blends of a bundle by table, and why there are none; "" where it never had one.

    A blend whose sources are gone, or were learned with other settings since, stays out: their scores mean other
    things. One that was learned anew with the same settings is as good.

    Raises:
        BundleError: the blender can't be read.
    """
    folder = bundle.component("recommend_blender")
    if folder is None:
        return {}, ""
    blender = CandidateBlender.load(folder)
    missing = [name for name in blender.settings.sources if name not in recommenders]
    other = changed(blender.settings.learned_over, bundle)
    if missing or other:
        return {}, f"{', '.join(missing or other)} changed since; run `recsys train recommend-blender`"
    sources = tuple(recommenders[name] for name in blender.settings.sources)
    facts = read_facts(folder, catalogue, calendar=blender.settings.calendar)
    return {table: BlendRecommender(blender, table, sources, facts) for table in blender.settings.tables}, ""


def read_facts(folder: Path, catalogue: Catalogue, *, calendar: bool) -> ProductFacts:
    """What a blender's table says of today's products.

    Raises:
        BundleError: the table is missing or damaged.
    """
    table = read_table(folder / FACTS, columns=("product_id", "sales", "ever", "first", "last"))
    positions = catalogue.positions(table["product_id"])
    known = positions >= 0
    sales, ever = (np.full(len(catalogue), np.nan, dtype=np.float32) for _ in range(2))
    first, last = (np.full(len(catalogue), -1, dtype=np.int64) for _ in range(2))
    for column, name in ((sales, "sales"), (ever, "ever"), (first, "first"), (last, "last")):
        column[positions[known]] = table[name].to_numpy()[known]
    prices = catalogue.column("price").cast(float).fill_null(float("nan")).to_numpy().astype(np.float32)
    return ProductFacts(
        sales=sales,
        ever=ever,
        first=first,
        last=last,
        categories=catalogue.numbers("category"),
        brands=catalogue.numbers("brand"),
        prices=np.where(prices > 0, prices, np.float32(np.nan)),
        calendar=calendar,
    )
