"""What stands beside the records of a generation: what was published, and how far the event log was followed."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from feature_store.event_log.parts import Position
from feature_store.point_in_time.definitions import DAY, Feature, Measure, Rate
from feature_store.point_in_time.values import VALUES
from recsys.errors import StorageError

ABOUT, STATE = "\x01about", "\x01state"
"""The keys of both."""
FORMAT_VERSION = 3
AGAIN = "publish again: recsys table publish SHOP"
Row = dict[str, Any]


@dataclass(frozen=True)
class About:
    """What a generation says of itself.

    Attributes:
        at: what was known by then is in it, microseconds since 1970; no later news but what the log brought.
        features: by name the version of the definition.
        mask: fingerprint of the key that masks user ids, "" where they are plain.
        made: when it was published, by the clock, likewise.
        oldest: users, queries and pairs of which all is older were left out, microseconds since 1970.
        forgotten: how often users had been forgotten, whose events are therefore not in it.
        own: by name the features of the shop's own as they are written down; see `point_in_time.own`.
        log_share: of the answers, from 0 to 1, that services log where they are told nothing else.
    """

    at: int
    features: Mapping[str, str]
    mask: str
    made: int = 0
    oldest: int = 0
    forgotten: int = 0
    own: Mapping[str, Any] = field(default_factory=dict)
    log_share: float = 0.0

    def packed(self) -> bytes:
        """As it is stored."""
        return json.dumps({"version": FORMAT_VERSION} | asdict(self)).encode()

    @classmethod
    def of(cls, packed: bytes) -> "About":
        """Back from `packed`; StorageError where it is of another version."""
        content = json.loads(packed)
        if content.pop("version") != FORMAT_VERSION:
            raise StorageError(
                "the online features are of another format", expected=f"version {FORMAT_VERSION}", action=AGAIN
            )
        return cls(**content)


@dataclass
class State:
    """How far a generation has come.

    Attributes:
        position: in the event log; all events up to it are in the records, or wait.
        newest: the latest instant from which on an added event is known, microseconds since 1970.
        waiting: events that are known later than now, as rows; see `deltas`.
        sums: for each measure that rates are drawn towards, by day (since 1970) of becoming known what it summed up to;
            the first day stands for all before it, too.
    """

    position: Position
    newest: int
    waiting: list[Row] = field(default_factory=list)
    sums: list[dict[int, int]] = field(default_factory=list)

    def packed(self) -> bytes:
        """As it is stored."""
        return json.dumps([self.position, self.newest, self.waiting, self.sums]).encode()

    @classmethod
    def of(cls, packed: bytes) -> "State":
        """Back from `packed`."""
        position, newest, waiting, sums = json.loads(packed)
        return cls(Position(*position), newest, waiting, [{int(day): one[day] for day in one} for one in sums])

    def add(self, number: int, *, day: int, worth: int) -> None:
        """Count a record for the shop."""
        self.sums[number][day] = self.sums[number].get(day, 0) + worth

    def tidy(self) -> None:
        """Sum up the days that no midnight will ask for one by one."""
        last = self.newest // DAY
        for one in self.sums:
            old = sorted(day for day in one if day < last)
            for day in old[:-1]:
                one[old[-1]] += one.pop(day)

    def priors(self, features: Iterable[Feature], measures: Sequence[Measure], *, now: int) -> dict[str, float]:
        """By feature the shop's rate as of the last midnight.

        Args:
            features: those that are not drawn towards one are passed over.
            measures: of `sums`.
            now: the instant, microseconds since 1970.
        """
        known = {
            measure: sum(worth for day, worth in days.items() if day < now // DAY) / VALUES[measure.value].scale
            for measure, days in zip(measures, self.sums, strict=True)
        }
        return {
            feature.name: known[feature.of.top] / known[feature.of.bottom] if known[feature.of.bottom] else 0.0
            for feature in features
            if isinstance(feature.of, Rate) and feature.of.strength
        }


def drawn(features: Iterable[Feature]) -> list[Measure]:
    """The measures whose rates features are drawn towards, each once."""
    rates = (feature for feature in features if isinstance(feature.of, Rate) and feature.of.strength)
    return list(dict.fromkeys(measure for feature in rates for measure in feature.measures))


def versions(features: Sequence[Feature]) -> dict[str, str]:
    """By name the version of each definition."""
    return {feature.name: feature.version for feature in features}
