"""What tests make Ray's workers do: note each attempt at a partition, and die in the middle of one."""

import os
import signal
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import polars as pl

from feature_store.point_in_time import task
from feature_store.point_in_time.task import Question

BEFORE = 3
"""Attempts that are made before one is cut off."""


def dies_once(folder: Path, question: Question, asked: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
    """Answer a partition; one attempt, in the middle of the run, ends with SIGKILL instead.

    Args:
        folder: gets a file for each attempt, and `killed` with the name of the partition.
        question: of the task.
        asked: the rows.
        records: of their keys.
    """
    name = noted(folder, question, asked)
    if len(list(folder.glob("*.attempt"))) > BEFORE:
        try:
            (folder / "killed").open("x").write(name)
        except FileExistsError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    return task.answer(question, asked, records)


def dies_always(folder: Path, question: Question, asked: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
    """Note an attempt at a partition, and end with SIGKILL."""
    noted(folder, question, asked)
    os.kill(os.getpid(), signal.SIGKILL)
    return records


def fails(question: Question, asked: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
    """Raise what nobody foresaw."""
    raise ZeroDivisionError(f"{len(asked)} rows\nand more")


def noted(folder: Path, question: Question, asked: pl.DataFrame) -> str:
    """The name of a partition; that it was tried, and by which process, is a file from now on."""
    name = sha256(f"{question.features[0].name} {asked.write_csv()}".encode()).hexdigest()
    (folder / f"{name}.{os.getpid()}.{uuid4().hex}.attempt").touch()
    return name
