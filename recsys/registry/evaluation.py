"""What `recsys evaluate` found about a version, as the version's tags and metrics hold it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from recsys.metrics.intervals import Interval
from recsys.registry.version import Version

MEASURED, COMPARED = "evaluation/", "comparison/"
SHORT = 12


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One table: a version measured on one part of one snapshot by one protocol.

    Attributes:
        snapshot: the snapshot's id.
        task: "judged", "retrieval", "recommend" or "off-policy".
        split: the part of the snapshot.
        variant: which of several tables this is, "all" where there is one.
        protocol: its name in full.
        run_id: the MLflow run that holds the report.
        at: when, ISO 8601 with zone.
        metrics: by name, the mean over queries or users with its interval.
        against: the version that this one was compared with in pairs, "" where none.
        differences: by metric, this version minus that one, over the same queries or users.
    """

    snapshot: str
    task: str
    split: str
    variant: str
    protocol: str
    run_id: str
    at: str
    metrics: Mapping[str, Interval]
    against: str = ""
    differences: Mapping[str, Interval] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Snapshot, task, part and variant: figures under one key are of the same data."""
        parts = [self.snapshot[:SHORT], self.task, self.split]
        return "/".join(parts if self.variant == "all" else [*parts, self.variant])

    @property
    def keyed_metrics(self) -> dict[str, float]:
        """The means under names that say what they were measured on."""
        return {f"{MEASURED}{self.key}/{name}": interval.mean for name, interval in self.metrics.items()}

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the version: the newest table of each key, and the newest of each pair of versions."""
        text = json.dumps(asdict(self))
        return {f"{MEASURED}{self.key}": text} | (
            {f"{COMPARED}{self.against}/{self.key}": text} if self.against else {}
        )


def evaluations(version: Version) -> list[Evaluation]:
    """The newest table of each key, in the order of the keys."""
    return [as_evaluation(text) for name, text in sorted(version.tags.items()) if name.startswith(MEASURED)]


def comparisons(version: Version, *, against: str) -> list[Evaluation]:
    """The tables of the newest paired comparison with another version, named as "NAME/VERSION"; none without one."""
    prefix = f"{COMPARED}{against}/"
    found = [as_evaluation(text) for name, text in sorted(version.tags.items()) if name.startswith(prefix)]
    newest = max((one.at for one in found), default="")
    return [one for one in found if one.at == newest]


def as_evaluation(text: str) -> Evaluation:
    """A table as a tag holds it."""
    fields = json.loads(text)
    for name in ("metrics", "differences"):
        fields[name] = {metric: Interval(*values) for metric, values in fields[name].items()}
    return Evaluation(**fields)
