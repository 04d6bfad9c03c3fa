"""What a service might have read, made by hand; and, run as a program, a process that logs it until it is killed."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from feature_store.event_log.parts import Position
from feature_store.online_features.reading import Read
from feature_store.online_features.state import About
from feature_store.point_in_time.definitions import ENTITIES, Entity
from feature_store.served_log.log import ServedLog

FEATURES = {"one": "1" * 12, "two": "2" * 12}


def read(
    *keys: Sequence[str] | str, entity: Entity = "product", now: int = 1_000, newest: int = 900, start: float = 0.0
) -> Read:
    """Key by key the values 0.1, 0.2, 0.3, ... from `start` on."""
    parts = [(key,) if isinstance(key, str) else tuple(key) for key in keys]
    assert all(len(key) == len(ENTITIES[entity]) for key in parts)
    values = start + np.arange(2 * len(parts), dtype=np.float32).reshape(-1, 2) / 10
    return Read(entity, parts, tuple(FEATURES), values, now, newest, Position("0123abcd", 7), About(800, FEATURES, ""))


def main(file: str, name: str, count: str) -> None:
    """Log so many answers, or go on for ever; say so after each."""
    log = ServedLog(Path(file))
    number = 0
    while number < int(count) or count == "0":
        number += 1
        log.append([read(f"{name}-{number}-a", f"{name}-{number}-b", now=number)])
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
