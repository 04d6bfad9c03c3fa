"""Settings of the calibration."""

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["temperature", "platt", "isotonic"]


class CalibrationConfig(BaseModel):
    """How scores become probabilities, and which cut-off is looked for.

    Attributes:
        kind: "temperature" (a straight line through even odds), "platt" (any straight line on the log-odds), "isotonic"
            (any rising line), or "auto": the plainest that left-out queries can't tell from the best.
        threshold: the grade from which a product is a good match; None takes two thirds of the scale, see
            `relevant_grade`.
        folds: parts of the held-out queries for leaving some out; figures and the cut-off come from those.
        irrelevant_share: the most that may be irrelevant in what a list shows above the cut-off, on average.
        confidence: of that promise.
        floor: no cut-off stands below it: what is more likely irrelevant than not is no good match, however good the
            rest of its list.
        k: where the first so many of a list are shown.
        good_only: whether searches of this model show nothing below the cut-off unless the caller says otherwise.
        seed: of the folds and of the order of the queries in the test.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["auto"] | Kind = "auto"
    threshold: Annotated[float, Field(gt=0)] | None = None
    folds: Annotated[int, Field(ge=2)] = 5
    irrelevant_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.9
    floor: Annotated[float, Field(ge=0, lt=1)] = 0.5
    k: Annotated[int, Field(ge=1)] = 10
    good_only: bool = False
    seed: Annotated[int, Field(ge=0)] = 0


def relevant_grade(max_grade: float) -> float:
    """The grade from which a product is a good match: two thirds of the scale, as a whole grade where it has some.

    2 of 3, 1 of 1, 1 of 2, 3 of 4 and of 5.
    """
    share = 2 / 3 * max_grade
    return max(1.0, math.floor(share + 0.5)) if max_grade >= 1 else share
