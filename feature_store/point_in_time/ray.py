"""Partitions on Ray Data: each takes its records along, so that the machines of a cluster share no folder.

its rows ──► with its records, read where they were written ──► its answer, on any machine ──► its rows

Ray computes again what a lost worker had, and only so many partitions are on their way at a time as its object store
has room for. An answer is a pure function of what travels, so that neither changes a bit.
"""

import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from feature_store.point_in_time.spread import Stored
from feature_store.point_in_time.task import Answers, Found, Question, Task, answer, partitions
from recsys.errors import ClusterError, MissingDependencyError
from recsys.provenance import library_versions

RETRIES = 5
"""How often a partition is computed again after its worker was lost: one that kills every worker ends the build."""
READERS = 2
"""How many partitions are read at a time; a disk has no use for more."""
LOCAL = "local"
"""Ray's word for a cluster of one's own on this machine."""

RAISED = re.compile(r"^[\w.]+(?:Error|Exception): .*$", re.MULTILINE)
"""The line of a trace that says what was raised."""

Answer = Callable[[Question, pl.DataFrame, pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True)
class RayData:
    """Partitions on the cluster that this process is connected to.

    Attributes:
        ray: the package, connected.
        answer: what workers call; tests have their own.
    """

    ray: Any
    answer: Answer = answer

    def __call__(self, tasks: Sequence[Task]) -> Answers:
        """See `Engine`.

        Raises:
            ClusterError: Ray gave up, or a worker runs other code.
        """
        if not partitions(tasks):
            return
        code = code_of([task.question for task in tasks])
        batches = iter(self.answered(tasks).iter_batches(batch_size=None, batch_format="pyarrow"))
        with one_line(self.ray), closing(batches):
            for batch in batches:
                for row in rows_of(batch):
                    if row["code"] != code:
                        raise ClusterError(
                            "a Ray worker computes features by another version of the code",
                            expected=f"shoprank, NumPy and Polars as here: {versions()}",
                            action="install the same on every machine of the cluster, and start it again",
                        )
                    yield Found(row["task"], row["partition"], unpacked(row["found"]))

    def answered(self, tasks: Sequence[Task]) -> Any:
        """A Ray Dataset with a row for each partition, which is computed when it is read."""
        data, wanted = self.ray.data, partitions(tasks)
        rows = (
            {"task": number, "partition": one, "asked": packed(tasks[number].placed.asked(one))}
            for number, one in wanted
        )
        here = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            self.ray.get_runtime_context().get_node_id(), soft=False
        )
        batches = {"batch_size": None, "batch_format": "pyarrow", "max_retries": RETRIES}
        with warnings.catch_warnings():
            # Ray 2.64 is to have another way to say `max_retries`; until then it warns of this one
            warnings.simplefilter("ignore", DeprecationWarning)
            asked = data.from_arrow([arrow([row]) for row in rows])
            read = asked.map_batches(
                partial(with_records, [task.spread.stored for task in tasks]),
                compute=data.TaskPoolStrategy(size=min(READERS, len(wanted))),
                num_cpus=0,  # this machine may offer the cluster none
                scheduling_strategy=here,
                **batches,
            )
            answers = partial(with_answers, [task.question for task in tasks], self.answer)
            return read.map_batches(answers, num_cpus=1, **batches)


def with_records(stored: Sequence[Stored], batch: Any) -> Any:
    """On this machine: partitions with their records."""
    return arrow(row | {"records": packed(stored[row["task"]].read(row["partition"]))} for row in rows_of(batch))


def with_answers(questions: Sequence[Question], answer: Answer, batch: Any) -> Any:
    """On any machine: partitions with their answers instead of their records."""
    return arrow(
        {
            "task": row["task"],
            "partition": row["partition"],
            "found": packed(answer(questions[row["task"]], unpacked(row["asked"]), unpacked(row["records"]))),
            "code": code_of(questions),
        }
        for row in rows_of(batch)
    )


