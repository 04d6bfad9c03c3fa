"""What the job `understanding` measures: trees, slips, coverage, and the worth of corrections."""

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.job import Measured
from recsys.catalogue import Catalogue
from recsys.meaning import Understanding
from recsys.metrics.intervals import paired_bootstrap
from recsys.models.backbone import STOCK, resolve_backbone
from recsys.models.encode import encode_texts
from recsys.models.text_encoder import TextEncoder
from recsys.retrieval.lexical import LexicalIndex
from recsys.text.tokenizer import TextTokenizer
from recsys.text.words import words
from recsys.understanding.attributes import prefixes
from recsys.understanding.learn_categories import learn_categories, placed, pseudo_query
from recsys.understanding.reader import QueryReader
from recsys.understanding.slips import around
from recsys.understanding.spelling import Speller, count_words
from training.evaluate.queries import JudgedQuery, Ranking, retrieval_metrics

LENGTHS, DEPTHS, TOP, BINS = (1, 2, 3, 0), (1, 2, 3), (1, 3), 15
BAYES, MAJORITY, NEIGHBOUR = "naive Bayes, beauty", "majority, beauty", "nearest title by the stock encoder, beauty"
RELEVANT = 2.0
Reals = NDArray[np.float64]


def shop_catalogue(folder: Path) -> Catalogue:
    """The products of a shop folder by id."""
    frame = pl.read_parquet(folder / "products.parquet").sort("product_id")
    return Catalogue(frame.with_columns(position=pl.int_range(pl.len(), dtype=pl.Int64)))


def halves(catalogue: Catalogue) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The products that teach and those that are asked for."""
    digests = (hashlib.sha256(name.encode()).digest() for name in catalogue.product_ids)
    asked = pl.Series([int.from_bytes(digest[:8], "big") % 5 == 0 for digest in digests])
    return catalogue.frame.filter(~asked), catalogue.frame.filter(asked)


def measure_categories(catalogue: Catalogue, *, method: str, seed: int) -> Measured:
    """Top-1 and top-3 accuracy at each depth and the calibration error, by the length of the queries."""
    taught, asked = halves(catalogue)
    draw = random.Random(seed)
    learned = learn_categories(taught, seed=seed)
    assert learned is not None  # noqa: S101 - beauty has a tree
    paths = np.array(learned.tree.paths)
    depth = np.array([path.count(" > ") + 1 for path in paths])
    shares = learned.tree.spread(learned.products / learned.products.sum())
    own = np.array([prefixes(path)[-1] for path in taught["category"]])
    nearest = neighbours(taught["title"].to_list()) if method == NEIGHBOUR else None
    metrics: dict[str, float] = {}
    for length in LENGTHS:
        rows = [words(title) for title in asked["title"]]
        queries = [row if length == 0 else pseudo_query(row, draw=draw, length=length) for row in rows]
        found = [shares] * len(queries)
        if method == BAYES:
            found = [shares if (one := learned.chances(row)) is None else one for row in queries]
        if nearest is not None:
            places = nearest([" ".join(row) for row in queries])
            found = [at_nodes(own[best], paths) + 1e-3 * shares for best in places]
        name = f"{length} words" if length else "whole titles"
        metrics |= {
            f"{name}, {key}": value for key, value in accuracies(found, asked["category"], paths, depth).items()
        }
    counts = {"taught": taught.height, "asked": asked.height, "nodes": len(paths)}
    config = {"temperatures": learned.temperatures.tolist()} if method == BAYES else {}
    return Measured(metrics, counts=counts, config=config)


def at_nodes(path: str, paths: NDArray[np.str_]) -> Reals:
    """float64 [nodes]: 1 at a path and above it, 0 elsewhere."""
    return np.isin(paths, prefixes(path)).astype(np.float64)


def neighbours(titles: list[str]) -> Callable[[list[str]], NDArray[np.int64]]:
    """Finds the title whose vector is nearest to each query's."""
    folder = resolve_backbone(STOCK)
    encoder, tokenizer = TextEncoder.load(folder), TextTokenizer.load(folder)
    known = encode_texts(encoder, tokenizer, titles)
    return lambda queries: np.asarray((encode_texts(encoder, tokenizer, queries) @ known.T).argmax(axis=1))


def accuracies(
    found: Sequence[Reals], categories: pl.Series, paths: NDArray[np.str_], depth: Reals
) -> dict[str, float]:
    """Accuracy by depth over the products that are as deep, and the calibration error over all of these."""
    metrics: dict[str, float] = {}
    sure: list[tuple[float, bool]] = []
    for level in DEPTHS:
        nodes = np.flatnonzero(depth == level)
        right: dict[int, list[bool]] = {top: [] for top in TOP}
        for chances, category in zip(found, categories, strict=True):
            line = prefixes(category)
            if len(line) < level:
                continue
            best = nodes[np.argsort(-chances[nodes], kind="stable")[: max(TOP)]]
            for top in TOP:
                right[top].append(line[level - 1] in paths[best[:top]])
            sure.append((float(chances[best[0]]), right[1][-1]))
        metrics |= {f"top-{top} at depth {level}": float(np.mean(right[top])) for top in TOP}
    pairs = np.array(sorted(sure))
    gaps = [len(part) * abs(part[:, 0].mean() - part[:, 1].mean()) for part in np.array_split(pairs, BINS)]
    return metrics | {"calibration error": sum(gaps) / len(pairs)}


