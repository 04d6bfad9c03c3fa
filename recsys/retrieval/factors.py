"""Matrix factors (ALS, BPR): product vectors from a file, users folded in by one linear solve each."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue import Catalogue
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
    """

    name: str
    alpha: float
    regularization: float
    counts: bool = False


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
        self.gram = factors.T.astype(np.float64) @ factors.astype(np.float64)

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
        """Factors of users, by the exact half-step of alternating least squares.

        x = (Y'Y + Y'(C - I)Y + r I)^-1 Y'c for the products' factors Y, confidences c = alpha x events, ridge r.
        Source: Hu, Koren and Volinsky, "Collaborative filtering for implicit feedback datasets" (ICDM 2008), eq. 4.

        Args:
            histories: for each user the positions of the events.

        Returns:
            float32 [users, width], and bool [users], True where the history holds a known product.
        """
        width = self.factors.shape[1]
        ridge = self.settings.regularization * np.eye(width)
        vectors = np.zeros((len(histories), width), dtype=np.float32)
        reached = np.zeros(len(histories), dtype=np.bool_)
        for user, positions in enumerate(histories):
            own, events = np.unique(positions[self.known[positions]], return_counts=True)
            reached[user] = len(own) > 0
            if reached[user]:
                factors = self.factors[own].astype(np.float64)
                confidence = self.settings.alpha * (events if self.settings.counts else np.ones(len(own)))
                left = self.gram + (factors.T * (confidence - 1.0)) @ factors + ridge
                vectors[user] = np.linalg.solve(left, factors.T @ confidence)
        return vectors, reached
