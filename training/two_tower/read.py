"""A snapshot's products, histories and held-out users as the arrays that the two-tower network learns from."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from feature_store.snapshot import Snapshot
from recsys.catalogue import Catalogue
from recsys.models.backbone import resolve_backbone
from recsys.models.encode import encode_texts
from recsys.models.text_encoder import TextEncoder
from recsys.retrieval.product_codes import ProductCodes
from recsys.retrieval.segment_codes import SegmentCodes
from recsys.retrieval.two_tower import first_occurrences, read_once, write_calendar
from recsys.retrieval.vocabulary import id_buckets
from recsys.text.tokenizer import TextTokenizer
from recsys.types import EVENT_CODES, Positions, Vectors
from training.holdout import Holdout
from training.two_tower.calendar import NAMES, Sales, read_calendar
from training.two_tower.config import TwoTowerSettings
from training.two_tower.products import Products
from training.two_tower.sequences import Sequences
from training.two_tower.trials import Trials


def read_products(
    snapshot: Snapshot,
    *,
    catalogue: Catalogue,
    known: Positions,
    parts: Sequence[str],
    text: Vectors | None,
    config: TwoTowerSettings,
    folder: Path,
    start: Path | None = None,
) -> Products:
    """What the product tower reads of the products of the vocabulary; what was fitted for it is written.

    Args:
        snapshot: the events.
        catalogue: the products.
        known: int64 [vocabulary], their positions.
        parts: of the snapshot that are learned from.
        text: float32 [catalogue, text width]; None trains without text.
        config: says what is read.
        folder: of the component.
        start: the component that training goes on from, whose codes keep their meaning; None fits new ones.
    """
    products = Products(len(known), text=None if text is None else text[known])
    if config.hashed:
        ids = catalogue.product_ids.gather(known)
        products = replace(products, buckets=id_buckets(ids, buckets=config.hashed, hashes=config.hashes))
    if config.features:
        codes = ProductCodes.fit(catalogue, learned=known) if start is None else ProductCodes.load(start)
        codes.save(folder)
        products = replace(products, codes=codes.encode(catalogue)[known], sizes=codes.sizes)
    if config.calendar:
        calendar = read_calendar(read_sales(snapshot, parts=parts, known=known))
        write_calendar(folder, product_ids=catalogue.product_ids.gather(known), names=NAMES, values=calendar.now)
        products = replace(products, calendar=calendar)
    return products


def read_sales(snapshot: Snapshot, *, parts: Sequence[str], known: Positions) -> Sales:
    """The events of the products that are learned, those of unknown users as well."""
    events = snapshot.interactions(*parts)
    places = np.searchsorted(known, events["position"].to_numpy())
    inside = known[np.minimum(places, len(known) - 1)] == events["position"].to_numpy()
    return Sales(
        products=places[inside],
        timestamps=events["timestamp"].dt.timestamp("us").to_numpy()[inside],
        weights=events["weight"].cast(pl.Float32).to_numpy()[inside],
        count=len(known),
    )


def catalogue_text(catalogue: Catalogue, *, folder: Path | None) -> Vectors:
    """float32 [catalogue, text width] from a text encoder's folder; None takes the stock backbone."""
    source = resolve_backbone() if folder is None else folder
    encoder, tokenizer = TextEncoder.load(source), TextTokenizer.load(source)
    return encode_texts(encoder, tokenizer, catalogue.texts(), label="product texts")


def read_sequences(events: pl.DataFrame, *, rows: Positions, segments: Mapping[str, int] | None = None) -> Sequences:
    """Events as arrays.

    Args:
        events: known users' interactions, sorted by user_id and timestamp.
        rows: int64 [catalogue], embedding row of each position.
        segments: by user, the code of the segment; None where the network reads none.
    """
    users = events["user_id"].rle_id().to_numpy()
    return Sequences(
        offsets=np.searchsorted(users, np.arange(int(users.max()) + 2)).astype(np.int64),
        rows=rows[events["position"].to_numpy()],
        event_types=events["event_type"].cast(pl.String).replace_strict(EVENT_CODES, return_dtype=pl.Int64).to_numpy(),
        timestamps=events["timestamp"].dt.timestamp("us").to_numpy(),
        weights=events["weight"].cast(pl.Float32).to_numpy(),
        segments=None if segments is None else segment_numbers(events["user_id"], segments=segments),
    )


def segment_numbers(users: pl.Series, *, segments: Mapping[str, int]) -> Positions:
    """int64 [distinct users]: the codes of the users' segments, in their order; 0 where none is known."""
    return np.array([segments.get(user, 0) for user in users.rle().struct.field("value").to_list()], dtype=np.int64)


def read_segments(
    snapshot: Snapshot, *, folder: Path, start: Path | None = None
) -> tuple[SegmentCodes, dict[str, int]]:
    """The codes of the users' segments, written into the component's folder, and by user its code.

    Args:
        snapshot: the users.
        folder: of the component.
        start: the component that training goes on from, whose codes keep their meaning; None fits new ones.
    """
    known = snapshot.users().select("user_id", "segment").drop_nulls()
    codes = SegmentCodes.fit(known["segment"].to_list()) if start is None else SegmentCodes.load(start)
    codes.save(folder)
    return codes, dict(zip(known["user_id"].to_list(), codes.encode(known["segment"].to_list()).tolist(), strict=True))


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
        segments=sequences.segments,
    )


def read_trials(
    holdout: Holdout, *, rows: Positions, config: TwoTowerSettings, segments: SegmentCodes | None = None
) -> Trials:
    """Users with something to find and at least one event to read, as arrays.

    Args:
        holdout: the users.
        rows: int64 [catalogue], embedding row of each position; UNKNOWN counts as relevant and is never found.
        config: how histories are read.
        segments: the codes of the users' segments; None where the network reads none.
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
            segments=None if segments is None else segments.numbers(holdout.trial.histories, users=users),
        ),
        owned=[np.empty(0, dtype=np.int64) if holdout.exclude is None else rows[holdout.exclude[u]] for u in users],
        relevant=[rows[holdout.relevant[user]] for user in users],
        length=config.length,
    )