def slipped(word: str, *, draw: random.Random) -> str:
    """The word with one slip after its first letter."""
    place = draw.randrange(1, len(word) - 1)
    near = "".join(sorted(around(word[place]))) or word[place]
    ways = (
        word[:place] + word[place + 1 :],
        word[:place] + word[place] + word[place:],
        word[:place] + word[place + 1] + word[place] + word[place + 2 :],
        word[:place] + draw.choice(near) + word[place + 1 :],
    )
    return draw.choice(ways)


def measure_spelling(catalogue: Catalogue, *, seed: int) -> Measured:
    """How many slips are mended, and how many sound words harmed."""
    taught, asked = halves(catalogue)
    speller = Speller(*count_words(Catalogue(taught)))
    draw = random.Random(seed)
    row = [word.lower() for title in asked["title"] for word in title.split() if word.isalpha() and len(word) > 3]
    sample = draw.sample(row, min(3000, len(row)))
    known = [word for word in sample if speller.knows(word)]
    pairs = [(slip, word) for word in known if not speller.knows(slip := slipped(word, draw=draw))]
    mended = [(word, one) for slip, word in pairs for one in speller.correct(slip)[:1]]
    replaced = [(word, one) for word, one in mended if one.replaced]
    touched = [any(one.replaced for one in speller.correct(word)) for word in sample]
    metrics = {
        "mended": sum(one.corrected == word for word, one in mended) / len(pairs),
        "replaced": len(replaced) / len(pairs),
        "right of the replaced": sum(one.corrected == word for word, one in replaced) / max(len(replaced), 1),
        "words harmed": sum(touched) / len(sample),
    }
    return Measured(metrics, counts={"slips": len(pairs), "words": len(sample), "unknown": len(sample) - len(known)})


def measure_coverage(folder: Path) -> Measured:
    """How many products have a category, what is absent, and what building, opening and reading cost."""
    catalogue = shop_catalogue(folder)
    with TemporaryDirectory() as place:
        begun = process_time()
        QueryReader.build(catalogue, Path(place) / "reader")
        built = process_time()
        reader = QueryReader.open(Path(place) / "reader")
        opened = process_time()
        queries = catalogue.frame["title"].str.split(" ").list.head(4).list.join(" ")[:2000].to_list()
        reader.read("warming up")
        start = process_time()
        for query in queries:
            reader.read(query)
        spent = process_time() - start
    metrics = {
        "processor seconds to build": built - begun,
        "processor seconds to open": opened - built,
        "processor microseconds to read": 1e6 * spent / len(queries),
    }
    counts = {"products": len(catalogue), "products with a category": placed(catalogue.frame).height}
    return Measured(metrics, counts=counts, config={"absent": dict(reader.absent)})


def judged(folder: Path, catalogue: Catalogue) -> Iterator[JudgedQuery]:
    """The judged queries of a shop folder, by id; a pair that stands twice has its mean grade."""
    table = pl.read_parquet(folder / "judgments.parquet").join(
        pl.read_parquet(folder / "queries.parquet"), on="query_id"
    )
    table = table.group_by("query_id", "query", "product_id").agg(pl.col("grade").mean()).sort("query_id", "product_id")
    for (query_id, text), part in table.group_by("query_id", "query", maintain_order=True):
        positions = catalogue.positions(part["product_id"])
        yield JudgedQuery(str(query_id), str(text), positions, part["grade"].to_numpy().astype(np.float64))


def measure_gain(folder: Path) -> Measured:
    """NDCG@10 of BM25 with and without correction, on the queries that it changes."""
    catalogue = shop_catalogue(folder)
    with TemporaryDirectory() as place:
        reader = QueryReader.build(catalogue, Path(place) / "reader")
        index = LexicalIndex.build(catalogue, Path(place) / "words")
        queries = list(judged(folder, catalogue))
        read = [reader.read(query.query) for query in queries]
        rows = [row for row, one in enumerate(read) if one.corrections]
        changed = [queries[row] for row in rows]
        before = rank(index, [Understanding(query.query, query.query) for query in changed])
        after = rank(index, [read[row] for row in rows])
    values = [retrieval_metrics(changed, found, cuts=(10,), relevant=RELEVANT) for found in (before, after)]
    names = [name for name in values[0] if name.startswith("ndcg")]
    sides = dict(zip(("typed", "corrected"), values, strict=True))
    replaced = sum(read[row].corrected is not None for row in rows)
    return Measured(
        {f"{name} {side}": float(np.nanmean(one[name])) for side, one in sides.items() for name in names},
        intervals={name: paired_bootstrap(values[1][name], values[0][name], seed=0) for name in names},
        counts={"queries": len(queries), "changed": len(rows), "replaced": replaced},
    )


def rank(index: LexicalIndex, read: Sequence[Understanding]) -> list[Ranking]:
    """The thousand best products of each query by BM25."""
    texts, beside = [one.text for one in read], [one.alternatives for one in read]
    return [Ranking(row.positions, row.scores) for row in index.retrieve(texts, k=1000, alternatives=beside)]
