"""One recommender against the held-out events of a snapshot: the protocol by which components are compared."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from feature_store.snapshot import Snapshot
from recsys.catalogue import Catalogue
from recsys.engine.ladder import Ladder, owned, take
from recsys.types import Positions, Recommender
from training.evaluate.lists import rank_users
from training.evaluate.measured import ByMetric, means
from training.evaluate.trial import Trial, asker, held, read_trial

CUTS = (10, 20)


@dataclass(frozen=True, slots=True)
class Holdout:
    """Users of a part, what they had before and what they bought in it.

    Attributes:
        trial: the users.
        relevant: for each user the positions to find, ascending; none leaves the user out of the means.
        exclude: for each user the positions that may not come back; None lets all come.
        products: size of the catalogue.
    """

    trial: Trial
    relevant: list[Positions]
    exclude: list[Positions] | None
    products: int

    @classmethod
    def read(cls, snapshot: Snapshot, *, catalogue: Catalogue, part: str, repeats: bool = False) -> "Holdout":
        """The users of a part of the snapshot.

        Args:
            snapshot: the events.
            catalogue: its products.
            part: "validation" (history: train) or "test" (history: train and validation).
            repeats: whether what a user already has counts as something to find.
        """
        trial = read_trial(snapshot, catalogue, split=part)
        has = owned(trial.histories) if snapshot.manifest.split.kind == "time" else held(trial.histories)
        fresh = [np.setdiff1d(bought, known) for bought, known in zip(trial.relevant, has, strict=True)]
        return cls(
            trial=trial,
            relevant=trial.relevant if repeats else fresh,
            exclude=None if repeats else has,
            products=len(catalogue),
        )

    def take(self, users: NDArray[np.int64]) -> "Holdout":
        """Some of the users, by their row."""
        trial = replace(
            self.trial,
            user_ids=[self.trial.user_ids[user] for user in users],
            histories=take(self.trial.histories, users),
            segments=tuple(self.trial.segments[user] for user in users),
            relevant=[self.trial.relevant[user] for user in users],
        )
        hidden = None if self.exclude is None else [self.exclude[user] for user in users]
        return replace(self, trial=trial, relevant=[self.relevant[user] for user in users], exclude=hidden)

    def with_repeats(self) -> "Holdout":
        """The same users, where what they already have counts as something to find."""
        return replace(self, relevant=self.trial.relevant, exclude=None)

    def score(self, recommender: Recommender, *, cuts: Sequence[int] = CUTS) -> ByMetric:
        """recall@k and ndcg@k of every user, float64 [users], averaged over ties; NaN where nothing is relevant."""
        ladder = Ladder(personal=(recommender,))
        ask = asker(ladder, self.trial, products=self.products, exclude=self.exclude)
        return rank_users(ask, self.relevant, products=self.products, cuts=cuts)[0]

    def measure(self, recommender: Recommender) -> dict[str, float]:
        """The means, by name: "validation/ndcg@10" and so on; 0 where no user is left."""
        return {f"validation/{name}": value or 0.0 for name, value in means(self.score(recommender)).items()}
