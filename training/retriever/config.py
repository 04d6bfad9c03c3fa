"""Settings of the retriever."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from recsys.models.backbone import STOCK
from training.config import FitConfig, Folds
from training.negatives.config import MiningConfig


class RetrieverConfig(FitConfig, MiningConfig):
    """As `FitConfig` and `MiningConfig`, and what is particular to a text encoder.

    Attributes:
        backbone: whose weights the encoder starts from where no other start is named.
        layers: keep only the first so many layers of the backbone; None keeps all.
        max_length: tokens of a product text; longer texts are cut.
        freeze_embeddings: leave the word vectors as they are.
        scale: inverse temperature of the cosine in the losses.
        learn_scale: whether the scale is learned, too, from there, up to 100.
        least: share of the best grade from which a judged pair is a positive, above 0 to 1; positives weigh by grade.
        judgments: whether judgments are learned from at all; without, a shop tells how well it does without them.
        search_events: whether what was clicked, put into the cart or bought after a search is right for its query,
            where nobody judged the pair; it weighs like the least positive.
        pseudo_queries: how many queries are made of each product's title; for a shop that nobody judged.
        in_batch: weight of the softmax over the products of the batch, mined negatives among them.
        margin_mse: weight of the distance to the margins of the base's cross-encoder over mined negatives.
        kl: weight of the distance to its shares over a pair and its mined negatives.
        matryoshka: dimensions whose prefixes learn as well as the whole vector; () learns the whole alone.
        dimensions: of the vectors in the end; None keeps all.
        truncation: what the dimensions are: the vectors' "prefix", or their projection onto the catalogue's main
            directions ("pca", around the mean with "centred-pca"). "prefix" lets these dimensions learn as well.
        held_out_folds: how many parts of training and validation queries are scored by encoders that learned from the
            others, for the blender, two or more; each costs one training. 0 keeps the cosines of the validation part
            alone, which cost nothing. Set it where the cross-encoder's is set.
    """

    epochs: Annotated[int, Field(ge=1)] = 3
    batch_size: Annotated[int, Field(ge=2)] = 64
    patience: Annotated[int, Field(ge=0)] = 1
    learning_rate: Annotated[float, Field(gt=0)] = 2e-5
    backbone: str = STOCK
    layers: Annotated[int, Field(ge=1)] | None = None
    max_length: Annotated[int, Field(ge=8, le=512)] = 64
    freeze_embeddings: bool = True
    scale: Annotated[float, Field(gt=0, le=100)] = 20.0
    learn_scale: bool = False
    least: Annotated[float, Field(gt=0, le=1)] = 0.5
    judgments: bool = True
    search_events: bool = False
    pseudo_queries: Annotated[int, Field(ge=0)] = 0
    in_batch: Annotated[float, Field(ge=0)] = 1.0
    margin_mse: Annotated[float, Field(ge=0)] = 0.0
    kl: Annotated[float, Field(ge=0)] = 0.0
    matryoshka: tuple[Annotated[int, Field(ge=1)], ...] = ()
    dimensions: Annotated[int, Field(ge=1)] | None = None
    truncation: Literal["prefix", "pca", "centred-pca"] = "prefix"
    held_out_folds: Folds = 0

    @property
    def distils(self) -> bool:
        """True where a cross-encoder teaches."""
        return self.margin_mse > 0 or self.kl > 0

    @property
    def asks_judge(self) -> bool:
        """True where a cross-encoder is asked about the mined negatives."""
        return self.negatives > 0 and (self.distils or self.max_relevance is not None)

    @model_validator(mode="after")
    def _taught(self) -> "RetrieverConfig":
        if self.distils and not self.negatives:
            raise ValueError("margin_mse and kl compare mined negatives: set negatives to 1 or more")
        if not self.in_batch and not self.distils:
            raise ValueError("a loss: in_batch, margin_mse or kl above 0")
        return self

    def widths(self, full: int) -> tuple[int, ...]:
        """The widths that learn, the widest first: all of a vector of `full` numbers and the prefixes asked for."""
        own = (self.dimensions,) if self.dimensions and self.truncation == "prefix" else ()
        return tuple(sorted({full, *own, *self.matryoshka}, reverse=True))
