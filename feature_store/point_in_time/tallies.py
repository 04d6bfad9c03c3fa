"""The online side of a definition: what is kept of one key, how an event changes it, and a feature read out of it.

A tally holds one number for each hop of a window, never a list of events: it grows with the windows, not with the
traffic. Read at any later instant its windows roll on by themselves; what happened since and was not added is missing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from feature_store.point_in_time.definitions import DAY, Age, Change, Distinct, Feature, Latest, Measure, Rate, Window
from feature_store.point_in_time.values import VALUES


@dataclass(frozen=True)
class Seen:
    """A record of a stream as it reaches an online store.

    Attributes:
        time: when it happened, microseconds since 1970.
        start: from when on it is known, later than `time`.
        kind: of the event; "" in other streams.
        worth: by name of the value its whole number (ids as text); a value that it lacks is absent.
    """

    time: int
    start: int
    kind: str
    worth: dict[str, int | str]


@dataclass(frozen=True)
class Need:
    """What has to be kept of one measure so that all features that read it can be served.

    Attributes:
        hops: by length of the hop the longest window that has it, microseconds.
        past: how long ago a value may be asked for, microseconds; None where no value is.
        ids: how long an id counts, microseconds; 0 keeps all; None where none is counted.
    """

    hops: dict[int, int]
    past: int | None
    ids: int | None


@dataclass
class Tally:
    """One measure of one key.

    Attributes:
        total: of all that was known.
        first: the earliest instant; None where nothing is known.
        last: the latest.
        hops: by length of the hop and its begin the sum in it.
        versions: start, time and value of the records that may still be the latest at some instant asked for.
        ids: by id the last instant.
    """

    total: int = 0
    first: int | None = None
    last: int | None = None
    hops: dict[int, dict[int, int]] = field(default_factory=dict)
    versions: list[tuple[int, int, int]] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)


Record = dict[Measure, Tally]


def needs(features: Iterable[Feature]) -> dict[Measure, Need]:
    """What the features of one entity need to be kept, by measure."""
    found: dict[Measure, Need] = {}
    for feature in features:
        window = feature.window
        for measure in feature.measures:
            need = found.setdefault(measure, Need({}, None, None))
            hops, past, ids = dict(need.hops), need.past, need.ids
            match feature.of:
                case Latest() | Change():
                    past = max(past or 0, window.length if window else 0)
                case Distinct():
                    ids = 0 if window is None or ids == 0 else max(ids or 0, window.length + window.hop)
                case _ if window is not None:
                    hops[window.hop] = max(hops.get(window.hop, 0), window.length)
            found[measure] = Need(hops, past, ids)
    return found


def add(record: Record, seen: Seen, wanted: dict[Measure, Need]) -> None:
    """Let a record of the stream change what is kept of its key.

    Args:
        record: is changed.
        seen: once it is known, in any order otherwise.
        wanted: see `needs`.
    """
    for measure, need in wanted.items():
        worth = 1 if measure.value == "one" else seen.worth.get(measure.value)
        if worth is None or (measure.kinds and seen.kind not in measure.kinds):
            continue
        tally = record.setdefault(measure, Tally())
        tally.first = seen.time if tally.first is None else min(tally.first, seen.time)
        tally.last = seen.time if tally.last is None else max(tally.last, seen.time)
        if isinstance(worth, str):
            tally.ids[worth] = max(tally.ids.get(worth, seen.time), seen.time)
            continue
        tally.total += worth
        for hop in need.hops:
            sums = tally.hops.setdefault(hop, {})
            begin = seen.time // hop * hop
            sums[begin] = sums.get(begin, 0) + worth
        if need.past is not None:
            tally.versions.append((seen.start, seen.time, worth))


def forget(record: Record, wanted: dict[Measure, Need], *, now: int) -> None:
    """Drop what no feature can ask for any more, at `now` or later."""
    for measure, tally in record.items():
        need = wanted[measure]
        for hop, longest in need.hops.items():
            begin = (now - longest) // hop * hop
            tally.hops[hop] = {at: worth for at, worth in tally.hops.get(hop, {}).items() if at >= begin}
        if need.ids:
            tally.ids = {one: last for one, last in tally.ids.items() if last >= now - need.ids}
        if need.past is not None and tally.versions:
            before = [version for version in tally.versions if version[0] <= now - need.past]
            latest = max(before, key=lambda version: version[1:], default=None)
            rest = [version for version in tally.versions if version[0] > now - need.past]
            tally.versions = [*([latest] if latest else []), *rest]


def read(record: Record, feature: Feature, *, now: int, prior: float = 0.0) -> float | None:
    """A feature's value, the same bits that a training row at `now` gets; None where there is none.

    Args:
        record: of the key; empty where nothing is known of it.
        feature: the definition.
        now: the instant asked for, microseconds, at or after everything added.
        prior: of a rate with strength, as of the last midnight.
    """
    value = computed(record, feature, now=now, prior=prior)
    return None if value is None else float(np.float32(value))


def computed(record: Record, feature: Feature, *, now: int, prior: float) -> float | None:
    """See `read`, in double precision."""
    match feature.of:
        case Age(measure, end):
            tally = record.get(measure, Tally())
            at = tally.last if end == "last" else tally.first
            return None if at is None else (now - at) / DAY
        case Latest(measure):
            return latest(record, measure, now)
        case Change(measure, window):
            new, old = latest(record, measure, now), latest(record, measure, now - window.length)
            return None if new is None or not old else new / old - 1.0
        case Distinct(measure, window):
            ids = record.get(measure, Tally()).ids
            return float(len(ids) if window is None else sum(last >= begin(window, now) for last in ids.values()))
        case Rate(top, bottom, window, strength):
            below = total(record, bottom, window, now) + strength
            return (total(record, top, window, now) + strength * prior) / below if below else None
        case of:
            return total(record, of.measure, of.window, now)


def begin(window: Window, now: int) -> int:
    """The first instant of a window, microseconds."""
    return (now - window.length) // window.hop * window.hop


def total(record: Record, measure: Measure, window: Window | None, now: int) -> float:
    """The sum of a measure over a window."""
    tally = record.get(measure, Tally())
    if window is None:
        whole = tally.total
    else:
        first = begin(window, now)
        whole = sum(worth for at, worth in tally.hops.get(window.hop, {}).items() if at >= first)
    return whole / VALUES[measure.value].scale


def latest(record: Record, measure: Measure, at: int) -> float | None:
    """The value of the last record known at an instant."""
    known = [(time, worth) for start, time, worth in record.get(measure, Tally()).versions if start <= at]
    return max(known)[1] / VALUES[measure.value].scale if known else None
