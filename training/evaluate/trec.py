"""TREC files: runs of six columns and qrels of four, as trec_eval, ranx and ir-measures read them."""

import re
from pathlib import Path

import numpy as np

from recsys.storage import atomic_file
from recsys.types import Scores
from training.evaluate.compare import headline
from training.evaluate.measured import Floats, Measured

STEP, SMALLEST = 2.0**-22, 1e-30
BREAKING = re.compile(r"[\s%]")


def write_run(measured: Measured, path: Path, *, system: str) -> None:
    """Write a system's rankings: query, Q0, product, rank, score, system.

    Scores fall strictly, so that every tool reads the order that the system gave: where products tie, or where a list
    goes on with another source's scores, the score stands as little lower as single precision can tell.

    Args:
        measured: the table.
        path: the file.
        system: a key of `runs`.
    """
    rankings, catalogue = measured.runs[system], measured.asked.catalogue
    tag = "_".join(system.split())
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        for row, key in enumerate(measured.keys):
            positions, scores = rankings[row]
            query = one_word(key)
            file.writelines(
                f"{query} Q0 {one_word(product_id)} {rank} {score:.9g} {tag}\n"
                for rank, (product_id, score) in enumerate(
                    zip(catalogue.ids(positions), falling(scores).tolist(), strict=True), start=1
                )
            )


def write_qrels(measured: Measured, path: Path) -> None:
    """Write the judgments: query, 0, product, grade.

    Only queries or users that the table's first metric counts are there, so that a tool's mean is the table's. Qrels
    have whole grades: of a fraction, which several raters' mean can have, the whole part is written, so that what is
    relevant from a whole grade on stays so.
    """
    subject = measured.systems[measured.subject]
    counted = ~np.isnan(subject[headline(subject)])
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        for row in np.flatnonzero(counted).tolist():
            positions, grades = measured.asked.judged[row]
            query = one_word(measured.keys[row])
            file.writelines(
                f"{query} 0 {one_word(product_id)} {int(grade)}\n"
                for product_id, grade in zip(measured.asked.catalogue.ids(positions), grades, strict=True)
            )


def falling(scores: Scores) -> Floats:
    """float64 [n]: the scores in their order, each at least one step below the one before.

    A step is 2^-22 of the largest score, two of single precision's own steps. A score that is further below the one
    before stays as it is.
    """
    exact = scores.astype(np.float64)
    largest = float(np.abs(exact).max(initial=0.0))
    step = STEP * (largest if largest > SMALLEST else 1.0)
    drop = step * np.arange(len(exact))
    return np.asarray(np.minimum.accumulate(exact + drop) - drop)


def one_word(text: str) -> str:
    """The text without white space, since the format has no quotes: each such character as its UTF-8 bytes in %XX.

    A percent sign is written the same way, so that different ids stay different; `urllib.parse.unquote` reads it back.
    """
    return BREAKING.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8")), text)
