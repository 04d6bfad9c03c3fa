"""Settings of the blender."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from training.config import Folds

Kind = Literal["linear", "trees"]


class BlenderConfig(BaseModel):
    """How a blender is fitted, on few queries as a rule: shallow trees, few rounds, and the plain sum as a candidate.

    Attributes:
        kinds: what is tried beside the sum: a linear function, LambdaMART's trees.
        from_sum: correct the weighted sum; without it the signals alone decide.
        monotone: hold to the direction of those signals whose direction is known, such as BM25 and cosine.
        signals: those that may be read; None takes all that the shop's data says something about, without the cosines
            of networks that have learned from these very queries and kept none from before.
        rounds: numbers of trees that are tried.
        ridges: L2 penalties that are tried on a linear function's weights.
        learning_rate: of each tree.
        leaves: of a tree at most.
        pairs_in_leaf: at least so many pairs in each leaf.
        leaf_penalty: L2 penalty on the leaves' values.
        columns: share of the signals that a tree may read, above 0 to 1.
        query_folds: parts of the queries by which kind and rounds are chosen, and the gain is measured.
        folds: parts of the queries for held-out scores of the cross-encoder, each by a network trained on the others,
            two or more; 0 takes the validation queries alone, with the scores that the cross-encoder's training kept,
            or by one network trained without them.
        unjudged: products that the first stages bring for each query beside the judged ones, taken as grade 0.
        earn: which stages go off by default where they do not beat the list without them: the blender alone, or all.
            Beside a text encoder that has learned from these very queries and kept no cosines from before, no other
            stage is measured fairly, and only the blender may go off.
        enough: held-out queries that it takes for another stage than the blender to go off. Gains of single queries
            spread by about .08, so with fewer than a hundred the interval of a gain of .02 seldom lies above 0, and a
            stage would go off for want of queries.
        timed: queries that the stages are timed on.
        seed: of folds, trees and bootstrap.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, allow_inf_nan=False)

    kinds: tuple[Kind, ...] = ("linear", "trees")
    from_sum: bool = True
    monotone: bool = True
    signals: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    rounds: tuple[Annotated[int, Field(ge=1)], ...] = (10, 20, 40, 80, 160)
    ridges: tuple[Annotated[float, Field(gt=0)], ...] = (0.003, 0.01, 0.03, 0.1, 0.3)
    learning_rate: Annotated[float, Field(gt=0)] = 0.05
    leaves: Annotated[int, Field(ge=2)] = 5
    pairs_in_leaf: Annotated[int, Field(ge=1)] = 50
    leaf_penalty: Annotated[float, Field(ge=0)] = 10.0
    columns: Annotated[float, Field(gt=0, le=1)] = 0.6
    query_folds: Annotated[int, Field(ge=2)] = 5
    folds: Folds = 0
    unjudged: Annotated[int, Field(ge=0)] = 0
    earn: Literal["blender", "all"] = "all"
    enough: Annotated[int, Field(ge=1)] = 100
    timed: Annotated[int, Field(ge=1)] = 50
    seed: Annotated[int, Field(ge=0)] = 0
