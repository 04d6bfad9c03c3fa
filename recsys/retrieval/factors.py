"""Matrix factors (ALS, BPR): product vectors from a file, users folded in by one linear solve each."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue import Catalogue
from recsys.retrieval.fold_in import least_squares, pairwise_step
from recsys.retrieval.order import top_k
from recsys.retrieval.vocabulary import broken, catalogue_rows, read_array, read_text
from recsys.types import Candidates, Mask, PositionHistories, Positions, Vectors

SETTINGS = "factors.json"
FACTORS = "product_factors.npy"
BIASES = "product_biases.npy"
USERS = 1024
"""Users whose scores over the whole catalogue are held at once."""


@dataclass(frozen=True, slots=True)
class FactorSettings:
    """How users are folded in.

    Attributes:
        name: "als" or "bpr".
        alpha: confidence of one event.
        regularization: weight of the ridge, above 0.
        counts: whether a product's confidence grows with its events; False counts it once.
        pairwise: whether the factors were learned from pairs of products, as BPR's are, and not by least squares.
    """

    name: str
    alpha: float
    regularization: float
    counts: bool = False
    pairwise: bool = False


class FactorRecommender:
    """Inner products of user and product factors.

    Args:
        factors: float32 [catalogue, width], zeros where the model never saw the product.
        known: bool [catalogue], which products the model saw.
        biases: float32 [catalogue], added to the scores; None adds nothing.
        settings: see FactorSettings.
    """

    def __init__(
        self, *, factors: Vectors, known: Mask, settings: FactorSettings, biases: NDArray[np.float32] | None = None
    ) -> None:
        self.name = settings.name
        self.factors, self.known, self.biases, self.settings = factors, known, biases, settings
        seen = factors[known].astype(np.float64)
        self.gram = seen.T @ seen
        self.mean = seen.mean(axis=0) if len(seen) else np.zeros(factors.shape[1])
        self.covariance = self.gram / max(1, len(seen)) - np.outer(self.mean, self.mean)

    @classmethod
    def load(cls, folder: Path, *, catalogue: Catalogue) -> "FactorRecommender":
        """Read the component and number it by the catalogue.

        Raises:
            BundleError: a file is missing or damaged, or does not fit the others.
        """
        try:
            settings = FactorSettings(**json.loads(read_text(folder / SETTINGS)))
        except (ValueError, TypeError) as error:
            raise broken(folder / SETTINGS, expected="the settings of matrix factors") from error
        rows = catalogue_rows(folder, catalogue=catalogue)
        factors = read_array(folder / FACTORS)
        if factors.ndim != 2 or rows.max(initial=-1) >= len(factors):
            raise broken(folder / FACTORS, expected="one row of factors for each row of the vocabulary")
        known = rows >= 0
        own = np.where(known[:, None], factors[rows], np.float32(0.0)) if len(factors) else factors
        biases = read_array(folder / BIASES)[rows] if (folder / BIASES).exists() else None
        return cls(factors=own, known=known, biases=biases, settings=settings)

    def recommend(
        self,
        histories: PositionHistories,
        *,
        k: int,
        allowed: Mask | None = None,
        exclude: Sequence[Positions] | None = None,
    ) -> list[Candidates]:
        """The k products of the highest inner product; see Recommender."""
        passing = self.known if allowed is None else self.known & allowed
        found: list[Candidates] = []
        for start in range(0, len(histories), USERS):
            users = range(start, min(start + USERS, len(histories)))
            vectors, reached = self.encode_users([histories.of(user) for user in users])
            scores = vectors @ self.factors.T
            if self.biases is not None:
                scores += self.biases
            for user, row, knows in zip(users, scores, reached, strict=True):
                hidden = None if exclude is None else exclude[user]
                positions, best = top_k(row, k=k if knows else 0, allowed=passing, exclude=hidden)
                found.append(Candidates(positions, best, self.name))
        return found

    def encode_users(self, histories: Sequence[Positions]) -> tuple[Vectors, Mask]:
        """Factors of users, each by one solve; see `recsys.retrieval.fold_in`.

        Args:
            histories: for each user the positions of the events.

        Returns:
            float32 [users, width], and bool [users], True where the history holds a known product.
        """
        vectors = np.zeros((len(histories), self.factors.shape[1]), dtype=np.float32)
        reached = np.zeros(len(histories), dtype=np.bool_)
        for user, positions in enumerate(histories):
            own, events = np.unique(positions[self.known[positions]], return_counts=True)
            reached[user] = len(own) > 0
            if reached[user]:
                vectors[user] = self._solve(self.factors[own].astype(np.float64), events)
        return vectors, reached

    def _solve(self, own: NDArray[np.float64], events: NDArray[np.int64]) -> NDArray[np.float64]:
        """float64 [width]: one user's vector by the objective that the factors were learned with."""
        settings = self.settings
        if settings.pairwise:
            return pairwise_step(own, mean=self.mean, covariance=self.covariance, ridge=settings.regularization)
        counted = events if settings.counts else np.ones(len(own))
        return least_squares(own, counted, gram=self.gram, alpha=settings.alpha, ridge=settings.regularization)
