"""Settings of domain-adaptive pre-training."""

from typing import Annotated

from pydantic import Field

from recsys.models.backbone import STOCK
from recsys.text.field_names import FIELDS, TextField
from training.config import FitConfig


class AdaptConfig(FitConfig):
    """As `FitConfig`, and what is particular to masked-language-model training.

    Attributes:
        backbone: whose weights are adapted; its masked-language-model head is used where the checkpoint has one.
        layers: keep only the first so many layers of the backbone; None keeps all.
        fields: of a product that stand in its text.
        max_length: tokens of a text; longer texts are cut.
        mask_share: share of the words that are masked, above 0 and below 1.
        queries: the queries of the training part are read as texts, too; never those of validation or test.
        held_out: share of the texts that the loss is measured on instead, 0 to below 1; 0 measures nothing.

    Source: Gururangan et al. 2020 (arXiv 2004.10964), section 3; mask_share of Devlin et al. 2019 (arXiv 1810.04805).
    """

    epochs: Annotated[int, Field(ge=1)] = 1
    batch_size: Annotated[int, Field(ge=1)] = 64
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    backbone: str = STOCK
    layers: Annotated[int, Field(ge=1)] | None = None
    fields: Annotated[tuple[TextField, ...], Field(min_length=1)] = FIELDS
    max_length: Annotated[int, Field(ge=8, le=512)] = 128
    mask_share: Annotated[float, Field(gt=0, lt=1)] = 0.15
    queries: bool = False
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.01
