"""What every HistorySource must do; run it on your own source, filled with a known log."""

from collections.abc import Mapping, Sequence

import numpy as np

from recsys.testing.conformance import require
from recsys.types import EVENT_CODES, HistorySource

Event = tuple[str, int, str]


def check_history_source(
    source: HistorySource,
    *,
    log: Mapping[str, Sequence[Event]],
    segments: Mapping[str, str],
    attributes: Mapping[str, str] | None = None,
) -> None:
    """Compare a source with the log it was filled with.

    Args:
        source: the source under test.
        log: for every user the source knows, the events (product id, microseconds since 1970 UTC, event type), oldest
            first; users without events have an empty list.
        segments: the segment of every user that has one.
        attributes: what else is known, of every user of whom something is; None where it is known of nobody.

    Raises:
        ConformanceError: the source answers otherwise; the text says what was asked.
    """
    users = sorted(log)
    strangers = ["", "\u0000", "nobody", "ü" * 300]
    asked_for = [users, users[::-1], users + users, [*strangers, *users[:3], *strangers], users[:1], strangers, []]
    for asked in asked_for:
        answer = source.read(asked)
        require(len(answer) == len(asked), f"{len(answer)} histories for {len(asked)} users")
        require(
            answer.offsets[0] == 0 and answer.offsets[-1] == len(answer.product_ids), "offsets do not span the events"
        )
        require(answer.offsets.dtype == np.int64, f"offsets of type {answer.offsets.dtype}")
        require(answer.timestamps.dtype == np.int64, f"timestamps of type {answer.timestamps.dtype}")
        require(answer.event_types.dtype == np.int8, f"event types of type {answer.event_types.dtype}")
        for row, user in enumerate(asked):
            first, last = answer.offsets[row], answer.offsets[row + 1]
            found = list(
                zip(
                    answer.product_ids[first:last],
                    answer.timestamps[first:last].tolist(),
                    answer.event_types[first:last].tolist(),
                    strict=True,
                )
            )
            expected = [(product, time, EVENT_CODES[kind]) for product, time, kind in log.get(user, ())]
            require(found == expected, f"user {user!r} among {len(asked)}: {found} instead of {expected}")
            require(answer.segments[row] == segments.get(user, ""), f"user {user!r}: segment {answer.segments[row]!r}")
            told = answer.attributes[row] if answer.attributes else ""
            require(told == (attributes or {}).get(user, ""), f"user {user!r}: attributes {told!r}")
        known = source.known(asked)
        require(known.dtype == np.bool_ and known.tolist() == [user in log for user in asked], "known() is wrong")
