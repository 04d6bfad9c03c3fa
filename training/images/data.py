"""From a snapshot to what an image tower learns from: pictures on the disk, text vectors, and pairs between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from feature_store.snapshot import Snapshot
from recsys.catalogue import Catalogue
from recsys.engine.product_images import find_pictures, given_vectors, problems_of, read_batches, told
from recsys.models.encode import encode_texts, prepare
from recsys.models.image_tower import ImageTower
from recsys.models.text_encoder import TextEncoder
from recsys.text.fields import product_text
from recsys.text.tokenizer import TextTokenizer
from recsys.types import Mask, Vectors
from training.images.config import ImagesConfig

Numbers = NDArray[np.int64]
Floats = NDArray[np.float32]
TITLES = "title"


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the tower reads of a catalogue's products.

    Attributes:
        values: [pictures, ...], on the disk: uint8 pixels where the encoder learns too, else its float32 features.
        row: int64 [products], the row of each product's picture, -1 where it has none.
        problems: in words, which pictures could not be read.
    """

    values: NDArray[Any]
    row: Numbers
    problems: str


@dataclass(frozen=True, slots=True)
class Pairs:
    """Texts with the products that they speak of.

    Attributes:
        texts: float32 [texts, width], unit vectors of queries and titles.
        text: int64 [pairs], rows of `texts`.
        product: int64 [pairs], positions in the catalogue.
        grades: float32 [pairs], on the shop's scale; the best one for titles.
        weights: float32 [pairs], mean 1.
        judged: the first so many pairs are judged, the rest are titles.
        worse: int64 [pairs, n], products that were judged no match for the same query, -1 where there are no more.
    """

    texts: Vectors
    text: Numbers
    product: Numbers
    grades: Floats
    weights: Floats
    judged: int
    worse: Numbers

    def __len__(self) -> int:
        return len(self.text)


def read_inputs(catalogue: Catalogue, tower: ImageTower, *, pictures: Path | None, file: Path) -> Inputs:
    """Put what the tower reads on the disk, in the order of positions, with bounded memory.

    Args:
        catalogue: the products.
        tower: whose encoder looks at the pictures; one that does not learn looks now, once.
        pictures: the shop folder; None where it is not known.
        file: an npy file that is written.
    """
    if tower.config.encoder == "vectors":
        values, seen = given_vectors(catalogue, width=tower.config.features)
        np.save(file, values[seen], allow_pickle=False)
        return Inputs(np.load(file, mmap_mode="r"), numbered(seen), "")
    found = find_pictures(catalogue, pictures)
    rows = np.flatnonzero([picture.path is not None for picture in found])
    learned, size = tower.config.encoder == "small", tower.config.size
    shape = (len(rows), size, size, 3) if learned else (len(rows), tower.config.features)
    if not len(rows):
        values = np.empty(shape, dtype=np.uint8 if learned else np.float32)
        none = np.zeros(len(catalogue), dtype=np.bool_)
        return Inputs(values, numbered(none), told(problems_of(catalogue, found, none)))
    stored = open_memmap(file, mode="w+", dtype=np.uint8 if learned else np.float32, shape=shape)
    seen, filled = np.zeros(len(catalogue), dtype=np.bool_), 0
    for good, pixels in read_batches(found, rows, size=size):
        with torch.inference_mode():
            stored[filled : filled + len(good)] = (
                pixels if learned else tower.features(torch.from_numpy(pixels)).numpy()
            )
        seen[good], filled = True, filled + len(good)
    stored.flush()
    return Inputs(stored, numbered(seen), told(problems_of(catalogue, found, seen)))


def numbered(seen: Mask) -> Numbers:
    """int64 [n]: 0, 1, 2 ... where True, -1 elsewhere."""
    return np.where(seen, np.cumsum(seen) - 1, -1).astype(np.int64)


