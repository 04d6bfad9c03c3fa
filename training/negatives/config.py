"""Settings of mining."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Miner = Literal["bm25", "encoder"]


class MiningConfig(BaseModel):
    """Which products are shown to a query as wrong ones, though they look right.

    Attributes:
        negatives: how many for each pair (a scorer's: for each query, beside its best judged product); 0 mines none.
        miners: who searches the catalogue: "bm25", "encoder" (the weights that training starts from; a scorer's: its
            `backbone` as it is), or both.
        range_min: how many of each miner's best are passed over; unjudged products among them are often right.
        range_max: the last rank of each miner that is looked at.
        absolute_margin: how far below its pair's cosine a negative's cosine must stay; None asks for nothing.
        relative_margin: the same as a share of the pair's cosine, where that is positive: .05 lets 95 % of it pass.
        max_relevance: a candidate that the base's cross-encoder (a scorer's: its `teachers`) gives more than this,
            0..1, is no negative; None does not ask it.
        sampling: "random" draws among the candidates left, "top" takes the best ranked.

    Source: Moreira et al. 2024, "NV-Retriever" (arXiv 2407.15831), section 3: positive-aware mining, TopK-MarginPos and
    TopK-PercPos with 95 %; Qu et al. 2021, "RocketQA" (arXiv 2010.08191), for the cross-encoder's denoising.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    negatives: Annotated[int, Field(ge=0)] = 0
    miners: tuple[Miner, ...] = ("bm25", "encoder")
    range_min: Annotated[int, Field(ge=0)] = 0
    range_max: Annotated[int, Field(ge=1)] = 100
    absolute_margin: Annotated[float, Field(ge=0)] | None = None
    relative_margin: Annotated[float, Field(ge=0, le=1)] | None = 0.05
    max_relevance: Annotated[float, Field(ge=0, le=1)] | None = None
    sampling: Literal["random", "top"] = "random"

    @model_validator(mode="after")
    def _searchable(self) -> "MiningConfig":
        if not self.miners:
            raise ValueError("name a miner: bm25, encoder or both")
        if self.range_max <= self.range_min:
            raise ValueError(f"range_max must be above range_min, {self.range_min}")
        return self
