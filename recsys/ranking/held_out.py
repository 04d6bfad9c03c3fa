"""A network's scores of judged pairs whose queries it had not learned from, kept beside its weights.

They are what a calibration, a cut-off or a blender is fitted on: scores of known pairs are too good to learn from. A
cross-encoder keeps its logits, a text encoder the cosines of its vectors.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import polars as pl

from recsys.errors import BundleError
from recsys.types import Scores

FILE = "held_out.parquet"
Score = Literal["logit", "cosine"]
NETWORKS: Mapping[Score, tuple[str, str]] = {
    "logit": ("cross-encoder", "recsys train relevance"),
    "cosine": ("text encoder", "recsys train retriever"),
}
"""By score, the network that gives it and the command that trains such a one."""


def schema_of(score: Score) -> pl.Schema:
    """The columns of held_out.parquet: each pair with its grade, the highest grade of its scale and its score."""
    texts, numbers = ("query_id", "product_id"), ("grade", "max_grade", score)
    return pl.Schema({name: pl.String() for name in texts} | {name: pl.Float32() for name in numbers})


def as_held_out(judgments: pl.DataFrame, scores: Scores, *, max_grade: float, score: Score = "logit") -> pl.DataFrame:
    """The pairs with their scores, in the order of both.

    Args:
        judgments: columns query_id, product_id and grade.
        scores: float32 [pairs].
        max_grade: of the shop's scale.
        score: what the scores are.
    """
    columns = [pl.Series(score, scores, dtype=pl.Float32), pl.lit(max_grade).alias("max_grade")]
    return judgments.select("query_id", "product_id", "grade").with_columns(columns)


def write_held_out(folder: Path, frame: pl.DataFrame, *, score: Score = "logit") -> None:
    """Write the columns of `schema_of` into held_out.parquet."""
    frame.select(pl.col(name).cast(kind) for name, kind in schema_of(score).items()).write_parquet(folder / FILE)


def has_held_out(folder: Path) -> bool:
    """True where a network's folder has such scores; those of a shop without validation queries have none."""
    return (folder / FILE).is_file()


def read_held_out(folder: Path, *, score: Score = "logit") -> pl.DataFrame:
    """The scores of a network's folder, as `write_held_out` wrote them.

    Raises:
        BundleError: there are none, or the file is damaged or another network's.
    """
    schema = schema_of(score)
    try:
        return pl.read_parquet(folder / FILE, columns=list(schema)).cast(schema)
    except (OSError, pl.exceptions.PolarsError) as error:
        network, command = NETWORKS[score]
        raise BundleError(
            f"{folder} has no held-out scores",
            expected=f"{FILE}, as `{command}` writes it where the shop has validation queries",
            action=f"train the {network} again with `{command}`",
        ) from error
