"""When what a user has bought may be recommended again: never, after a while, or little by little."""

import numpy as np
from numpy.typing import NDArray

from recsys.engine.policy import ListShape
from recsys.retrieval.each_user import moments
from recsys.types import EVENT_CODES, PositionHistories, Positions

MICROSECONDS_A_DAY = 86_400_000_000
Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]


def come_back(positions: Positions, history: PositionHistories, *, until: int, half_life: float) -> Floats:
    """float64 [positions]: how much of each product's relevance is back, 1 - 0.5 ** (days since purchase / half-life).

    Args:
        positions: int64 [n], distinct.
        history: of one user; what was not bought has its whole relevance.
        until: the moment that is answered for, where the history does not say, microseconds.
        half_life: days.
    """
    bought = history.event_types == EVENT_CODES["purchase"]
    latest = dict(zip(history.positions[bought].tolist(), history.timestamps[bought].tolist(), strict=True))
    now = int(moments(history, until=until)[0])
    days = np.array([(now - latest.get(place, -np.inf)) / MICROSECONDS_A_DAY for place in positions.tolist()])
    return np.asarray(1.0 - 0.5 ** (np.maximum(days, 0.0) / half_life), dtype=np.float64)


def still_owned(histories: PositionHistories, *, now: Numbers, waits: Floats) -> list[Positions]:
    """For each user the distinct products bought that may not come back yet, ascending.

    Args:
        histories: what the users did.
        now: int64 [users], the moment of each, microseconds.
        waits: float64 [catalogue], days from a purchase until the product may come back; inf for never.
    """
    bought = histories.event_types == EVENT_CODES["purchase"]
    owners = np.repeat(np.arange(len(histories)), np.diff(histories.offsets))
    passed = (now[owners] - histories.timestamps) / MICROSECONDS_A_DAY
    kept = bought & (passed < waits[histories.positions])
    return [
        np.unique(histories.positions[start:end][kept[start:end]])
        for start, end in zip(histories.offsets[:-1], histories.offsets[1:], strict=True)
    ]


def waiting_days(shape: ListShape, *, products: int, intervals: Floats | None) -> Floats:
    """float64 [products]: days until a bought product may come back, the shortest that the shape says; inf for never.

    Args:
        shape: return_days, return_interval and return_half_life are read.
        products: size of the catalogue.
        intervals: float64 [products], usual days between two purchases; None where nothing is known of them.
    """
    alone = shape.return_half_life if shape.return_interval is None else None
    days = alone if shape.return_days is None else shape.return_days
    waits = np.full(products, np.inf if days is None else days)
    if shape.return_interval is not None and intervals is not None:
        waits = np.minimum(waits, shape.return_interval * intervals)
    return waits
