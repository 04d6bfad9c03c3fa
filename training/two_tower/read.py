"""A snapshot's products, histories and held-out users as the arrays that the two-tower network learns from."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from feature_store.snapshot import Snapshot
from feature_store.users import user_attributes
from recsys.catalogue import Catalogue
from recsys.models.backbone import resolve_backbone
from recsys.models.encode import encode_texts
from recsys.models.text_encoder import TextEncoder
from recsys.retrieval.product_codes import ProductCodes
from recsys.retrieval.two_tower import asked_at, first_occurrences, read_once, write_calendar
from recsys.retrieval.user_codes import UserCodes
from recsys.retrieval.vocabulary import id_buckets
from recsys.text.tokenizer import TextTokenizer
from recsys.types import Positions, Vectors
from training.holdout import Holdout
from training.two_tower.calendar import NAMES, Sales, read_calendar
from training.two_tower.config import TwoTowerSettings
from training.two_tower.flat import KnownUsers
from training.two_tower.products import Products
from training.two_tower.sequences import Sequences
from training.two_tower.trials import Trials

log = logging.getLogger(__name__)


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
    events = snapshot.scan("interactions", *parts).select("position", "timestamp", "weight").collect()
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


def read_users(snapshot: Snapshot, *, folder: Path, start: Path | None = None) -> tuple[UserCodes, KnownUsers]:
    """The codes of the users' attributes, written into the component's folder, and those of each user.

    Args:
        snapshot: the users.
        folder: of the component.
        start: the component that training goes on from, whose codes keep their meaning; None fits new ones.
    """
    users = snapshot.users()
    told = users["segment"].fill_null("").to_list(), user_attributes(users).to_list()
    codes = UserCodes.fit(*told) if start is None else UserCodes.load(start)
    if codes.values:
        read = (f"{name} ({len(values)} values)" for name, values in codes.values.items())
        log.info("attributes of users that are read: %s", ", ".join(read))
    else:
        log.warning("user_attributes = true, but the users table says nothing that two users share: none are read")
    codes.save(folder)
    return codes, KnownUsers(users["user_id"], codes.encode(*told))


def once(sequences: Sequences, *, config: TwoTowerSettings) -> Sequences:
    """The sequences as the settings read them: each product where it first occurs alone, or all events."""
    if not config.distinct:
        return sequences
    kept, sizes = [np.empty(0, dtype=np.int64)], [np.zeros(1, dtype=np.int64)]
    for begin, part in sequences.blocks():
        own, offsets = first_occurrences(part.offsets, part.rows.astype(np.int64))
        kept.append(begin + own)
        sizes.append(np.diff(offsets))
    events = np.concatenate(kept)
    return Sequences(
        offsets=np.cumsum(np.concatenate(sizes)),
        rows=sequences.rows[events],
        event_types=sequences.event_types[events],
        timestamps=sequences.timestamps[events],
        weights=sequences.weights[events],
        attributes=sequences.attributes,
    )


def read_trials(
    holdout: Holdout, *, rows: Positions, config: TwoTowerSettings, codes: UserCodes | None = None
) -> Trials:
    """Users with something to find and at least one event to read, as arrays.

    Args:
        holdout: the users.
        rows: int64 [catalogue], embedding row of each position; UNKNOWN counts as relevant and is never found.
        config: how histories are read.
        codes: of the users' attributes; None where the network reads none.
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
            attributes=None if codes is None else codes.numbers(holdout.trial.histories, users=users),
        ),
        owned=[np.empty(0, dtype=np.int64) if holdout.exclude is None else rows[holdout.exclude[u]] for u in users],
        relevant=[rows[holdout.relevant[user]] for user in users],
        length=config.length,
        moments=asked_at(histories)[users.astype(np.int64)],
    )
