"""From a snapshot's judgments to tokenised pairs."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store.snapshot import Snapshot
from recsys.errors import SnapshotError
from recsys.text.field_names import FIELDS
from recsys.text.fields import product_parts, product_text
from recsys.text.normalise import normalise
from recsys.text.tokenizer import TextTokenizer
from training.relevance.config import RelevanceConfig
from training.relevance.module import Pairs
from training.relevance.redraw import PairTexts

Teach = Callable[[Snapshot, pl.DataFrame], NDArray[np.float32]]


def read_pairs(snapshot: Snapshot, *parts: str, tokenizer: TextTokenizer, config: RelevanceConfig) -> Pairs | None:
    """The judged pairs of the parts, None where there are none.

    Args:
        snapshot: where the judgments stand.
        parts: of the split.
        tokenizer: of the backbone.
        config: fields, max_length and rater_weight are read.
    """
    judgments = snapshot.judgments(*parts)
    if judgments.is_empty():
        return None
    return snapshot_pairs(snapshot, judgments, tokenizer=tokenizer, config=config)


def snapshot_pairs(
    snapshot: Snapshot,
    judgments: pl.DataFrame,
    *,
    tokenizer: TextTokenizer,
    config: RelevanceConfig,
    teach: Teach | None = None,
) -> Pairs:
    """Judgments on a snapshot's products; `teach` gives the teachers' logits where there are teachers."""
    pairs = as_pairs(
        judgments,
        texts=product_texts(snapshot, judgments, fields=config.fields),
        max_grade=snapshot.manifest.max_grade,
        tokenizer=tokenizer,
        config=config,
        shown=pair_texts(snapshot, judgments, config=config),
    )
    return pairs if teach is None else replace(pairs, teacher=teach(snapshot, judgments))


def other_judgments(other: Snapshot, *, main: Snapshot) -> pl.DataFrame:
    """What another shop's training and validation parts add to the main one.

    Whatever asks a query of the main shop's validation or test part (normalised) is left out, so that nothing is
    learned about what those parts measure. Of the main shop's held-out judgments only the queries' texts are read.

    Raises:
        SnapshotError: the other shop has nothing to add.
    """
    judgments = not_held_out(other.judgments("train", "validation"), main=main)
    if judgments.is_empty():
        raise SnapshotError(
            f"{other.path} has no judgments but of queries that are held out",
            expected="graded query-product pairs in its training or validation part",
            action="leave it out of --also",
        )
    return judgments


def not_held_out(judgments: pl.DataFrame, *, main: Snapshot) -> pl.DataFrame:
    """The judgments but those of a query, normalised, of the main shop's validation or test part."""
    held_out = {normalise(query) for query in main.judgments("validation", "test")["query"].unique()}
    kept = [normalise(query) not in held_out for query in judgments["query"]]
    return judgments.filter(pl.Series(kept, dtype=pl.Boolean))


def join_pairs(first: Pairs, second: Pairs) -> Pairs:
    """The rows of both; the grades of the second are told on the scale of the first, its queries are others.

    Shops of one number are one and the same.
    """
    scale = first.max_grade / second.max_grade
    return Pairs(
        tokens=first.tokens.join(second.tokens),
        grades=np.concatenate([first.grades, (second.grades * scale).astype(np.float32)]),
        weights=np.concatenate([first.weights, second.weights]),
        queries=np.concatenate([first.queries, first.queries.max(initial=-1) + 1 + second.queries]),
        max_grade=first.max_grade,
        teacher=join_logits(first.teacher, second.teacher),
        texts=first.texts.join(second.texts) if first.texts and second.texts else None,
        shops=np.concatenate([first.of_shops, second.of_shops]),
        scales={**second.best_grades, **first.best_grades},
    )


def of_shop(pairs: Pairs, number: int) -> Pairs:
    """The pairs of one shop under its number."""
    return replace(pairs, shops=np.full(len(pairs), number, dtype=np.int64), scales={number: pairs.max_grade})


def pair_texts(snapshot: Snapshot, judgments: pl.DataFrame, *, config: RelevanceConfig) -> PairTexts | None:
    """What the pairs of the judgments are written with; None where nothing is written anew."""
    if not config.augments:
        return None
    catalogue = snapshot.catalogue()
    positions, product = np.unique(catalogue.positions(judgments["product_id"]), return_inverse=True)
    asked = judgments["query"].unique(maintain_order=True)
    numbers = {query: number for number, query in enumerate(asked)}
    return PairTexts(
        queries=asked.to_list(),
        products=product_parts(catalogue.frame[positions], fields=config.fields),
        query=np.array([numbers[query] for query in judgments["query"]], dtype=np.int64),
        product=product.astype(np.int64),
        judged=~mined_rows(judgments),
        titles=catalogue.column("title").to_list() if config.synonyms else (),
    )


def mined_rows(judgments: pl.DataFrame) -> NDArray[np.bool_]:
    """bool [pairs]: True for what was mined, see `mined_pairs`."""
    if "mined" not in judgments.columns:
        return np.zeros(len(judgments), dtype=np.bool_)
    return judgments["mined"].fill_null(value=False).to_numpy()


def join_logits(first: NDArray[np.float32] | None, second: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    """The teachers' logits of both; None where one has none."""
    return None if first is None or second is None else np.concatenate([first, second])


def product_texts(snapshot: Snapshot, judgments: pl.DataFrame, *, fields: Sequence[str] = FIELDS) -> list[str]:
    """The text of each judgment's product, as the engine will show it to the network."""
    catalogue = snapshot.catalogue()
    rows = catalogue.frame[catalogue.positions(judgments["product_id"])]
    return product_text(rows, fields=fields)


def as_pairs(
    judgments: pl.DataFrame,
    *,
    texts: list[str],
    max_grade: float,
    tokenizer: TextTokenizer,
    config: RelevanceConfig,
    shown: PairTexts | None = None,
) -> Pairs:
    """Judgments with their products' texts as the network reads them; `shown` as `pair_texts` gives it."""
    weights = np.ones(len(judgments), dtype=np.float64)
    for name in ("weight", "rater_sd"):
        if name in judgments.columns and (name == "weight" or config.rater_weight):
            column = judgments[name].cast(pl.Float64)
            weights *= (column.fill_null(1.0) if name == "weight" else 1 / (1 + column.fill_null(0.0))).to_numpy()
    return Pairs(
        tokens=tokenizer.encode(judgments["query"].to_list(), pairs=texts, max_length=config.max_length),
        grades=judgments["grade"].to_numpy().astype(np.float32),
        weights=(weights / weights.mean()).astype(np.float32),
        queries=judgments["query_id"].rank("dense").cast(pl.Int64).to_numpy() - 1,
        max_grade=max_grade,
        texts=shown,
    )
