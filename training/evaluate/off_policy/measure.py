"""What a model's order would have earned on lists that were shown in random order: the report."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from feature_store.snapshot import Snapshot
from recsys.engine.engine import Engine
from recsys.engine.ladder import Ladder
from recsys.errors import UsageError
from recsys.metrics.intervals import ratio_bootstrap
from recsys.metrics.off_policy import SURE, check_overlap, estimate, sums
from recsys.types import PositionHistories
from training.evaluate.measured import as_fields
from training.evaluate.off_policy.logged import Floats, Logged, read_appeal, read_logged
from training.evaluate.off_policy.target import choices, rank_lists, read_histories
from training.evaluate.recommend import SUBJECT, check_split, ladders

LOGGED = "as logged"


def measure_off_policy(
    engines: Mapping[str, Engine], snapshot: Snapshot, *, split: str, logged_by: str | None, seed: int
) -> dict[str, Any]:
    """Clicks per product shown if the models had ordered the lists that a policy put in random order.

    Args:
        engines: by label; the first is the model under evaluation, a second one stands beside it.
        snapshot: the events.
        split: "validation" or "test"; the models see what happened before it.
        logged_by: the policy whose order was random.
        seed: of the bootstrap.

    Raises:
        UsageError: no such policy, no click on its lists, or its order is not random.
    """
    (label, engine), *others = engines.items()
    kind = check_split(snapshot, split=split, task="off-policy", kinds=("time",))
    logged = read_logged(snapshot, split=split, policy=logged_by)
    appeal = read_appeal(snapshot, split=split, products=len(engine.catalogue))[logged.positions]
    check_random(logged, appeal, policy=logged_by, seed=seed)
    histories, segments = read_histories(snapshot, engine.catalogue, split=split, logged=logged)
    asked = ladders(engine, snapshot, split=split, repeats=True)
    asked |= {name: other.recommendations.asked(repeats=True) for name, other in others}
    earned: dict[str, Floats] = {LOGGED: sums(logged.clicked, logged.clusters)}
    systems: dict[str, dict[str, Any]] = {}
    for name, ladder in asked.items():
        systems[name], earned[name] = judge(
            ladder,
            logged,
            appeal=appeal,
            histories=histories,
            segments=segments,
            products=len(engine.catalogue),
            seed=seed,
        )
    subject = systems[SUBJECT]
    shown = sums(np.ones(len(logged.positions)), logged.clusters)
    return {
        "protocol": f"off-policy, {kind}, {split} part, clicks per product shown, random lists of {logged_by}",
        "snapshot": snapshot.manifest.snapshot_id,
        "model": label,
        "against": others[0][0] if others else "",
        "variant": "all",
        "system": SUBJECT,
        "queries_or_users": len(logged.user_ids),
        "counts": dict(logged.counts),
        "verdict": subject["verdict"],
        "metrics": {name: row and row["mean"] for name, row in subject["estimates"].items()},
        "intervals": subject["estimates"],
        "systems": systems,
        "logged": as_fields(ratio_bootstrap(earned[LOGGED], shown, seed=seed)),
        "baselines": {
            name: {
                "difference": {
                    "clicks dr": None
                    if subject["refused"] or (name in systems and systems[name]["refused"])
                    else as_fields(ratio_bootstrap(earned[SUBJECT] - row, shown, seed=seed))
                }
            }
            for name, row in earned.items()
            if name != SUBJECT
        },
    }


def judge(
    ladder: Ladder,
    logged: Logged,
    *,
    appeal: Floats,
    histories: PositionHistories,
    segments: tuple[str, ...],
    products: int,
    seed: int,
) -> tuple[dict[str, Any], Floats]:
    """One system's estimates, None where they are refused, and its clicks by user after the doubly robust one."""
    ranks = rank_lists(ladder, logged, histories=histories, segments=segments, products=products)
    weights, placed = choices(ranks, logged.offsets, appeal=appeal)
    predicted, expected = logged.looked * appeal, logged.looked * placed
    overlap = check_overlap(weights, logged.clusters, seed=seed)
    found = estimate(
        logged.clicked, weights, predicted=predicted, expected=expected, clusters=logged.clusters, seed=seed
    )
    named = {f"clicks {name}": None if overlap.refused else as_fields(row) for name, row in found._asdict().items()}
    return {
        "verdict": f"refused: {overlap.refused}" if overlap.refused else "estimated",
        "refused": overlap.refused,
        "effective": overlap.effective,
        "weight": overlap.weight._asdict(),
        "estimates": named,
    }, sums(expected + weights * (logged.clicked - predicted), logged.clusters)


def check_random(logged: Logged, appeal: Floats, *, policy: str | None, seed: int) -> None:
    """Refuse lists in which the place tells how well liked a product is: their order was not random.

    Of a thousand policies whose order is random, one is refused.

    Args:
        logged: the lists.
        appeal: float64 [places], how likely the product that stood there is clicked once looked at.
        policy: the lists' policy, for the message.
        seed: of the bootstrap.
    """
    lists = np.repeat(np.arange(len(logged.sizes)), logged.sizes)
    places = np.arange(len(lists)) - logged.offsets[lists]
    middle = (logged.sizes[lists] - 1) / 2.0
    # Whatever is in a list, in random order this is 0 in the mean.
    slope = ratio_bootstrap(
        sums((places - middle) * appeal, logged.clusters),
        sums((places - middle) ** 2, logged.clusters),
        seed=seed,
        level=SURE,
    )
    if not slope.low <= 0.0 <= slope.high:
        raise UsageError(
            f"--logged-by {policy}: well-liked products stand {'higher' if slope.mean < 0 else 'lower'} in its lists"
            f" (a place further down, {100 * slope.mean:+.2f} points of appeal,"
            f" {100 * SURE:.1f} % interval {100 * slope.low:+.2f} to {100 * slope.high:+.2f})",
            expected="a policy that put its lists in random order; no other says what another order would earn",
            action="name the policy of a random share of the traffic",
        )
