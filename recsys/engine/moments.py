"""The moments that recommendations are for: what callers say, else the engine's own."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from recsys.errors import UsageError

Now = int | Callable[[], int]
"""A moment, or a clock that tells it: microseconds since 1970-01-01 UTC."""


def answered_at(at: Sequence[int | None] | None, *, users: int, now: Now | None) -> NDArray[np.int64] | None:
    """int64 [users]: the moment that each is answered for, microseconds; None where the engine knows of no calendar.

    Args:
        at: for each user what the caller says, None where that is nothing; None where nobody says anything.
        users: how many.
        now: the engine's, for those of whom nothing is said; None where the shop has no calendar.

    Raises:
        UsageError: there are not as many moments as users, or one where the shop has no calendar.
    """
    told = [None] * users if at is None else list(at)
    if len(told) != users:
        raise UsageError(
            f"{users} users and {len(told)} moments", expected="one for each user", action="correct the request"
        )
    if now is None:
        if any(moment is not None for moment in told):
            raise UsageError(
                "a moment to recommend for, in a shop without a calendar",
                expected="events with dates and times",
                action="leave `at` out",
            )
        return None
    usual = now() if callable(now) else now
    return np.array([usual if moment is None else moment for moment in told], dtype=np.int64)
