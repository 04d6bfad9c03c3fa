"""Settings of the recommendation blender."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class RecommendBlenderConfig(BaseModel):
    """How the candidates of all recommenders are put in one order.

    Attributes:
        sources: the recommenders that are asked, by the names in answers; None takes all that the model has, and the
            user's own history.
        candidates: products that each of them brings.
        users: of the validation part, drawn by the seed; 0 takes all.
        rounds: numbers of trees that are tried beside the linear function alone.
        learning_rate: of each tree.
        leaves: of a tree at most.
        rows_in_leaf: at least so many candidates in each leaf.
        leaf_penalty: L2 penalty on the leaves' values.
        columns: share of the signals that a tree may read, above 0 to 1.
        ridge: L2 penalty on the linear function's weights.
        user_folds: parts of the users by which the rounds are chosen and the gain is measured.
        top: ranks that count, in training and measuring.
        half_life_days: of sales as a signal, where the shop has a calendar.
        seed: of users, folds, trees and bootstrap.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    sources: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    candidates: Annotated[int, Field(ge=1)] = 100
    users: Annotated[int, Field(ge=0)] = 5000
    rounds: tuple[Annotated[int, Field(ge=1)], ...] = (30, 100, 200)
    learning_rate: Annotated[float, Field(gt=0)] = 0.05
    leaves: Annotated[int, Field(ge=2)] = 15
    rows_in_leaf: Annotated[int, Field(ge=1)] = 100
    leaf_penalty: Annotated[float, Field(ge=0)] = 10.0
    columns: Annotated[float, Field(gt=0, le=1)] = 0.6
    ridge: Annotated[float, Field(gt=0)] = 0.01
    user_folds: Annotated[int, Field(ge=2)] = 5
    top: Annotated[int, Field(ge=1)] = 20
    half_life_days: Annotated[float, Field(ge=0)] = 14.0
    seed: Annotated[int, Field(ge=0)] = 0
