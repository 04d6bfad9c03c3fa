"""What a run learns from: the shop's own judgments, other shops', the past's, and pairs that teachers grade alone."""

from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from feature_store.snapshot import Snapshot
from recsys.digest import folder_digest
from recsys.errors import NothingToLearnError, UsageError
from recsys.registry.client import Registry
from recsys.settings import Settings
from recsys.text.tokenizer import TextTokenizer
from training.negatives.mine import none_mined
from training.relevance.config import RelevanceConfig
from training.relevance.data import (
    Teach,
    join_pairs,
    mined_rows,
    not_held_out,
    of_shop,
    other_judgments,
    snapshot_pairs,
)
from training.relevance.fewshot import sample_queries
from training.relevance.module import Pairs
from training.relevance.negatives import with_negatives
from training.relevance.objective import GROUPED
from training.relevance.replay import Past, find_past, new_since
from training.relevance.teacher import Teachers, find_teacher
from training.relevance.transfer import found_pairs, title_queries, unjudged_pairs

Judged = list[tuple[Snapshot, pl.DataFrame]]
"""Judgments, or pairs that have no grade yet, each with the shop they belong to."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What stands beside the main shop's snapshot.

    Attributes:
        others: snapshots of other shops.
        past: what the model to start from has seen; None where everything is learned.
        teachers: folders of the teachers' components.
    """

    others: tuple[Snapshot, ...] = ()
    past: Past | None = None
    teachers: tuple[Path, ...] = ()

    def told(self) -> dict[str, Any]:
        """What a bundle records of them; nothing where there is nothing."""
        also = {"also": [other.manifest.snapshot_id for other in self.others]} if self.others else {}
        past = {"replayed": self.past.snapshot.manifest.snapshot_id} if self.past else {}
        taught = {"taught_by": [folder_digest(folder) for folder in self.teachers]} if self.teachers else {}
        return also | past | taught

    def found(
        self, config: RelevanceConfig, *, start: Path | None, registry: Registry, settings: Settings
    ) -> "Sources":
        """These sources with the teachers and the past that the settings name.

        Raises:
            UsageError: settings that make no sense together, or a model that is no teacher.
            SnapshotError: the past's snapshot is gone.
            RegistryError: no such model.
        """
        if config.transfer and not config.teachers:
            raise UsageError("transfer without teachers", expected="teachers that grade the pairs", action="name them")
        if config.transfer_titles and not config.transfer:
            raise UsageError(
                "transfer_titles without transfer",
                expected="how many products a made-up query has",
                action="set transfer, too",
            )
        past = None if config.replay is None else find_past(start, config=config, settings=settings)
        return replace(
            self,
            past=past,
            teachers=tuple(find_teacher(address, registry=registry) for address in config.teachers),
        )


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the pairs of one run.

    Attributes:
        snapshot: the main shop's.
        sources: what is read beside it.
        tokenizer: of the network that learns.
        config: of the run.
        work: its folder; the teachers' logits are kept there.
    """

    snapshot: Snapshot
    sources: Sources
    tokenizer: TextTokenizer
    config: RelevanceConfig
    work: Path

    def pairs(self, *parts: str) -> Pairs | None:
        """What is learned from some parts of the main shop, and from other shops where they are not learned before.

        None where that is nothing.

        Raises:
            NothingToLearnError: labels are asked for and there are none in these parts, or nothing new since the past.
        """
        own = self.own(parts)
        others = [] if self.config.also_epochs else self.of_others()
        graded = [] if own is None else [(self.snapshot, own)]
        asking = [(self.snapshot, self.snapshot.judgments(*parts)), *others]
        return self.joined([*graded, *others, *self.replayed()], self.asked(asking) + self.made_up())

    def before(self) -> Pairs | None:
        """What is learned before the main shop's own judgments; None where that is nothing."""
        if not self.config.also_epochs:
            return None
        graded = self.of_others()
        return self.joined(graded, self.asked(graded))

    def joined(self, graded: Judged, unjudged: Judged) -> Pairs | None:
        """Tokenised pairs of several shops, each with what is mined for it; those that teachers grade alone weigh 0.

        Raises:
            NothingToLearnError: negatives are wanted, and none is found for any query.
        """
        teachers = self.teachers()
        teach = teachers.logits if teachers else None
        if graded and self.config.negatives:
            graded = self.widened(graded, teachers=teachers)
        found = [self.read(shop, judgments, teach=teach) for shop, judgments in graded]
        for shop, judgments in unjudged:
            pairs = self.read(shop, judgments, teach=teach)
            found.append(replace(pairs, weights=np.zeros_like(pairs.weights)))
        return reduce(join_pairs, found) if found else None

    def teachers(self) -> Teachers | None:
        """Those of the run; None where there are none."""
        if not self.sources.teachers:
            return None
        return Teachers(self.sources.teachers, self.work / "teacher", self.config.precision)

    def widened(self, graded: Judged, *, teachers: Teachers | None) -> Judged:
        """The judgments, each shop's with what is mined for its queries, none of which is held out."""
        config, work = self.config, self.work / "negatives"
        wide = [
            (shop, with_negatives(shop, rows, known=self.known(shop), config=config, work=work, teachers=teachers))
            for shop, rows in graded
        ]
        if not any(mined_rows(rows).any() for _, rows in wide):
            raise none_mined(self.config, products=sum(len(shop.catalogue()) for shop, _ in wide))
        return wide

    def known(self, shop: Snapshot) -> pl.DataFrame:
        """Columns query and product_id: all that is judged of a shop outside its test part, and in its past."""
        found = [shop.judgments("train", "validation")]
        past = self.sources.past
        if past is not None and any(shop is one for one in (self.snapshot, past.snapshot)):
            found += [self.snapshot.judgments("train", "validation"), past.judgments()]
        return pl.concat([frame.select("query", "product_id") for frame in found])

    def of_others(self) -> Judged:
        """What the other shops add to the main one; see `other_judgments`."""
        return [(other, other_judgments(other, main=self.snapshot)) for other in self.sources.others]

    def own(self, parts: tuple[str, ...]) -> pl.DataFrame | None:
        """The main shop's judgments that are learned; None where no label is asked for."""
        if self.config.label_share == 0:
            return None
        judgments = self.snapshot.judgments(*parts)
        if judgments.is_empty():
            raise NothingToLearnError(
                f"{self.snapshot.path} has no judgments in the training part",
                expected="graded query-product pairs",
                action="add queries and judgments to the shop, then run recsys features",
            )
        if self.sources.past is not None:
            judgments = new_since(judgments, self.sources.past.judgments())
            if judgments.is_empty():
                raise NothingToLearnError(
                    f"{self.snapshot.path} has no judgments that the model to start from has not learned",
                    expected="new ones in its training part",
                    action="leave replay out to learn all of them again",
                )
        return sample_queries(judgments, share=self.config.label_share, seed=self.config.seed)

    def replayed(self) -> Judged:
        """A share of the past's queries, never one that is held out now."""
        past = self.sources.past
        if past is None:
            return []
        known = not_held_out(past.judgments(), main=self.snapshot)
        drawn = sample_queries(known, share=self.config.replay or 0.0, seed=self.config.seed)
        return [] if drawn.is_empty() else [(past.snapshot, drawn)]

    def asked(self, asking: Judged) -> Judged:
        """Unjudged pairs of queries, labelled or not, of some shops."""
        count, work = self.config.transfer, self.work
        if not count:
            return []
        found = [(shop, unjudged_pairs(shop, judgments, count=count, work=work)) for shop, judgments in asking]
        return [(shop, pairs) for shop, pairs in found if not pairs.is_empty()]

    def made_up(self) -> Judged:
        """Unjudged pairs of made-up queries, spans of the main shop's titles."""
        if not self.config.transfer_titles:
            return []
        made = title_queries(self.snapshot, count=self.config.transfer_titles, seed=self.config.seed)
        pairs = found_pairs(self.snapshot, made, count=self.config.transfer, work=self.work)
        return [] if pairs.is_empty() else [(self.snapshot, pairs)]

    def read(self, shop: Snapshot, judgments: pl.DataFrame, *, teach: Teach | None) -> Pairs:
        """Tokenised pairs with the teachers' logits, of shop 0 where that is the main one or its past."""
        pairs = snapshot_pairs(shop, judgments, tokenizer=self.tokenizer, config=self.config, teach=teach)
        return of_shop(pairs, next((n for n, other in enumerate(self.sources.others, start=1) if other is shop), 0))


def refuse_uniform(pairs: Pairs | None, *, snapshot: Snapshot, config: RelevanceConfig) -> None:
    """Refuse grades that tell no product from another; where teachers grade as well, they do.

    Args:
        pairs: of the training part; None where nothing is learned.
        snapshot: the main shop's, for the message.
        config: losses of the order need two grades for one query, the others two at all.

    Raises:
        NothingToLearnError: nothing could be learned from them, whatever the settings.
    """
    if pairs is None or pairs.teacher is not None:
        return
    ordered = config.loss in GROUPED
    graded = np.unique(np.stack([pairs.queries * ordered, pairs.grades], axis=1), axis=0)
    if len(graded) > len(np.unique(graded[:, 0])):
        return
    found = f"all {len(pairs)} have grade {pairs.grades[0]:g}" if len(graded) == 1 else "each query has one grade"
    raise NothingToLearnError(
        f"the judgments in the training part of {snapshot.path} tell no product from another: {found}",
        expected="products of different grades" + (" for one query" if ordered else ""),
        action="judge products that match less well, too, then run recsys features",
    )
