"""What tests make Ray's workers do: note each attempt at a partition, and die in the middle of one."""

import os
import signal
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Literal
from uuid import uuid4

import polars as pl

from feature_store.point_in_time import task
from feature_store.point_in_time.task import Question

BEFORE = 3
"""Attempts that are made before one is cut off."""
Victim = Literal["worker", "node"]


def dies_once(
    folder: Path, victim: Victim, question: Question, asked: pl.DataFrame, records: pl.DataFrame
) -> pl.DataFrame:
    """Answer a partition; in the middle of the run one attempt ends with SIGKILL instead.

    Args:
        folder: gets a file for each attempt, and `killed` with the names of the partition and of the parent process.
        victim: this process, or the one of Ray's that started it and with it all workers and data of the node.
        question: of the task.
        asked: the rows.
        records: of their keys.
    """
    name = noted(folder, question, asked)
    if len(list(folder.glob("*.attempt"))) > BEFORE:
        with suppress(FileExistsError):
            parent = Path(f"/proc/{os.getppid()}/comm").read_text().strip()
            (folder / "killed").open("x").write(f"{name} {parent}")
            if victim == "node":
                os.kill(os.getppid(), signal.SIGKILL)
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
