"""The texts of adaptation: read in slices, tokenised once, kept on the disk and mapped from there."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from feature_store.snapshot import Snapshot
from recsys.logs import progress
from recsys.storage import atomic_file
from recsys.text.field_names import TextField
from recsys.text.fields import product_text
from recsys.text.normalise import normalise
from recsys.text.tokenizer import TextTokenizer, Tokens

ROWS = 32768  # texts in memory at a time
IDS, OFFSETS = "ids.bin", "offsets.npy"


def shop_texts(
    snapshots: Sequence[Snapshot], *, fields: Sequence[TextField], queries: bool = False
) -> Iterator[list[str]]:
    """The texts of all products, in slices of ROWS, and behind them those of the training queries.

    Args:
        snapshots: of one or several shops.
        fields: of a product that stand in its text.
        queries: whether queries are read; one that any of the shops holds out (normalised) never is.
    """
    for snapshot in snapshots:
        yield from product_texts(snapshot, fields=fields)
    if queries and (asked := training_queries(snapshots)):
        yield asked


def product_texts(snapshot: Snapshot, *, fields: Sequence[TextField]) -> Iterator[list[str]]:
    """The texts of a catalogue, in slices of ROWS."""
    lazy = pl.scan_parquet(snapshot.path / "catalogue.parquet")
    lazy = lazy.select([name for name in lazy.collect_schema().names() if name in ("product_id", *fields)])
    for start in range(0, snapshot.manifest.counts["catalogue"], ROWS):
        yield product_text(lazy.slice(start, ROWS).collect(), fields=fields)


def training_queries(snapshots: Sequence[Snapshot]) -> list[str]:
    """The training parts' queries, each once, without any that stands in a validation or test part; sorted."""
    held_out = {
        normalise(query)
        for snapshot in snapshots
        for query in snapshot.judgments("validation", "test")["query"].unique()
    }
    asked = {query for snapshot in snapshots for query in snapshot.judgments("train")["query"].unique()}
    return sorted(query for query in asked if normalise(query) not in held_out)


def stored_tokens(texts: Iterable[Sequence[str]], folder: Path, *, tokenizer: TextTokenizer, max_length: int) -> Tokens:
    """The tokens of the texts, of which only row offsets stand in memory; made where the folder has none yet.

    Args:
        texts: slices of texts; not read where the folder has their tokens. Texts without a word are left out.
        folder: where the tokens are kept.
        tokenizer: of the network.
        max_length: tokens of a text; longer ones are cut.
    """
    if not (folder / OFFSETS).is_file():
        write_tokens(texts, folder, tokenizer=tokenizer, max_length=max_length)
    offsets = np.load(folder / OFFSETS, allow_pickle=False)
    count = int(offsets[-1])
    ids = np.memmap(folder / IDS, dtype=np.int32, mode="r", shape=(count,)) if count else np.empty(0, np.int32)
    return Tokens(ids=ids, types=np.broadcast_to(np.int8(0), (count,)), offsets=offsets)


def write_tokens(texts: Iterable[Sequence[str]], folder: Path, *, tokenizer: TextTokenizer, max_length: int) -> None:
    """Write the ids, then the offsets, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    lengths = [np.zeros(1, dtype=np.int64)]
    bare = len(tokenizer.encode([""]).ids)
    with atomic_file(folder / IDS) as draft, draft.open("wb") as file:
        for part in progress(texts, label="tokens"):
            tokens = tokenizer.encode(part, max_length=max_length)
            tokens = tokens.take(np.flatnonzero(tokens.lengths > bare))
            file.write(tokens.ids.astype(np.int32).tobytes())
            lengths.append(tokens.lengths)
    with atomic_file(folder / OFFSETS) as draft, draft.open("wb") as file:
        np.save(file, np.cumsum(np.concatenate(lengths)), allow_pickle=False)
