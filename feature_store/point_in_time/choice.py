"""Which features a table gets: those named, or all that the shop and the rows can have."""

from collections.abc import Collection, Sequence

from feature_store.point_in_time.definitions import Feature
from feature_store.point_in_time.streams import Streams, unfit
from recsys.errors import UsageError


def named(only: Sequence[str], features: Sequence[Feature]) -> list[Feature]:
    """The features of these names, in the order of their definitions; all where none is named.

    Raises:
        UsageError: a name is unknown.
    """
    known = {feature.name for feature in features}
    if unknown := [name for name in only if name not in known]:
        raise UsageError(f"feature {', '.join(unknown)}", expected="a name of `recsys table list`", action="correct it")
    return [feature for feature in features if not only or feature.name in only]


def choose(
    features: Sequence[Feature], streams: Streams, *, keys: Collection[str], calendar: bool, strict: bool
) -> tuple[list[Feature], dict[str, str]]:
    """The features that can be had, and by name why the others can't.

    Args:
        features: what is wanted.
        streams: of the shop.
        keys: columns that the rows have.
        calendar: False where the shop's timestamps only order.
        strict: refuse to leave any out.

    Raises:
        UsageError: one can't be had and `strict` is set, or none can.
    """
    left_out = {}
    for feature in features:
        missing = [key for key in feature.keys if key not in keys]
        why = unfit(feature, streams, calendar=calendar) or (f"rows have no {', '.join(missing)}" if missing else None)
        if why is not None:
            left_out[feature.name] = why
    if left_out and (strict or len(left_out) == len(features)):
        name, why = next(iter(left_out.items()))
        more = f", nor {len(left_out) - 1} others" if len(left_out) > 1 else ""
        raise UsageError(
            f"feature {name} can't be had: {why}{more}"
            if len(left_out) < 2
            else f"features {', '.join(left_out)} can't be had ({name}: {why})",
            expected="features that the shop's tables and the rows' columns allow",
            action="leave them out, or add what they need; `recsys table list` tells",
        )
    return [feature for feature in features if feature.name not in left_out], left_out
