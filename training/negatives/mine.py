"""Mining: queries go through in chunks, and what is found for each chunk is written before the next one is asked."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from recsys.catalogue import Catalogue
from recsys.engine.text_vectors import encoder_digest
from recsys.errors import NothingToLearnError
from recsys.logs import progress
from recsys.models.encode import Precision
from recsys.storage import atomic_file, locked
from recsys.types import Mask, Positions, Scores
from training.negatives.config import MiningConfig
from training.negatives.known import Integers, Known
from training.negatives.rules import below, drawn, window
from training.negatives.searchers import Searchers, open_searchers

CHUNK = 256  # queries asked at a time
SPARE = 3  # where the cross-encoder may refuse candidates, so many times as many are shown to it
SCHEMA = pl.Schema(
    {
        "pair": pl.Int64,
        "negative": pl.Int64,
        "cosine": pl.Float32,
        "relevance": pl.Float32,
        "own_relevance": pl.Float32,
    }
)

Judge = Callable[[Sequence[str], Positions], Scores]


@dataclass(frozen=True, slots=True)
class Asked:
    """The pairs that negatives are wanted for.

    Attributes:
        texts: of the queries, different ones.
        query: int64 [pairs], ascending, the query of each pair.
        position: int64 [pairs], the product that is right.
        twin: int64 [products], see `twin_numbers`.
        known: everything that is right.
    """

    texts: Sequence[str]
    query: Integers
    position: Positions
    twin: Integers
    known: Known

    def digest(self, named: Sequence[object]) -> str:
        """sha256 over what is asked, and over whatever else is named."""
        total = hashlib.sha256("\n".join([*map(str, named), *self.texts]).encode("utf-8", "replace"))
        for part in (self.query, self.position, self.twin, self.known.codes):
            total.update(part.tobytes())
        return total.hexdigest()


@dataclass(frozen=True, slots=True)
class Mining:
    """One mining, opened: what is asked, of whom, by which rules."""

    asked: Asked
    searchers: Searchers
    config: MiningConfig
    seed: int
    judge: Judge | None


def mine(
    asked: Asked,
    catalogue: Catalogue,
    *,
    encoder: Path,
    config: MiningConfig,
    seed: int,
    folder: Path,
    judge: Judge | None = None,
    judge_name: str = "",
    precision: Precision = "auto",
    chunk: int = CHUNK,
) -> pl.DataFrame:
    """Hard negatives for each pair, the same for every size of the chunks.

    A run that was killed goes on with the first chunk that is not in the folder.

    Args:
        asked: the pairs.
        catalogue: where the negatives come from.
        encoder: folder of the text encoder that searches and measures the margins.
        config: the rules.
        seed: of the draw; a query's draw depends on nothing else but its text and its candidates.
        folder: of this training; keeps indexes and chunks.
        judge: how relevant products are to queries, pair by pair, 0..1: the cross-encoder's view. Where it is given,
            all rows carry it; its last digits follow the sizes of its batches.
        judge_name: tells one judge from another; what another one has seen in this folder is not taken for this one's.
        precision: of encoding.
        chunk: queries at a time; memory grows with it.

    Returns:
        Rows of `pair` (its number), `negative` (position), `cosine` (to the query), `relevance` (by the judge) and
        `own_relevance` (of the pair itself), ordered by pair; fewer than `config.negatives` rows for a pair where the
        rules leave no more.
    """
    if config.negatives == 0 or not len(asked.query):
        return pl.DataFrame(schema=SCHEMA)
    rules = config.model_dump_json(include=set(MiningConfig.model_fields))
    named = [encoder_digest(encoder), catalogue.digest, rules, seed, chunk, judge is not None, judge_name]
    place = folder / asked.digest(named)[:16]
    with locked(folder / "mining.lock"):
        files = {start: place / f"part-{start:09d}.parquet" for start in range(0, len(asked.texts), chunk)}
        due = [start for start, file in files.items() if not file.exists()]
        if due:
            place.mkdir(parents=True, exist_ok=True)
            searchers = open_searchers(
                asked.texts, catalogue, encoder=encoder, config=config, folder=folder, precision=precision
            )
            mining = Mining(asked, searchers, config, seed, judge)
            for start in progress(due, label="mining negatives"):
                with atomic_file(files[start]) as partial:
                    mine_chunk(mining, start=start, stop=min(start + chunk, len(asked.texts))).write_parquet(partial)
        return pl.concat([pl.read_parquet(file) for file in files.values()])


def mine_chunk(mining: Mining, *, start: int, stop: int) -> pl.DataFrame:
    """The negatives of the pairs of neighbouring queries."""
    asked, config = mining.asked, mining.config
    found = mining.searchers.find(asked.texts[start:stop], first=start, k=config.range_max)
    wanted = config.negatives * (SPARE if config.max_relevance is not None else 1)
    pairs, negatives, cosines = [], [], []
    for query, ranked in zip(range(start, stop), found, strict=True):
        candidates, scores = ordered_candidates(mining, query, ranked)
        for pair in range(*np.searchsorted(asked.query, [query, query + 1])):
            kept = np.flatnonzero(allowed(mining, pair, scores))[:wanted]
            pairs.append(np.full(len(kept), pair, dtype=np.int64))
            negatives.append(candidates[kept])
            cosines.append(scores[kept])
    rows = pl.DataFrame(
        {"pair": joined(pairs), "negative": joined(negatives), "cosine": np.concatenate([np.empty(0), *cosines])}
    ).with_columns(pl.lit(None, dtype=pl.Float32).alias(name) for name in ("relevance", "own_relevance"))
    return (rows if mining.judge is None else judged(mining, rows, judge=mining.judge)).cast(SCHEMA)


def ordered_candidates(mining: Mining, query: int, ranked: Sequence[Positions]) -> tuple[Positions, Scores]:
    """The candidates of a query in the order in which they are taken, without what is right; and their cosines."""
    asked, config = mining.asked, mining.config
    candidates = window(ranked, start=config.range_min, stop=config.range_max)
    candidates = candidates[~asked.known.holds(np.array(query), asked.twin[candidates])]
    if config.sampling == "random":
        candidates = candidates[drawn(len(candidates), seed=mining.seed, text=asked.texts[query])]
    cosines = mining.searchers.cosines(query, candidates)
    return candidates, np.full(len(candidates), np.nan, dtype=np.float32) if cosines is None else cosines


def allowed(mining: Mining, pair: int, scores: Scores) -> Mask:
    """True where the margins let a candidate pass for this pair."""
    asked, config = mining.asked, mining.config
    own = mining.searchers.cosines(int(asked.query[pair]), asked.position[pair : pair + 1])
    if own is None:
        return np.ones(len(scores), dtype=np.bool_)
    return below(scores, float(own[0]), absolute=config.absolute_margin, relative=config.relative_margin)


def judged(mining: Mining, rows: pl.DataFrame, *, judge: Judge) -> pl.DataFrame:
    """The rows with the judge's view of negative and pair, without those that it finds relevant."""
    asked, config = mining.asked, mining.config
    pair = rows["pair"].to_numpy()
    query = np.concatenate([asked.query[pair]] * 2)
    position = np.concatenate([rows["negative"].to_numpy(), asked.position[pair]])
    different, place = np.unique(np.stack([query, position]), axis=1, return_inverse=True)
    scores = judge([asked.texts[number] for number in different[0]], different[1])[place]
    rows = rows.with_columns(
        pl.Series("relevance", scores[: len(pair)], dtype=pl.Float32),
        pl.Series("own_relevance", scores[len(pair) :], dtype=pl.Float32),
    )
    if config.max_relevance is not None:
        rows = rows.filter(pl.col("relevance") <= config.max_relevance)
    return rows.filter(pl.int_range(pl.len()).over("pair") < config.negatives)


def none_mined(config: MiningConfig, *, products: int) -> NothingToLearnError:
    """What is raised where negatives are wanted and none is found for any pair.

    Args:
        config: the rules.
        products: that were looked at.
    """
    return NothingToLearnError(
        f"negatives = {config.negatives}, and the rules of mining let no product through",
        expected=f"some of {products} products from rank range_min to range_max, within all margins",
        action="lower range_min, or loosen the margins or max_relevance",
    )


def joined(parts: Sequence[Integers]) -> Integers:
    """One array of many, int64 also where there are none."""
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])
