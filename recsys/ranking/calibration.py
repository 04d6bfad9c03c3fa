"""From a cross-encoder's score to the probability that a product is relevant, and the cut-off that goes with it."""

from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from recsys.errors import BundleError
from recsys.ranking.cross_encoder import sigmoid
from recsys.types import Scores

FILE = "calibration.json"
Share = Annotated[FiniteFloat, Field(ge=0, le=1)]


class Platt(BaseModel):
    """A straight line on the log-odds: probability = sigmoid(slope · logit + intercept).

    Source: Platt, "Probabilistic outputs for support vector machines", 1999; with intercept 0 it is the temperature
    scaling of Guo et al., "On calibration of modern neural networks", ICML 2017.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["platt"] = "platt"
    slope: Annotated[FiniteFloat, Field(ge=0)]
    intercept: FiniteFloat

    def __call__(self, logits: ArrayLike) -> Scores:
        """float32 [n], 0..1, of logits [n]."""
        return sigmoid(self.slope * np.asarray(logits, dtype=np.float64) + self.intercept)


class Isotonic(BaseModel):
    """Straight lines between knots that never fall, level beyond the outer ones.

    Source: Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD
    2002; one knot for each level part: Oron and Flournoy, "Centered isotonic regression", 2017 (arXiv 1701.05964).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["isotonic"] = "isotonic"
    logits: Annotated[tuple[FiniteFloat, ...], Field(min_length=1)]
    probabilities: Annotated[tuple[Share, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def rising(self) -> Self:
        """Refuse knots that are no rising line."""
        if len(self.logits) != len(self.probabilities):
            raise ValueError(f"{len(self.logits)} logits and {len(self.probabilities)} probabilities")
        if np.any(np.diff(self.logits) <= 0) or np.any(np.diff(self.probabilities) < 0):
            raise ValueError("the knots fall")
        return self

    def __call__(self, logits: ArrayLike) -> Scores:
        """float32 [n], 0..1, of logits [n]."""
        found: Scores = np.interp(np.asarray(logits, np.float64), self.logits, self.probabilities).astype(np.float32)
        return found


class CutOff(BaseModel):
    """The lowest probability at which the lists that were held out kept their promise.

    Attributes:
        probability: products below it are no good match.
        irrelevant_share: of the products shown in a list that shows any, at most this share is irrelevant on average,
        confidence: with this confidence,
        k: where the first so many of a list are shown,
        queries: by the held-out lists of so many queries.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    probability: Share
    irrelevant_share: Share
    confidence: Share
    k: Annotated[int, Field(ge=1)]
    queries: Annotated[int, Field(ge=0)]


class Calibration(BaseModel):
    """The probability of a good match behind the scores of one cross-encoder.

    Attributes:
        format: of the file.
        cross_encoder: digest of the component whose scores it reads; with any other it means nothing.
        threshold: the grade from which a product is a good match.
        max_grade: the best grade on the same scale.
        curve: from logit to probability.
        cutoff: None where no probability keeps the promise that was asked for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    cross_encoder: str
    threshold: Annotated[FiniteFloat, Field(gt=0)]
    max_grade: Annotated[FiniteFloat, Field(gt=0)]
    curve: Annotated[Platt | Isotonic, Field(discriminator="kind")]
    cutoff: CutOff | None = None

    def of_scores(self, scores: Scores) -> Scores:
        """float32 [n]: the probability of a good match, by the cross-encoder's scores, float [n] in 0..1."""
        return self.curve(as_logits(scores))

    @property
    def said(self) -> str:
        """What it is, in words."""
        return f"{self.curve.kind}, P(grade >= {self.threshold:g} of {self.max_grade:g})"

    def save(self, folder: Path) -> None:
        """Write calibration.json into the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The calibration of a folder that `save` wrote.

        Raises:
            BundleError: the file is absent, damaged or of another format.
        """
        try:
            return cls.model_validate_json((folder / FILE).read_bytes())
        except (OSError, ValidationError) as error:
            raise BundleError(
                f"{folder} holds no calibration ({' '.join(str(error).split())[:200]})",
                expected=f"{FILE} of format 1",
                action="fit it again with `recsys train calibration`",
            ) from error


def as_logits(scores: ArrayLike) -> NDArray[np.float64]:
    """float64 [n]: log-odds of scores in 0..1, finite; the inverse of `sigmoid` up to the digits of float32."""
    step = float(np.finfo(np.float32).epsneg)
    inside = np.clip(np.asarray(scores, dtype=np.float64), np.finfo(np.float32).tiny, 1.0 - step / 2)
    odds: NDArray[np.float64] = np.log(inside) - np.log1p(-inside)
    return odds
