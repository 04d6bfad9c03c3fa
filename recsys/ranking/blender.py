"""The blender: corrects the weighted sum of the stages by what all signals together say.

score = scale x (the sum's parts) + f(signals), where f is LambdaMART's trees or a linear function. Trees are read from
LightGBM's text format. Each signal's contribution is known, so that a product's parts still add up to its score.

Source: Burges, "From RankNet to LambdaRank to LambdaMART: an overview", MSR-TR-2010-82; Lundberg et al., "Consistent
individualized feature attribution for tree ensembles", arXiv 1802.03888 (the trees' contributions).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from recsys.errors import BundleError
from recsys.ranking.signals import definitions_digest, group_of
from recsys.types import Scores, Vectors

SETTINGS = "signals.json"
TREES = "model.txt"
BIAS = "bias"
AGAIN = "train the blender again with `recsys train blender`"
Floats = NDArray[np.float64]


class Linear(BaseModel):
    """A linear function of standardised signals; one that is unknown says nothing.

    Attributes:
        weights: of each signal.
        means: of each signal over the pairs it was fitted on.
        deviations: standard deviation of each signal there, above 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: tuple[float, ...]
    means: tuple[float, ...]
    deviations: tuple[Annotated[float, Field(gt=0)], ...]


class BlenderSettings(BaseModel):
    """signals.json of a component `blender`.

    Attributes:
        format: of the file.
        kind: what f is.
        signals: the columns in order.
        digest: of the signals' definitions; see `definitions_digest`.
        scale: what the weighted sum counts beside f, 0 or more.
        learned_over: digests of the components whose scores it was fitted on, by name.
        linear: f, where it is linear.
        usual: of trees, what each signal counts as where it is unknown now but never was in the pairs they were fitted
            on: the median there. None where it was unknown in some of them, so that the trees know what to do.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    kind: Literal["trees", "linear"]
    signals: Annotated[tuple[str, ...], Field(min_length=1)]
    digest: str
    scale: Annotated[float, Field(ge=0)]
    learned_over: dict[str, str] = Field(default_factory=dict)
    linear: Linear | None = None
    usual: tuple[float | None, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> "BlenderSettings":
        lengths = () if self.linear is None else tuple(map(len, dict(self.linear).values()))
        if (self.linear is not None) is not (self.kind == "linear") or any(n != len(self.signals) for n in lengths):
            raise ValueError("a linear blender has a weight, a mean and a deviation for each signal, others have none")
        if self.usual and (self.kind == "linear" or len(self.usual) != len(self.signals)):
            raise ValueError("trees have a usual value for each signal, or none at all; a linear blender has none")
        return self


class Blender:
    """A fitted blender.

    Args:
        settings: what it reads and how it weighs.
        trees: LightGBM's booster; None where it is linear.
    """

    def __init__(self, settings: BlenderSettings, trees: Any = None) -> None:
        self.settings = settings
        self.trees = trees
        self.signals = settings.signals
        self.groups = tuple(dict.fromkeys(group_of(name) for name in settings.signals))

    @classmethod
    def load(cls, folder: Path) -> "Blender":
        """Read the component.

        Raises:
            BundleError: a file is absent or damaged, or the signals are not those that this release computes.
        """
        try:
            text = (folder / SETTINGS).read_text(encoding="utf-8")
            settings = BlenderSettings.model_validate_json(text)
        except (OSError, UnicodeDecodeError, ValidationError) as error:
            raise broken(folder, f"{SETTINGS} is missing or can't be read") from error
        if definitions_digest(settings.signals) != settings.digest:
            raise BundleError(
                f"{folder}: signals of other definitions than this release computes",
                expected=f"definitions of digest {definitions_digest(settings.signals)[:12]}",
                action=AGAIN,
            )
        return cls(settings, read_trees(folder, settings) if settings.kind == "trees" else None)

    def save(self, folder: Path) -> None:
        """Write the component; the same blender gives the same bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SETTINGS).write_text(self.settings.model_dump_json(indent=1) + "\n", encoding="utf-8")
        if self.trees is not None:
            (folder / TREES).write_text(self.trees.model_to_string(num_iteration=-1), encoding="utf-8")

    def contributions(self, matrix: Vectors) -> Floats:
        """What each signal adds to a pair's score, and the bias.

        Args:
            matrix: float32 [pairs, signals], NaN where unknown, in the order of `signals`.

        Returns:
            float64 [pairs, signals + 1]; the last column is the same for all pairs. A row's sum is f.
        """
        if not len(matrix):
            return np.zeros((0, len(self.signals) + 1))
        if self.settings.linear is not None:
            return linear_contributions(self.settings.linear, matrix)
        wide = filled(matrix, self.settings.usual)
        found: Floats = np.asarray(self.trees.predict(wide, pred_contrib=True, num_threads=1))
        return found

    def parts(self, matrix: Vectors, *, base: Mapping[str, Scores]) -> dict[str, Scores]:
        """The parts of the blended score, float32 [pairs] each: the sum's own to scale, then one for each group.

        Args:
            matrix: as for `contributions`.
            base: the parts of the weighted sum; where a group has a part's name, the two are one.
        """
        found = {name: np.float32(self.settings.scale) * part for name, part in base.items()}
        columns = self.contributions(matrix)
        for group in self.groups:
            own = [place for place, name in enumerate(self.signals) if group_of(name) == group]
            added = columns[:, own].sum(axis=1).astype(np.float32)
            found[group] = found[group] + added if group in found else added
        return found | {BIAS: columns[:, -1].astype(np.float32)}