def text_reader(encoder: Path) -> tuple[TextEncoder, TextTokenizer]:
    """The text encoder whose space the tower learns, with its tokenizer."""
    return prepare(TextEncoder.load(encoder)), TextTokenizer.load(encoder)


def read_pairs(
    snapshot: Snapshot,
    *parts: str,
    reader: tuple[TextEncoder, TextTokenizer],
    config: ImagesConfig,
    titled: Mask | None = None,
) -> Pairs | None:
    """The judged pairs of the parts, None where there are none; for training the positives and the products' titles.

    Args:
        snapshot: where the judgments stand.
        parts: of the split.
        reader: makes text vectors.
        config: least is read.
        titled: bool [products], those whose title is a positive; None for validation, where every grade counts.
    """
    best, catalogue = snapshot.manifest.max_grade, snapshot.catalogue()
    judgments = snapshot.judgments(*parts).with_columns(
        good=(pl.col("grade") >= config.least * best) & (pl.col("grade") > 0)
    )
    poor = {} if titled is None else no_match(judgments, catalogue)
    judgments = judgments if titled is None else judgments.filter("good")
    own = np.zeros(0, dtype=np.int64) if titled is None else np.flatnonzero(titled)
    said = [*judgments["query"].to_list(), *product_text(catalogue.frame[own], fields=[TITLES])]
    if not said:
        return None
    distinct = pl.Series(said, dtype=pl.String).unique().sort()
    grades = judgments["grade"].to_numpy().astype(np.float32)
    weights = judgments["weight"].cast(pl.Float64).fill_null(1.0).to_numpy() * (1.0 if titled is None else grades)
    weights = weights / weights.mean() if len(weights) else weights
    return Pairs(
        texts=encode_texts(*reader, distinct.to_list(), label="query vectors"),
        text=np.searchsorted(distinct.to_numpy(), np.array(said, dtype=object)).astype(np.int64),
        product=np.concatenate([catalogue.positions(judgments["product_id"]), own]),
        grades=np.concatenate([grades, np.full(len(own), best, dtype=np.float32)]),
        weights=np.concatenate([weights, np.ones(len(own))]).astype(np.float32),
        judged=len(judgments),
        worse=drawn([poor.get(query) for query in judgments["query"]], rows=len(said), config=config),
    )


def no_match(judgments: pl.DataFrame, catalogue: Catalogue) -> dict[str, Numbers]:
    """By query, the positions of the products that were judged no match for it."""
    found = judgments.filter(~pl.col("good")).group_by("query", maintain_order=True).agg("product_id")
    return {query: catalogue.positions(ids) for query, ids in found.iter_rows()}


def drawn(poor: Sequence[Numbers | None], *, rows: int, config: ImagesConfig) -> Numbers:
    """int64 [rows, config.worse]: for each of the first rows some of its poor products, -1 where there are no more."""
    random = np.random.default_rng(config.seed)
    worse = np.full((rows, config.worse), -1, dtype=np.int64)
    for row, products in enumerate(poor):
        if products is not None:
            some = random.permutation(products)[: config.worse]
            worse[row, : len(some)] = some
    return worse


def products_of(pairs: Pairs) -> Numbers:
    """Every position that occurs in some pairs."""
    return np.concatenate([pairs.product, pairs.worse[pairs.worse >= 0]])


def product_vectors(
    catalogue: Catalogue, products: Sequence[Numbers], *, reader: tuple[TextEncoder, TextTokenizer]
) -> tuple[Vectors, Numbers]:
    """The text vectors of the products that occur, float32 [n, width], and the row of each position, int64 [products].

    Args:
        catalogue: the products.
        products: positions, in several arrays.
        reader: makes text vectors.
    """
    wanted = np.unique(np.concatenate(products))
    rows = np.full(len(catalogue), -1, dtype=np.int64)
    rows[wanted] = np.arange(len(wanted))
    return encode_texts(*reader, product_text(catalogue.frame[wanted]), label="text vectors"), rows
