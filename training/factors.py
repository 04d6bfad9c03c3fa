"""Matrix factors through implicit: ALS and BPR; served by `recsys.retrieval.factors`."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import sparse
from threadpoolctl import threadpool_limits

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import RECOMMENDER, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.retrieval.factors import BIASES, FACTORS, SETTINGS, FactorRecommender, FactorSettings
from recsys.retrieval.vocabulary import write_vocabulary
from training.histories import Cells, read_cells
from training.holdout import Holdout
from training.metric_log import MetricLog


class FactorConfig(BaseModel):
    """Settings that ALS and BPR share.

    Attributes:
        factors: width of the vectors.
        iterations: passes over the events.
        regularization: weight of the ridge, above 0; also used when users are folded in.
        alpha: confidence of one event where users are folded in; ALS also learns with it.
        counts: whether repeated events make a cell heavier; False counts it once.
        half_life_days: an event so much older than the newest counts half, 0 counts all alike.
        seed: of the first factors.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    factors: Annotated[int, Field(ge=1)] = 128
    iterations: Annotated[int, Field(ge=1)] = 15
    regularization: Annotated[float, Field(gt=0)] = 0.05
    alpha: Annotated[float, Field(gt=0)] = 10.0
    counts: bool = False
    half_life_days: Annotated[float, Field(ge=0)] = 0.0
    seed: Annotated[int, Field(ge=0)] = 0


class BprConfig(FactorConfig):
    """Settings of BPR; the defaults are those that lift it above popularity on the sample shop's validation part.

    Attributes:
        learning_rate: of the stochastic gradient.
    """

    factors: Annotated[int, Field(ge=1)] = 64
    iterations: Annotated[int, Field(ge=1)] = 400
    regularization: Annotated[float, Field(gt=0)] = 0.02
    learning_rate: Annotated[float, Field(gt=0)] = 0.03


Matrix = Any  # scipy's csr_matrix, which comes without types
Factors = tuple[NDArray[np.float32], NDArray[np.float32] | None]
Learn = Callable[[Matrix, Any], Factors]


def learn_als(matrix: Matrix, config: FactorConfig) -> Factors:
    """Product factors float32 [products, width] by alternating least squares, and no biases."""
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=config.factors,
        regularization=config.regularization,
        alpha=config.alpha,
        iterations=config.iterations,
        random_state=config.seed,
        num_threads=1,
    )
    model.fit(matrix, show_progress=False)
    return model.item_factors, None


def learn_bpr(matrix: Matrix, config: BprConfig) -> Factors:
    """Product factors float32 [products, width] by Bayesian personalised ranking, and their biases."""
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    model = BayesianPersonalizedRanking(
        factors=config.factors,
        regularization=config.regularization,
        learning_rate=config.learning_rate,
        iterations=config.iterations,
        random_state=config.seed,
        num_threads=1,
    )
    model.fit(matrix, show_progress=False)
    # implicit keeps the bias in the last column, beside a constant 1 of each user.
    return model.item_factors[:, :-1], model.item_factors[:, -1]


@dataclass(frozen=True)
class FactorStage:
    """One kind of matrix factors."""

    name: str
    component: str
    config_type: type[BaseModel]
    learn: Learn
    kind: str = RECOMMENDER

    def train(
        self,
        snapshot: Snapshot,
        *,
        config: BaseModel,
        folder: Path,
        work: Path,
        run: MetricLog,
        base: Bundle | None,
        start: Path | None,
        refit: bool,
    ) -> ComponentInfo:
        """Factorise, measure on the validation part, factorise anew with it; see Stage."""
        if not isinstance(config, FactorConfig):
            raise TypeError(f"settings of another stage: {type(config).__name__}")
        catalogue = snapshot.catalogue()
        parts = ["train"]
        self.fit(snapshot, parts=parts, config=config, folder=folder)
        holdout = Holdout.read(snapshot, catalogue=catalogue, part="validation")
        metrics = holdout.measure(FactorRecommender.load(folder, catalogue=catalogue))
        run.metrics(metrics, step=0)
        if refit:
            parts = ["train", "validation"]
            self.fit(snapshot, parts=parts, config=config, folder=folder)
        return ComponentInfo(
            name=self.component,
            snapshot=snapshot.manifest.snapshot_id,
            metrics=metrics,
            config=config.model_dump(),
            parts=parts,
        )

    def fit(self, snapshot: Snapshot, *, parts: list[str], config: FactorConfig, folder: Path) -> None:
        """Write product_factors.npy (and product_biases.npy), vocabulary.parquet and factors.json into the folder."""
        cells = read_cells(snapshot, parts=parts, counts=config.counts, half_life_days=config.half_life_days)
        # One thread: implicit's own, and BLAS's, of which it would otherwise warn; the same seed then says the same.
        with threadpool_limits(limits=1):
            factors, biases = self.learn(as_matrix(cells), config)
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / FACTORS, np.ascontiguousarray(factors, dtype=np.float32), allow_pickle=False)
        if biases is not None:
            np.save(folder / BIASES, np.ascontiguousarray(biases, dtype=np.float32), allow_pickle=False)
        write_vocabulary(folder, cells.product_ids)
        settings = FactorSettings(
            name=self.name,
            alpha=config.alpha,
            regularization=config.regularization,
            counts=config.counts,
            pairwise=biases is not None,
        )
        (folder / SETTINGS).write_text(json.dumps(asdict(settings)) + "\n", encoding="utf-8")


def as_matrix(cells: Cells) -> Matrix:
    """float32 [users, products]."""
    return sparse.csr_matrix((cells.values, (cells.users, cells.rows)), shape=cells.shape)


def AlsStage() -> FactorStage:
    """`recsys train als`."""
    return FactorStage("als", "als", FactorConfig, learn_als)


def BprStage() -> FactorStage:
    """`recsys train bpr`."""
    return FactorStage("bpr", "bpr", BprConfig, learn_bpr)
