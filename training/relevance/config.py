"""Settings of the relevance scorer."""

from typing import Annotated, Literal

from pydantic import Field

from recsys.models.backbone import STOCK
from recsys.text.field_names import FIELDS, TextField
from training.config import FitConfig

LossName = Literal["graded", "ordinal", "ranknet", "margin-mse", "listnet", "softmax", "lambdarank", "lambdaloss"]


class RelevanceConfig(FitConfig):
    """As `FitConfig`, and what is particular to a cross-encoder.

    Attributes:
        backbone: whose weights the network starts from where no other start is named.
        layers: keep only the first so many layers of the backbone; None keeps all.
        fields: of a product that stand in its text; fewer help where the judgments were given by the title alone.
        max_length: tokens of a pair of query and product text; longer texts are cut.
        pooling: what the head reads, the mean of the hidden vectors or the first of them.
        dropout: of the pooled vector, 0..1.
        freeze_embeddings: leave the word vectors as they are, so that words outside the judgments keep their place.
        loss: of the grade itself (graded cross-entropy, ordinal), or of the order inside a query, in batches of whole
            queries: by pairs (ranknet, margin-mse), by lists (listnet, softmax) or by NDCG@10 (lambdarank, lambdaloss);
            after the latter sigmoid(score) is no expected grade until it is calibrated.
        layer_decay: each layer learns at this share of the rate of the one above it, 1 at the same; above 0 to 1.
        rater_weight: weigh a judgment by 1 / (1 + the raters' standard deviation) where that is known.
    """

    epochs: Annotated[int, Field(ge=1)] = 3
    patience: Annotated[int, Field(ge=0)] = 1
    learning_rate: Annotated[float, Field(gt=0)] = 5e-5
    backbone: str = STOCK
    layers: Annotated[int, Field(ge=1)] | None = None
    fields: Annotated[tuple[TextField, ...], Field(min_length=1)] = FIELDS
    max_length: Annotated[int, Field(ge=8, le=512)] = 64
    pooling: Literal["mean", "first"] = "mean"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    freeze_embeddings: bool = True
    loss: LossName = "graded"
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    rater_weight: bool = False
