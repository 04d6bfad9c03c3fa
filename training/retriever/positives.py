"""Which products are right for which queries: judgments first, then what shoppers did, then the titles themselves."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store.snapshot import Snapshot
from feature_store.splits import query_part
from recsys.catalogue import Catalogue
from recsys.text.normalise import normalise
from recsys.types import Positions
from training.negatives.known import Integers, Known
from training.negatives.twins import twin_numbers
from training.retriever.config import RetrieverConfig
from training.retriever.pseudo import pseudo_queries

ACTIONS = ("click", "add_to_cart", "purchase")
SCHEMA = pl.Schema(
    {"text": pl.String, "query": pl.String, "position": pl.Int64, "gain": pl.Float64, "whole": pl.Boolean}
)


@dataclass(frozen=True, slots=True)
class Positives:
    """Pairs that are right.

    Attributes:
        texts: of the queries as they were typed, one spelling of each.
        query: int64 [pairs], ascending.
        position: int64 [pairs].
        whole: bool [pairs], False where the product is read without its title.
        weights: float32 [pairs], mean 1.
        twin: int64 [products], see `twin_numbers`.
        known: everything that is right, and whatever else was found good at all, by `query` and `twin`.
    """

    texts: list[str]
    query: Integers
    position: Positions
    whole: NDArray[np.bool_]
    weights: NDArray[np.float32]
    twin: Integers
    known: Known

    def __len__(self) -> int:
        return len(self.query)


def read_positives(snapshot: Snapshot, *parts: str, catalogue: Catalogue, config: RetrieverConfig) -> Positives:
    """The pairs of the parts.

    Args:
        snapshot: judgments and events.
        parts: of the split; no query of another part is learned from, whoever asked it.
        catalogue: the products.
        config: `judgments`, `least`, `search_events`, `pseudo_queries` and the seed are read.
    """
    best = snapshot.manifest.max_grade or 1.0
    judged = judged_pairs(snapshot, *parts)
    judged = judged if config.judgments else judged.clear()
    right = judged.filter((pl.col("grade") > 0) & (pl.col("grade") >= config.least * best))
    frames = [right.with_columns(gain=pl.col("weight") * pl.col("grade"), whole=pl.lit(value=True))]
    good = [judged.filter(pl.col("grade") > 0)]
    if config.search_events:
        clicked = clicked_pairs(snapshot, *parts).join(judged, on=["text", "position"], how="anti")
        frames.append(clicked.with_columns(gain=pl.lit(config.least * best), whole=pl.lit(value=True)))
        good.append(clicked)
    if config.pseudo_queries:
        frames.append(own_pairs(catalogue, gain=config.least * best, config=config))
    pairs = pl.concat([frame.select(SCHEMA.names()).cast(SCHEMA) for frame in frames])
    known = pl.concat([frame.select("text", "position") for frame in (*good, pairs)])
    return as_positives(pairs, known=known, twin=twin_numbers(catalogue))


def as_positives(pairs: pl.DataFrame, *, known: pl.DataFrame, twin: Integers) -> Positives:
    """Number the queries.

    Args:
        pairs: rows of SCHEMA, those told first win.
        known: columns text and position of what is right; queries without a pair are left out.
        twin: int64 [products].
    """
    pairs = pairs.unique(["text", "position", "whole"], keep="first").sort("text", "position", "whole")
    queries = pairs.group_by("text").agg(pl.col("query").min()).sort("text")
    inside = known.join(queries, on="text", how="semi")
    gains = pairs["gain"].to_numpy()
    return Positives(
        texts=queries["query"].to_list(),
        query=numbers(pairs["text"], queries["text"]),
        position=pairs["position"].to_numpy(),
        whole=pairs["whole"].to_numpy(),
        weights=(gains / gains.mean()).astype(np.float32) if len(gains) else np.empty(0, dtype=np.float32),
        twin=twin,
        known=Known.of(
            numbers(inside["text"], queries["text"]), twin[inside["position"].to_numpy()], twins=max(len(twin), 1)
        ),
    )


def judged_pairs(snapshot: Snapshot, *parts: str) -> pl.DataFrame:
    """Columns text, query, position, grade, weight: a pair judged in several spellings of a query has their mean."""
    judgments = snapshot.judgments(*parts)
    return (
        judgments.with_columns(text=spelled(judgments["query"]))
        .group_by("text", "position")
        .agg(
            pl.col("query").min(),
            pl.col("grade").cast(pl.Float64).mean(),
            pl.col("weight").cast(pl.Float64).fill_null(1.0).mean(),
        )
        .sort("text", "position")
    )


def clicked_pairs(snapshot: Snapshot, *parts: str) -> pl.DataFrame:
    """Columns text, query, position: what was clicked, put into the cart or bought in the parts after a search.

    Queries that the split by text gives to other parts are left out, whenever they were asked.
    """
    acted = snapshot.interactions(*parts).filter(pl.col("event_type").cast(pl.String).is_in(ACTIONS))
    asked = pl.concat(
        [frame.select("query_id", "query") for frame in (snapshot.read("searches", parts), snapshot.judgments(*parts))]
    ).drop_nulls()
    said = asked.group_by("query_id").agg(pl.col("query").min().alias("said"))
    typed = acted.join(said, on="query_id", how="left").select("position", pl.coalesce("query", "said").alias("query"))
    pairs = typed.drop_nulls().unique()
    pairs = pairs.with_columns(text=spelled(pairs["query"])).filter(pl.col("text") != "")
    fold = snapshot.manifest.split.fold
    own = [text for text in pairs["text"].unique() if query_part(text, fold=fold) in parts]
    kept = pairs.filter(pl.col("text").is_in(own))
    return kept.group_by("text", "position").agg(pl.col("query").min()).sort("text", "position")


def own_pairs(catalogue: Catalogue, *, gain: float, config: RetrieverConfig) -> pl.DataFrame:
    """Queries made of titles; every other one is asked of the product without its title, where that says anything."""
    queries, rows = pseudo_queries(
        catalogue.column("title").fill_null("").to_list(), number=config.pseudo_queries, seed=config.seed
    )
    asked = pl.Series("query", queries, dtype=pl.String)
    frame = pl.DataFrame({"text": spelled(asked), "query": asked, "position": pl.Series(rows, dtype=pl.Int64)})
    turn = pl.int_range(pl.len()).over("position") % 2 == 0
    return frame.filter(pl.col("text") != "").with_columns(gain=pl.lit(gain), whole=turn)


def spelled(queries: pl.Series) -> pl.Series:
    """The queries in one spelling, so that a query asked in two is one."""
    different = queries.unique().drop_nulls()
    return queries.replace_strict(
        different,
        pl.Series([normalise(text) for text in different], dtype=pl.String),
        default="",
        return_dtype=pl.String,
    )


def numbers(values: pl.Series, names: pl.Series) -> Integers:
    """int64 [values]: where each stands among the sorted names."""
    return names.search_sorted(values).cast(pl.Int64).to_numpy() if len(names) else np.empty(0, dtype=np.int64)
