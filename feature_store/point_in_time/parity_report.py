"""What a replay of served features found, for people."""

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from feature_store.point_in_time.parity import FeatureParity, Parity
from recsys.cli.output import emit_line, emit_table

if TYPE_CHECKING:
    from feature_store.served_log.measure import Measured


def show_replayed(found: Parity) -> None:
    """Write what a file of requests gave."""
    show_features(found.features, failed=found.failed, least=found.least)
    if found.left_out:
        emit_line(f"left out: {found.left_out:,} requests of before a user was forgotten")


def show_measured(found: "Measured") -> None:
    """Write what the services' own log gave."""
    told = found.replayed
    if told.features:
        show_features(told.features, failed=found.failed, least=found.least)
    else:
        emit_line("no served row could be compared; what was measured before goes on to count")
    for reason, rows in told.left_out.items():
        if rows:
            emit_line(f"left out: {rows:,} served rows, {reason}")
    if told.other:
        emit_line(f"of other definitions than today's: {', '.join(told.other)}")
    if told.lags:
        emit_line(
            f"{len(told.lags):,} of the rows were behind the events, by {median(told.lags):.2f} s in the middle and "
            f"{max(told.lags):.2f} s at most; they are held against what had arrived"
        )


def show_features(features: Sequence[FeatureParity], *, failed: Sequence[str], least: float) -> None:
    """Write a line for each feature, and what follows from them."""
    rows = (
        (one.name, f"{one.share:.3%}", one.rows, one.served_mean, one.known_mean, one.first_differing)
        for one in features
    )
    columns = ("feature", "equal", "requests", "mean served", "mean known", "first differing row")
    emit_table(columns, rows, title="Served against known then")
    emit_line(
        f"below {least:.1%}: {', '.join(failed)}; do not promote a model that reads them"
        if failed
        else f"every feature reaches {least:.1%}"
    )
