"""A cross-encoder's scores of judged pairs whose queries it had not learned from, kept beside its weights.

They are what a calibration, a cut-off or a blender is fitted on: scores of known pairs are too good to learn from.
"""

from pathlib import Path

import polars as pl

from recsys.errors import BundleError

FILE = "held_out.parquet"
SCHEMA = pl.Schema(
    {
        "query_id": pl.String(),
        "product_id": pl.String(),
        "grade": pl.Float32(),
        "max_grade": pl.Float32(),
        "logit": pl.Float32(),
    }
)


def write_held_out(folder: Path, frame: pl.DataFrame) -> None:
    """Write held_out.parquet: query_id, product_id, grade, max_grade (of the scale) and logit of each pair."""
    frame.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items()).write_parquet(folder / FILE)


def has_held_out(folder: Path) -> bool:
    """True where a cross-encoder's folder has such scores; those of a shop without validation queries have none."""
    return (folder / FILE).is_file()


def read_held_out(folder: Path) -> pl.DataFrame:
    """The scores of a cross-encoder's folder, as `write_held_out` wrote them.

    Raises:
        BundleError: there are none, or the file is damaged.
    """
    try:
        return pl.read_parquet(folder / FILE, columns=list(SCHEMA)).cast(SCHEMA)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BundleError(
            f"{folder} has no held-out scores",
            expected=f"{FILE}, as `recsys train relevance` writes it where the shop has validation queries",
            action="train the cross-encoder again with `recsys train relevance`",
        ) from error
