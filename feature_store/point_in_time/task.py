"""What every engine shares: rows and records cut into partitions, and the answer of one partition.

An answer is a pure function of plain values, two frames and a question, so that it comes out the same wherever and
however often it is computed.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl

from feature_store.joins import same_rows
from feature_store.point_in_time.aggregates import value_of
from feature_store.point_in_time.definitions import ENTITIES, Entity, Feature
from feature_store.point_in_time.keys import Integers, Keys, distinct_keys
from feature_store.point_in_time.orders import Asked, Line
from feature_store.point_in_time.partition import Partition
from feature_store.point_in_time.spread import Spread, columns
from feature_store.point_in_time.survey import Survey
from recsys.errors import ShopError

RECORDS = 1 << 18
"""About how many records a partition has."""
MOST_PARTITIONS = 1 << 15
ROOM = 1 << 62
"""What keys and instants of a partition must fit into, twice: signed 64 bits less one."""


@dataclass(frozen=True)
class Placed:
    """Rows by partition, key and instant.

    Attributes:
        offsets: int64 [partitions + 1].
        numbers: int64 [rows], where each row stands in the frame given.
        codes: int64 [rows], of the keys in their partition.
        instants: int64 [rows], microseconds.
    """

    offsets: Integers
    numbers: Integers
    codes: Integers
    instants: Integers

    def rows(self, partition: int) -> Integers:
        """int64 [rows]: where the rows of a partition stand in the frame given."""
        return self.numbers[self.offsets[partition] : self.offsets[partition + 1]]

    def asked(self, partition: int) -> pl.DataFrame:
        """The rows of a partition: `code` and `instant`, int64."""
        chosen = slice(self.offsets[partition], self.offsets[partition + 1])
        return pl.DataFrame({"code": self.codes[chosen], "instant": self.instants[chosen]})


@dataclass(frozen=True)
class Question:
    """What is asked of every partition alike.

    Attributes:
        features: their definitions.
        line: on which keys and instants lie.
        survey: of the stream.
        real: float32 or float64, of the answers.
    """

    features: tuple[Feature, ...]
    line: Line
    survey: Survey
    real: type[np.floating]


@dataclass(frozen=True)
class Task:
    """The features of one entity out of one stream.

    Attributes:
        question: what is asked.
        placed: the rows.
        spread: the records.
    """

    question: Question
    placed: Placed
    spread: Spread


@dataclass(frozen=True)
class Found:
    """The answer of one partition.

    Attributes:
        task: its number among those that the engine was given.
        partition: its number.
        values: a column for each feature, NaN where there is none, in the order of the partition's rows.
    """

    task: int
    partition: int
    values: pl.DataFrame


Answers = Generator[Found, None, None]


class Engine(Protocol):
    """Where and how many at a time partitions are answered."""

    def __call__(self, tasks: Sequence[Task]) -> Answers:
        """Each partition that has rows, once, in any order: what `answer` says of it.

        Whoever closes them before the end stops the work.

        Args:
            tasks: with spreads that are written.
        """


def partitions(tasks: Sequence[Task]) -> list[tuple[int, int]]:
    """The number of its task and its own of each partition that has rows, ascending."""
    return [
        (number, int(one)) for number, task in enumerate(tasks) for one in np.flatnonzero(np.diff(task.placed.offsets))
    ]


def answer(question: Question, asked: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
    """One partition's features, a column for each, NaN where there is none.

    Args:
        question: of the task.
        asked: the rows by code and instant, see `Placed.asked`.
        records: of their keys in any order, see `Stored.read`.
    """
    rows = Asked(question.line, asked["code"].to_numpy(), asked["instant"].to_numpy())
    partition = Partition(columns(records), rows)
    return pl.DataFrame(
        {
            feature.name: value_of(feature.of, partition, question.survey).astype(question.real)
            for feature in question.features
        }
    )


def plan(
    rows: pl.DataFrame, features: Sequence[Feature], survey: Survey, *, folder: Path, real: type[np.floating]
) -> list[Task]:
    """One task for each entity that the features of one stream ask about.

    Raises:
        SnapshotError: a join gave or lost rows.
        ShopError: the times lie too far apart.
    """
    newest: int = rows["timestamp"].dt.timestamp("us").max() or 0  # type: ignore[assignment]
    line = Line(survey.first, max(survey.last, newest) - survey.first + 2)
    by_entity: dict[Entity, list[Feature]] = {}
    for feature in features:
        by_entity.setdefault(feature.entity, []).append(feature)
    tasks = []
    for entity, own in by_entity.items():
        keys = fitting_keys(rows, ENTITIES[entity], records=survey.rows, line=line)
        measures = tuple(dict.fromkeys(measure for feature in own for measure in feature.measures))
        question = Question(tuple(own), line, survey, real)
        tasks.append(Task(question, place(rows, keys), Spread(keys, measures, folder / entity)))
    return tasks


def fitting_keys(rows: pl.DataFrame, columns: tuple[str, ...], *, records: int, line: Line) -> Keys:
    """The rows' keys in as many partitions as their records and the line's span ask for."""
    partitions = 1
    while partitions < MOST_PARTITIONS and records > partitions * RECORDS:
        partitions *= 2
    while (keys := distinct_keys(rows, columns, partitions=partitions)).most * line.span > ROOM // 2:
        if partitions == MOST_PARTITIONS:
            raise ShopError(
                f"times lie {line.span / 86_400e6:,.0f} days apart, with {keys.frame.height:,} keys in one go",
                expected="times of one history",
                action="correct the tables' earliest and latest times: `recsys validate` shows them",
            )
        partitions *= 2
    return keys


def place(rows: pl.DataFrame, keys: Keys) -> Placed:
    """Sort the rows that have a key by partition, key and instant.

    Raises:
        SnapshotError: the join with the keys gave or lost rows.
    """
    asked = rows.lazy().select(*keys.columns, instant=pl.col("timestamp").dt.timestamp("us")).with_row_index("number")
    wanted = rows.select(pl.all_horizontal(pl.col(keys.columns).is_not_null()).sum()).item()
    placed = asked.join(keys.frame.lazy(), on=keys.columns, how="inner").sort("partition", "code", "instant").collect()
    same_rows(placed.height, wanted, of=f"rows with {', '.join(keys.columns)}")
    return Placed(
        np.searchsorted(placed["partition"].to_numpy(), np.arange(keys.partitions + 1)),
        placed["number"].to_numpy().astype(np.int64),
        placed["code"].to_numpy().astype(np.int64),
        placed["instant"].to_numpy(),
    )
