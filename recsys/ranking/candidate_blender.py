"""The recommendation blender: one order for the candidates of all recommenders, by LambdaMART over their signals.

score = a linear function of the sources' scores and ranks + trees over all signals. A table without repeats and one
with them are two questions, each with a function of its own. Trees are read from LightGBM's text format.

Source: Burges, "From RankNet to LambdaRank to LambdaMART: an overview", MSR-TR-2010-82; 1 / rank as in Cormack, Clarke
and Buettcher, "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods", SIGIR 2009.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recsys.errors import BundleError
from recsys.ranking.blender import filled
from recsys.ranking.candidate_signals import signal_names
from recsys.types import Scores, Vectors

SETTINGS = "blender.json"
FACTS = "products.parquet"
EXCLUDED, ALLOWED = "repeats-excluded", "repeats-allowed"
TABLES = (EXCLUDED, ALLOWED)
AGAIN = "train it again with `recsys train recommend-blender`"


class TableSettings(BaseModel):
    """What the function of one table is.

    Attributes:
        signals: the columns that the trees read, in order.
        weights: what a source's score and 1 / rank add, by the name of the signal; those left out add nothing.
        trees: whether there are trees beside the linear function.
        usual: of trees, what a signal counts as where it is unknown now but never was before; see `BlenderSettings`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    signals: tuple[str, ...]
    weights: dict[str, float]
    trees: bool
    usual: tuple[float | None, ...] = ()


class CandidateSettings(BaseModel):
    """blender.json of a component `recommend_blender`.

    Attributes:
        format: of the file.
        sources: the recommenders that are asked, in order.
        candidates: how many products each brings.
        until: the last moment that was learned from, microseconds since 1970-01-01 UTC.
        calendar: whether the shop's timestamps tell days.
        learned_over: by source's component, the digest of the settings it was learned with.
        tables: by table, its function.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    sources: Annotated[tuple[str, ...], Field(min_length=1)]
    candidates: Annotated[int, Field(ge=1)]
    until: int
    calendar: bool
    learned_over: dict[str, str]
    tables: dict[Literal["repeats-excluded", "repeats-allowed"], TableSettings]


@dataclass(frozen=True)
class CandidateBlender:
    """A fitted recommendation blender.

    Attributes:
        settings: what it reads and how it weighs.
        trees: LightGBM's boosters by table, where it has any.
    """

    settings: CandidateSettings
    trees: Mapping[str, Any]

    @classmethod
    def load(cls, folder: Path) -> "CandidateBlender":
        """Read the component.

        Raises:
            BundleError: a file is missing or damaged, or trees do not fit the settings.
        """
        try:
            settings = CandidateSettings.model_validate_json((folder / SETTINGS).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, ValidationError) as error:
            raise broken(folder, f"{SETTINGS} is missing or can't be read") from error
        names = signal_names(settings.sources)
        for table, own in settings.tables.items():
            if strange := sorted({*own.signals, *own.weights} - set(names)):
                raise broken(folder, f"table {table} reads {strange[0]}, which this release does not compute")
        trees = {str(name): read_trees(folder, name, own) for name, own in settings.tables.items() if own.trees}
        return cls(settings, trees)

    def save(self, folder: Path) -> None:
        """Write settings and trees; the same blender gives the same bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SETTINGS).write_text(self.settings.model_dump_json(indent=1) + "\n", encoding="utf-8")
        for table, trees in self.trees.items():
            (folder / f"{table}.txt").write_text(trees.model_to_string(num_iteration=-1), encoding="utf-8")

    def score(self, matrix: Vectors, *, table: str) -> Scores:
        """float32 [candidates]: higher is better, comparable within one user.

        Args:
            matrix: float32 [candidates, signals], in the order of `signal_names`.
            table: one of TABLES.
        """
        own = self.settings.tables[table]  # type: ignore[index]
        places = {name: place for place, name in enumerate(signal_names(self.settings.sources))}
        total = np.zeros(len(matrix))
        for name, weight in own.weights.items():
            total += weight * np.nan_to_num(matrix[:, places[name]].astype(np.float64), nan=0.0)
        if own.trees and len(matrix):
            wide = filled(matrix[:, [places[name] for name in own.signals]], own.usual)
            total += np.asarray(self.trees[table].predict(wide, num_threads=1))
        return total.astype(np.float32)


def read_trees(folder: Path, table: str, settings: TableSettings) -> Any:
    """LightGBM's booster of a table, refused where its columns are not those of the settings."""
    from lightgbm import Booster
    from lightgbm.basic import LightGBMError

    try:
        trees = Booster(model_str=(folder / f"{table}.txt").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, LightGBMError) as error:
        raise broken(folder, f"{table}.txt is missing or can't be read") from error
    if tuple(trees.feature_name()) != settings.signals:
        raise broken(folder, f"{table}.txt reads other signals than {SETTINGS} says")
    return trees


def broken(folder: Path, reason: str) -> BundleError:
    """The error for a component that can't be read."""
    return BundleError(f"{folder}: {reason}", expected="a blender as training writes it", action=AGAIN)