def linear_contributions(linear: Linear, matrix: Vectors) -> Floats:
    """float64 [pairs, signals + 1]: weight x (value - mean) / deviation, 0 where the value is unknown; bias 0."""
    standard = (matrix.astype(np.float64) - np.asarray(linear.means)) / np.asarray(linear.deviations)
    found = np.zeros((len(matrix), matrix.shape[1] + 1))
    found[:, :-1] = np.nan_to_num(standard, nan=0.0) * np.asarray(linear.weights)
    return found


def filled(matrix: Vectors, usual: Sequence[float | None]) -> Floats:
    """float64 [pairs, signals]: the matrix for trees, which take what they never missed for 0 where it is missing.

    Source: https://lightgbm.readthedocs.io/en/v4.6.0/Advanced-Topics.html#missing-value-handle
    """
    wide: Floats = matrix.astype(np.float64)
    for place, value in enumerate(usual):
        if value is not None:
            wide[np.isnan(wide[:, place]), place] = value
    return wide


def read_trees(folder: Path, settings: BlenderSettings) -> Any:
    """LightGBM's booster, refused where its columns are not those of the settings."""
    from lightgbm import Booster
    from lightgbm.basic import LightGBMError

    try:
        text = (folder / TREES).read_text(encoding="utf-8")
        trees = Booster(model_str=text)
    except (OSError, UnicodeDecodeError, LightGBMError) as error:
        raise broken(folder, f"{TREES} is missing or can't be read") from error
    check_columns(folder, trees.feature_name(), settings.signals)
    return trees


def check_columns(folder: Path, found: Sequence[str], expected: Sequence[str]) -> None:
    """Refuse trees that were fitted on other columns."""
    if list(found) != list(expected):
        strange = next((name for name in found if name not in expected), found[0] if found else "none")
        raise BundleError(
            f"{folder / TREES} reads {len(found)} columns, among them {strange}",
            expected=f"the {len(expected)} signals of {SETTINGS}, in their order",
            action=AGAIN,
        )


def broken(folder: Path, reason: str) -> BundleError:
    """The error for a component that can't be read."""
    return BundleError(f"{folder}: {reason}", expected="a blender as training writes it", action=AGAIN)
