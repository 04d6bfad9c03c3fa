"""Which engine answers, and where: the words of flags and environment."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from feature_store.options import EngineName
from feature_store.point_in_time.engine import Threads
from feature_store.point_in_time.task import Engine
from recsys.errors import ClusterError, UsageError

PATIENCE = 10.0
"""Seconds within which a cluster's port has to answer; Ray itself waits for minutes."""


@contextmanager
def open_engine(name: EngineName, *, address: str | None = None, workers: int | None = None) -> Iterator[Engine]:
    """Give the engine of this name for as long as the block lasts.

    Args:
        name: local for threads of this process, ray for Ray Data.
        address: HOST:PORT of a Ray cluster that this machine is a node of, or "auto"; RAY_ADDRESS where None. Without
            either a cluster on this machine is started, and stopped with the block.
        workers: processes of such a cluster of its own; the cores where None.

    Raises:
        UsageError: what is for Ray alone is given without it, the address is none, or a running cluster gets workers.
        MissingDependencyError: Ray is not installed.
        ClusterError: no cluster answers.
    """
    if name == "local":
        if address is not None or workers is not None:
            raise UsageError("--ray-address or --ray-workers alone", expected="--engine ray with it", action="add it")
        yield Threads()
        return
    place = address or os.environ.get("RAY_ADDRESS") or "local"
    if place != "local" and workers is not None:
        raise UsageError(
            f"--ray-workers {workers} for the cluster at {place}",
            expected="it for a cluster of its own on this machine",
            action="leave it out, or --ray-address and RAY_ADDRESS",
        )
    if place not in ("local", "auto"):
        refuse_unreachable(place)
    from feature_store.point_in_time.ray import ray_engine

    with ray_engine(place, workers=workers) as engine:
        yield engine


def refuse_unreachable(address: str) -> None:
    """Raise UsageError for what is no address, ClusterError where nothing answers."""
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdecimal():
        raise UsageError(
            f"the Ray cluster {address}",
            expected="HOST:PORT of one that this machine is a node of, or auto",
            action="correct --ray-address or RAY_ADDRESS; `ray start --address=HOST:PORT` makes this machine a node",
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"no Ray cluster answers at {address} ({error})",
            expected="one that runs",
            action="correct --ray-address or RAY_ADDRESS, or leave both out for a cluster on this machine",
        ) from error