def code_of(questions: Iterable[Question]) -> str:
    """What decides the bits of answers, as it is installed here."""
    return " ".join((versions(), *(one.version for question in questions for one in question.features)))


def versions() -> str:
    """Of the libraries that compute."""
    return ", ".join(f"{name} {library_versions().get(name)}" for name in ("shoprank", "numpy", "polars"))


def packed(frame: pl.DataFrame) -> bytes:
    """A frame as Arrow's IPC file."""
    target = BytesIO()
    frame.write_ipc(target)
    return target.getvalue()


def unpacked(content: bytes) -> pl.DataFrame:
    """The frame back."""
    return pl.read_ipc(content)


def arrow(rows: Iterable[dict[str, Any]]) -> Any:
    """Rows as a pyarrow Table; its bytes have offsets of 64 bits, so that no partition is too large."""
    return pl.DataFrame(list(rows)).to_arrow(compat_level=pl.CompatLevel.oldest())


def rows_of(batch: Any) -> Iterator[dict[str, Any]]:
    """The rows of a pyarrow Table."""
    return pl.DataFrame(pl.from_arrow(batch)).iter_rows(named=True)


@contextmanager
def ray_engine(place: str, *, workers: int | None = None) -> Iterator[RayData]:
    """Give an engine on a Ray cluster; when the block ends, so does the connection, and a cluster of its own.

    Args:
        place: "local" starts a cluster on this machine; HOST:PORT or "auto" is one that this machine is a node of.
        workers: processes of a cluster of its own; the cores where None.

    Raises:
        MissingDependencyError: Ray is not installed.
        ClusterError: the cluster can't be used, or none could be started.
    """
    ray = library()
    # Ray prints to standard output when it loses a worker, where a report for machines may be due
    with redirect_stdout(sys.stderr), TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        own = {"num_cpus": workers, "include_dashboard": False, "_temp_dir": folder} if place == LOCAL else {}
        try:
            join(ray, place, **own)
            yield RayData(ray)
        finally:
            ray.shutdown()


def join(ray: Any, place: str, **options: Any) -> None:
    """Connect to a cluster, or start one; ClusterError where that fails."""
    try:
        ray.init(address=place, logging_level=logging.CRITICAL, log_to_driver=False, **options)
    except Exception as error:  # Ray raises bare ones, too
        if place == LOCAL:
            raise ClusterError(
                f"no Ray cluster could be started here: {first_line(error)}",
                expected="memory for it, and processors that start it within half a minute",
                action="run it again when the machine is less busy, or use --engine local",
            ) from error
        raise ClusterError(
            f"the Ray cluster ({place}) can't be used: {first_line(error)}",
            expected="one that this machine is a node of, with the same versions of Ray and Python",
            action="run `ray status` here, or leave --ray-address and RAY_ADDRESS out for a cluster on this machine",
        ) from error


def library() -> Any:
    """The package ray with what is used of it, silent.

    Raises:
        MissingDependencyError: it is not installed.
    """
    # devices of workers without a GPU are left as they are: what Ray is going to do by itself, and warns of until then
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # workers of a cluster of its own count for as much as threads would; Ray's 15 stops them on a busy machine
    os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        import ray
        import ray.data
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise MissingDependencyError(
            "Ray is not installed",
            expected="it for --engine ray",
            action="pip install 'shoprank[ray]', or use --engine local",
        ) from error
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    return ray


@contextmanager
def one_line(ray: Any) -> Iterator[None]:
    """Turn what Ray raises into a ClusterError."""
    try:
        yield
    except ray.exceptions.RayError as error:
        raise ClusterError(
            f"Ray gave up: {first_line(error)}",
            expected="workers with this shoprank and memory for a partition each",
            action="install shoprank[ray] on every machine of the cluster, give it more memory, or use --engine local",
        ) from error


def first_line(error: BaseException) -> str:
    """The kind and the first line of an error; of one that a worker raised, the first one in its trace."""
    text = str(error).strip()
    if raised := RAISED.search(text):
        return raised[0]
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
