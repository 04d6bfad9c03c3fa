"""`recsys train two-tower`: from a snapshot to the component."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import BaseModel

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import RECOMMENDER, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.catalogue import Catalogue
from recsys.errors import NothingToLearnError, UsageError
from recsys.models.two_tower import TwoTower
from recsys.models.two_tower_config import FIRST, UNKNOWN
from recsys.retrieval.two_tower import TwoTowerRecommender
from recsys.retrieval.vocabulary import write_vocabulary
from recsys.types import Vectors
from training.fit import FitResult
from training.holdout import Holdout
from training.journal import MetricLog
from training.two_tower.config import TwoTowerSettings
from training.two_tower.learn import learn
from training.two_tower.read import catalogue_text, once, read_products, read_segments, read_sequences, read_trials


class TwoTowerStage:
    """`recsys train two-tower`."""

    name = "two-tower"
    kind = RECOMMENDER
    component = "two_tower"
    config_type: type[BaseModel] = TwoTowerSettings

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
        """Choose the epochs on the validation part, then learn anew with it; see Stage."""
        if not isinstance(config, TwoTowerSettings):
            raise TypeError(f"settings of another stage: {type(config).__name__}")
        settings = config.resolved(basket=basket_size(snapshot))
        check_calendar(snapshot, settings)
        catalogue = snapshot.catalogue()
        encoder = None if base is None else base.component("text_encoder")
        text = catalogue_text(catalogue, folder=encoder) if settings.text else None
        return train_component(
            snapshot, catalogue=catalogue, text=text, config=settings, folder=folder, work=work, run=run, refit=refit
        )


def train_component(
    snapshot: Snapshot,
    *,
    catalogue: Catalogue,
    text: Vectors | None,
    config: TwoTowerSettings,
    folder: Path,
    work: Path,
    run: MetricLog | None,
    refit: bool,
) -> ComponentInfo:
    """Learn, and write network and vocabulary.

    Args:
        snapshot: the events.
        catalogue: its products.
        text: float32 [catalogue, text width], None trains on ids alone.
        config: settings.
        folder: where network and vocabulary go.
        work: where resume checkpoints live.
        run: receives the metrics of each epoch.
        refit: learn anew on train and validation, for as many epochs as were best on the validation part.
    """
    parts = ["train"]
    network, metrics, result = choose(
        snapshot, catalogue=catalogue, text=text, config=config, folder=folder, work=work, run=run
    )
    if refit:
        parts = ["train", "validation"]
        network, _ = learn_parts(
            snapshot,
            catalogue=catalogue,
            parts=parts,
            text=text,
            config=config,
            folder=folder,
            work=work / "refit",
            stop_after=result.best_epoch,
        )
    network.save(folder)
    return ComponentInfo(
        name=TwoTowerStage.component,
        snapshot=snapshot.manifest.snapshot_id,
        metrics=metrics,
        config=config.model_dump() | {"best_epoch": result.best_epoch},
        parts=parts,
    )


def basket_size(snapshot: Snapshot) -> float:
    """Mean number of a user's events of the training part that share a timestamp; 0 without events."""
    events = snapshot.interactions("train").filter(pl.col("user_id").is_not_null())
    return events.height / max(1, events.select("user_id", "timestamp").n_unique())


def choose(
    snapshot: Snapshot,
    *,
    catalogue: Catalogue,
    text: Vectors | None,
    config: TwoTowerSettings,
    folder: Path,
    work: Path,
    run: MetricLog | None,
) -> tuple[TwoTower, dict[str, float], FitResult]:
    """Learn on the training part; the best epoch by NDCG@10 on the validation part."""
    holdout = Holdout.read(snapshot, catalogue=catalogue, part="validation")
    network, result = learn_parts(
        snapshot,
        catalogue=catalogue,
        parts=["train"],
        text=text,
        config=config,
        folder=folder,
        work=work / "choose",
        holdout=holdout,
        run=run,
    )
    network.save(folder)
    recommender = TwoTowerRecommender.load(folder, catalogue=catalogue, text=text)
    return network, holdout.measure(recommender), result


def learn_parts(
    snapshot: Snapshot,
    *,
    catalogue: Catalogue,
    parts: Sequence[str],
    text: Vectors | None,
    config: TwoTowerSettings,
    folder: Path,
    work: Path,
    holdout: Holdout | None = None,
    run: MetricLog | None = None,
    stop_after: int = 0,
) -> tuple[TwoTower, FitResult]:
    """Learn on some parts of the snapshot and write the vocabulary; `holdout` chooses the epoch."""
    events = snapshot.interactions(*parts).filter(pl.col("user_id").is_not_null())
    if not events.height:
        raise NothingToLearnError(
            f"no event of a known user in {snapshot.path}",
            expected="events with user_id and product_id",
            action="add an events table to the shop and build the snapshot again",
        )
    known = events["position"].unique().sort().to_numpy()
    rows = np.full(len(catalogue), UNKNOWN, dtype=np.int64)
    rows[known] = np.arange(len(known)) + FIRST
    folder.mkdir(parents=True, exist_ok=True)
    write_vocabulary(folder, catalogue.product_ids.gather(known))
    codes, segments = read_segments(snapshot, folder=folder) if config.segments else (None, None)
    return learn(
        once(read_sequences(events, rows=rows, segments=segments), config=config),
        None if holdout is None else read_trials(holdout, rows=rows, config=config, segments=codes),
        products=read_products(
            snapshot, catalogue=catalogue, known=known, parts=parts, text=text, config=config, folder=folder
        ),
        config=config,
        work=work,
        run=run,
        stop_after=stop_after,
        segments=0 if codes is None else codes.size,
    )


def check_calendar(snapshot: Snapshot, config: TwoTowerSettings) -> None:
    """Refuse what needs a calendar where the shop has none.

    Raises:
        UsageError: naming the settings.
    """
    wanted = {"calendar": config.calendar, "spans": config.spans, "half_life_days": config.half_life_days}
    named = [name for name, value in wanted.items() if value]
    if named and snapshot.manifest.timestamps == "order":
        raise UsageError(
            f"{', '.join(named)} for a shop whose timestamps are an order",
            expected="none of them: this shop has no calendar",
            action="leave them out of the settings",
        )
