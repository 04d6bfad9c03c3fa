"""Which of two models shoppers would prefer, by interleaved lists that are clicked as the held-out events say."""

from typing import Any

import numpy as np

from recsys.metrics.interleaving import Chances, interleave
from recsys.metrics.ranking import discounts
from recsys.types import Positions
from training.evaluate.measured import Measured, as_fields

SHOWN = 10
LISTS = 10_000


def interleaving(measured: Measured, *, seed: int) -> dict[str, Any]:
    """Team-draft interleaving of the model under evaluation and the one beside it; {} where there is none.

    A place is looked at with NDCG's discount, 1 / log2(rank + 1), and what is looked at is clicked where the user got
    it afterwards. Where users are few, each sees several lists.

    Args:
        measured: a table of users, with the other model's lists beside; see `measured.beside`.
        seed: of coins and clicks.

    Returns:
        `interleaving`: method, against, users, lists, `share` (of lists that the model wins, ties as half, with its
        interval), `wins`, `ties` and `p`.
    """
    if not measured.against or measured.asked.unit != "user":
        return {}
    wanted = [row for row, (positions, _) in enumerate(measured.asked.judged) if len(positions)]
    first, second = measured.runs[measured.subject], measured.runs[measured.against]
    repeats = max(1, LISTS // max(1, len(wanted)))
    found = interleave(
        [first[row][0] for row in wanted],
        [second[row][0] for row in wanted],
        chances=gotten([measured.asked.judged[row][0] for row in wanted]),
        looks=discounts(SHOWN),
        seed=seed,
        repeats=repeats,
    )
    stated = {
        "method": f"team draft of {SHOWN}, clicks simulated on what users got, looked at with 1 / log2(rank + 1)",
        "against": measured.against,
        "users": len(wanted),
        "lists": len(wanted) * repeats,
        "share": as_fields(found.share),
        "wins": found.wins if wanted else None,
        "ties": found.ties if wanted else None,
        "p": found.p,
    }
    return {"interleaving": stated}


def gotten(relevant: list[Positions]) -> Chances:
    """1 for what a user got afterwards, 0 for all else."""
    return lambda user, positions: np.isin(positions, relevant[user]).astype(np.float64)
