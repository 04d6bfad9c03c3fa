"""Learning on from a model: what is new since its snapshot, and a share of what it learned from before."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from feature_store.snapshot import Snapshot
from recsys.bundle.read import Bundle
from recsys.errors import SnapshotError, UsageError
from recsys.settings import Settings
from recsys.text.normalise import normalise
from training.relevance.config import RelevanceConfig

PLAIN = "normalised_query"


@dataclass(frozen=True, slots=True)
class Past:
    """What a model was learned from.

    Attributes:
        snapshot: of its training.
        parts: those it saw.
    """

    snapshot: Snapshot
    parts: tuple[str, ...]

    def judgments(self) -> pl.DataFrame:
        """The judgments that the model saw."""
        judgments = self.snapshot.judgments(*(self.parts or ("train",)))
        return judgments if self.parts else judgments.clear()


def find_past(start: Path | None, *, config: RelevanceConfig, settings: Settings) -> Past:
    """The snapshot and the parts that the model to start from was learned from.

    Args:
        start: its component's folder inside a bundle.
        config: replay_from is read.
        settings: say where snapshots live.

    Raises:
        UsageError: there is no model to start from, or replay_from is another snapshot than the model's.
        SnapshotError: the model's snapshot is gone.
    """
    if start is None:
        raise UsageError("replay without a model", expected="a model that has learned before", action="name --init")
    info = Bundle.open(start.parent, verify=False).manifest.components[start.name]
    if not info.snapshot:
        raise UsageError(
            "replay of a model without a snapshot", expected="a trained model", action="name another --init"
        )
    try:
        snapshot = Snapshot.open(Path(config.replay_from or info.snapshot), settings=settings)
    except SnapshotError as error:
        raise SnapshotError(
            f"snapshot {info.snapshot}, which the model to start from was learned from, is not at hand",
            expected="it under RECSYS_HOME/snapshots, or its folder by name",
            action="name its folder: --set replay_from=FOLDER",
        ) from error
    found = snapshot.manifest.snapshot_id
    if found != info.snapshot:
        raise UsageError(
            f"replay_from is snapshot {found}", expected=f"snapshot {info.snapshot}", action="name the model's own"
        )
    snapshot.verify()
    return Past(snapshot, tuple(info.parts))


def new_since(judgments: pl.DataFrame, past: pl.DataFrame) -> pl.DataFrame:
    """The judgments whose query, product and grade do not stand together in the past."""
    columns = [PLAIN, "product_id", "grade"]
    return with_plain(judgments).join(with_plain(past), on=columns, how="anti", maintain_order="left").drop(PLAIN)


def with_plain(judgments: pl.DataFrame) -> pl.DataFrame:
    """The judgments and the column of their normalised queries."""
    plain = [normalise(query) for query in judgments["query"]]
    return judgments.with_columns(pl.Series(PLAIN, plain, dtype=pl.String))
