"""Settings of the image tower."""

from typing import Annotated

from pydantic import Field

from training.config import FitConfig


class ImagesConfig(FitConfig):
    """As `FitConfig`, and what is particular to an image tower.

    Attributes:
        encoder: "vectors" reads the column image_vector, "small" learns a small network on the pictures, anything else
            is a vision checkpoint (folder or hub name) whose weights stay; "auto" takes vectors where there are any.
        pictures: the shop folder in which image_url is looked up; "" takes the one that the snapshot was made of.
        size: height and width to which the small network's pictures are brought, in pixels.
        scale: inverse temperature of the cosine in the loss.
        least: share of the best grade from which a judged pair is a positive, above 0 to 1; positives weigh by grade.
        worse: products judged no match for its query beside which a judged pair is learned; they tell what only the
            picture shows from the right kind in the wrong colour.
        titles: products an epoch whose own title is a positive of their picture, drawn anew, no more than there are
            judged pairs where there are any; 0 leaves titles out.
    """

    epochs: Annotated[int, Field(ge=1)] = 40
    batch_size: Annotated[int, Field(ge=2)] = 128
    patience: Annotated[int, Field(ge=0)] = 8
    learning_rate: Annotated[float, Field(gt=0)] = 1e-2
    encoder: str = "auto"
    pictures: str = ""
    size: Annotated[int, Field(ge=8, le=512)] = 32
    scale: Annotated[float, Field(gt=0)] = 20.0
    least: Annotated[float, Field(gt=0, le=1)] = 0.5
    worse: Annotated[int, Field(ge=0)] = 4
    titles: Annotated[int, Field(ge=0)] = 20_000
