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
from recsys.errors import NothingToLearnError
from recsys.models.backbone import resolve_backbone
from recsys.models.encode import encode_texts
from recsys.models.text_encoder import TextEncoder
from recsys.models.two_tower import TwoTower
from recsys.models.two_tower_config import FIRST, UNKNOWN
from recsys.retrieval.product_codes import ProductCodes
from recsys.retrieval.two_tower import TwoTowerRecommender, first_occurrences, read_once
from recsys.retrieval.vocabulary import write_vocabulary
from recsys.text.tokenizer import TextTokenizer
from recsys.types import EVENT_CODES, Positions, Vectors
from training.fit import FitResult
from training.holdout import Holdout
from training.journal import MetricLog
from training.two_tower.config import TwoTowerSettings
from training.two_tower.learn import learn
from training.two_tower.products import Products
from training.two_tower.sequences import Sequences
from training.two_tower.trials import Trials


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
    return learn(
        once(read_sequences(events, rows=rows), config=config),
        None if holdout is None else read_trials(holdout, rows=rows, config=config),
        products=read_products(catalogue, known=known, text=text, folder=folder if config.features else None),
        config=config,
        work=work,
        run=run,
        stop_after=stop_after,
    )


def read_products(catalogue: Catalogue, *, known: Positions, text: Vectors | None, folder: Path | None) -> Products:
    """What the product tower reads of the products of the vocabulary.

    Args:
        catalogue: the products.
        known: int64 [vocabulary], their positions.
        text: float32 [catalogue, text width]; None trains without text.
        folder: where the codes of brand, category and price are written to; None trains without them.
    """
    own = None if text is None else text[known]
    if folder is None:
        return Products(len(known), text=own)
    codes = ProductCodes.fit(catalogue, learned=known)
    codes.save(folder)
    return Products(len(known), text=own, codes=codes.encode(catalogue)[known], sizes=codes.sizes)


def catalogue_text(catalogue: Catalogue, *, folder: Path | None) -> Vectors:
    """float32 [catalogue, text width] from a text encoder's folder; None takes the stock backbone."""
    source = resolve_backbone() if folder is None else folder
    encoder, tokenizer = TextEncoder.load(source), TextTokenizer.load(source)
    return encode_texts(encoder, tokenizer, catalogue.texts(), label="product texts")


def read_sequences(events: pl.DataFrame, *, rows: Positions) -> Sequences:
    """Events as arrays.

    Args:
        events: known users' interactions, sorted by user_id and timestamp.
        rows: int64 [catalogue], embedding row of each position.
    """
    users = events["user_id"].rle_id().to_numpy()
    return Sequences(
        offsets=np.searchsorted(users, np.arange(int(users.max()) + 2)).astype(np.int64),
        rows=rows[events["position"].to_numpy()],
        event_types=events["event_type"].cast(pl.String).replace_strict(EVENT_CODES, return_dtype=pl.Int64).to_numpy(),
        timestamps=events["timestamp"].dt.timestamp("us").to_numpy(),
        weights=events["weight"].cast(pl.Float32).to_numpy(),
    )


def once(sequences: Sequences, *, config: TwoTowerSettings) -> Sequences:
    """The sequences as the settings read them: each product where it first occurs alone, or all events."""
    if not config.distinct:
        return sequences
    kept, offsets = first_occurrences(sequences.offsets, sequences.rows)
    return Sequences(
        offsets=offsets,
        rows=sequences.rows[kept],
        event_types=sequences.event_types[kept],
        timestamps=sequences.timestamps[kept],
        weights=sequences.weights[kept],
    )


def read_trials(holdout: Holdout, *, rows: Positions, config: TwoTowerSettings) -> Trials:
    """Users with something to find and at least one event to read, as arrays.

    Args:
        holdout: the users.
        rows: int64 [catalogue], embedding row of each position; UNKNOWN counts as relevant and is never found.
        config: how histories are read.
    """
    histories = read_once(holdout.trial.histories) if config.distinct else holdout.trial.histories
    sizes = np.diff(histories.offsets)
    users = np.array([user for user in range(len(histories)) if sizes[user] and len(holdout.relevant[user])])
    if 0 < config.validation_users < len(users):
        drawn = np.random.default_rng(config.seed).choice(len(users), config.validation_users, replace=False)
        users = users[np.sort(drawn)]
    offsets = np.concatenate([[0], np.cumsum(sizes[users.astype(np.int64)])]).astype(np.int64)
    events = np.concatenate([np.arange(histories.offsets[u], histories.offsets[u + 1]) for u in users] or [offsets[:0]])
    return Trials(
        sequences=Sequences(
            offsets=offsets,
            rows=rows[histories.positions[events]],
            event_types=histories.event_types[events].astype(np.int64),
            timestamps=histories.timestamps[events],
            weights=np.ones(len(events), dtype=np.float32),
        ),
        owned=[np.empty(0, dtype=np.int64) if holdout.exclude is None else rows[holdout.exclude[u]] for u in users],
        relevant=[rows[holdout.relevant[user]] for user in users],
        length=config.length,
    )
