"""Settings of the retriever."""

from typing import Annotated

from pydantic import Field

from recsys.models.backbone import STOCK
from training.config import FitConfig


class RetrieverConfig(FitConfig):
    """As `FitConfig`, and what is particular to a text encoder.

    Attributes:
        backbone: whose weights the encoder starts from where no other start is named.
        layers: keep only the first so many layers of the backbone; None keeps all.
        max_length: tokens of a product text; longer texts are cut.
        freeze_embeddings: leave the word vectors as they are.
        scale: inverse temperature of the cosine in the loss.
        least: share of the best grade from which a judged pair is a positive, above 0 to 1; positives weigh by grade.
    """

    epochs: Annotated[int, Field(ge=1)] = 3
    batch_size: Annotated[int, Field(ge=2)] = 64
    patience: Annotated[int, Field(ge=0)] = 1
    learning_rate: Annotated[float, Field(gt=0)] = 2e-5
    backbone: str = STOCK
    layers: Annotated[int, Field(ge=1)] | None = None
    max_length: Annotated[int, Field(ge=8, le=512)] = 64
    freeze_embeddings: bool = True
    scale: Annotated[float, Field(gt=0)] = 20.0
    least: Annotated[float, Field(gt=0, le=1)] = 0.5
