"""`recsys train two-tower`: from a snapshot to the component."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import cast

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
from training.metric_log import MetricLog
from training.two_tower.config import TwoTowerSettings
from training.two_tower.events import EVENTS, KNOWN, basket_size, known_positions, known_users
from training.two_tower.flat import read_sequences
from training.two_tower.learn import learn
from training.two_tower.read import catalogue_text, once, read_products, read_trials, read_users
from training.two_tower.start import ANEW, UNTIL, Start
from training.two_tower.wording import texts_speak


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
        """Choose the epochs on the validation part, then learn anew with it, or go on from a model; see Stage.

        Raises:
            NothingToLearnError: no known user comes back, or none did anything new since the model to start from.
            UsageError: a setting that needs a calendar, or contradicts the model to start from; see `Start`.
        """
        if not isinstance(config, TwoTowerSettings):
            raise TypeError(f"settings of another stage: {type(config).__name__}")
        before = None if start is None else Start.open(start, snapshot=snapshot)
        catalogue = snapshot.catalogue()
        if before is None:
            settings = config.resolved(basket=basket_size(snapshot), texts=texts_speak(catalogue.texts()))
        else:
            before.check(snapshot)
            settings = before.settings(config)
        check_calendar(snapshot, settings)
        if before is not None and settings.text:
            before.check_encoder(base)
        encoder = None if base is None else base.component("text_encoder")
        text = catalogue_text(catalogue, folder=encoder) if settings.text else None
        return train_component(
            snapshot,
            catalogue=catalogue,
            text=text,
            config=settings,
            folder=folder,
            work=work,
            run=run,
            refit=refit,
            start=before,
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
    start: Start | None = None,
) -> ComponentInfo:
    """Learn, and write network and vocabulary.

    An update of a model that has seen some of the validation part chooses no epochs by it: it learns what is new for
    `update_epochs`, and its metrics stay those that were measured before the part was seen.

    Args:
        snapshot: the events.
        catalogue: its products.
        text: float32 [catalogue, text width], None trains on ids alone.
        config: settings.
        folder: where network and vocabulary go.
        work: where resume checkpoints live.
        run: receives the metrics of each epoch.
        refit: learn anew on train and validation, for as many epochs as were best on the validation part.
        start: the model to go on from; None begins with random weights.
    """
    learning = partial(learn_parts, snapshot, catalogue=catalogue, text=text, config=config, folder=folder, start=start)
    parts = ["train", "validation"] if refit else ["train"]
    if start is not None and start.has_seen(snapshot):
        network, result = learning(parts=parts, work=work / "update", run=run)
        metrics = start.info.metrics
    else:
        holdout = Holdout.read(snapshot, catalogue=catalogue, part="validation")
        network, result = learning(parts=["train"], work=work / "choose", holdout=holdout, run=run)
        network.save(folder)
        metrics = holdout.measure(TwoTowerRecommender.load(folder, catalogue=catalogue, text=text))
        if refit:
            network, _ = learning(parts=parts, work=work / "refit", stop_after=result.best_epoch)
    network.save(folder)
    return ComponentInfo(
        name=TwoTowerStage.component,
        snapshot=snapshot.manifest.snapshot_id,
        metrics=metrics,
        config=config.model_dump() | {"best_epoch": result.best_epoch} | learned(snapshot, parts=parts, start=start),
        parts=parts,
    )


def learned(snapshot: Snapshot, *, parts: Sequence[str], start: Start | None) -> dict[str, str]:
    """Until when a component has learned, and the shop's "now" when it last learned anew; "" without a calendar."""
    manifest = snapshot.manifest
    if manifest.timestamps == "order" or manifest.watermark is None:
        return {UNTIL: "", ANEW: ""}
    until = snapshot.scan(EVENTS, *parts).filter(KNOWN).select(pl.col("timestamp").max()).collect().item()
    anew = manifest.watermark.isoformat() if start is None else start.info.config[ANEW]
    return {UNTIL: cast(datetime, until).isoformat(), ANEW: anew}


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
    start: Start | None = None,
) -> tuple[TwoTower, FitResult]:
    """Learn on some parts of the snapshot and write the vocabulary; `holdout` chooses the epoch."""
    before = None if start is None else start.folder
    known = known_positions(snapshot, *parts)
    if not len(known):
        raise NothingToLearnError(
            f"no event of a known user in {snapshot.path}",
            expected="events with user_id and product_id",
            action="add an events table to the shop and build the snapshot again",
        )
    rows = np.full(len(catalogue), UNKNOWN, dtype=np.int64)
    rows[known] = np.arange(len(known)) + FIRST
    folder.mkdir(parents=True, exist_ok=True)
    write_vocabulary(folder, catalogue.product_ids.gather(known))
    codes, users = read_users(snapshot, folder=folder, start=before) if config.user_attributes else (None, None)
    frames = known_users(snapshot, *parts)
    return learn(
        once(read_sequences(frames, rows=rows, folder=work, known=users), config=config),
        None if holdout is None else read_trials(holdout, rows=rows, config=config, codes=codes),
        products=read_products(
            snapshot,
            catalogue=catalogue,
            known=known,
            parts=parts,
            text=text,
            config=config,
            folder=folder,
            start=before,
        ),
        config=config if start is None else config.updating(),
        work=work,
        run=run,
        stop_after=stop_after,
        attributes=() if codes is None else codes.sizes,
        update=None if start is None else start.update(catalogue=catalogue, known=known),
    )


def check_calendar(snapshot: Snapshot, config: TwoTowerSettings) -> None:
    """Refuse what needs a calendar where the shop has none.

    Raises:
        UsageError: naming the settings.
    """
    reads = {"calendar": config.calendar, "clock": config.clock, "spans": config.spans}
    wanted = reads | {"half_life_days": config.half_life_days}
    named = [name for name, value in wanted.items() if value]
    if named and snapshot.manifest.timestamps == "order":
        raise UsageError(
            f"{', '.join(named)} for a shop whose timestamps are an order",
            expected="none of them: this shop has no calendar",
            action="leave them out of the settings",
        )
