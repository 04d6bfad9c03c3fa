"""Candidates from a whole catalogue: the text encoder before and after each way to train it, beside BM25 and in hybrid.

Three catalogues: the sample shop with 5,000 products, homedepot (54,667 titles, queries of the outer training part),
and icecat, where the encoders that learned on homedepot search goods that they were never told anything about. Every
row is trained once: one epoch from the stock encoder, on the outer training part with its inner validation queries.
"no margin" mines negatives however near to the query they are, "rescored" leaves out those that a cross-encoder of the
same queries finds relevant; it is the teacher of the distilled row, too. "hybrid 1 : 1" adds BM25 and cosine at equal
weight.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.job import Measured, Place, Result, Table, Unit, mean, of, span
from benchmarks.jobs.relevance_crowdflower import BEFORE
from benchmarks.judged import shop_snapshot
from feature_store.snapshot import Snapshot, build_snapshot
from feature_store.sources.sample.write import write_sample
from recsys.catalogue import Catalogue
from recsys.engine.policy import SearchPolicy
from recsys.engine.search import Search
from recsys.engine.text_vectors import text_vectors
from recsys.metrics.intervals import paired_bootstrap
from recsys.models.backbone import resolve_backbone
from recsys.models.text_encoder import TextEncoder
from recsys.retrieval.dense import DenseIndex
from recsys.retrieval.dense_text import DenseTextRetriever
from recsys.retrieval.lexical import LexicalIndex
from recsys.text.tokenizer import TextTokenizer
from training.evaluate.baselines import BM25
from training.evaluate.measured import ByMetric, means
from training.evaluate.queries import JudgedQuery, Ranking, left_out, read_queries, retrieval_metrics, threshold
from training.relevance import learn as relevance
from training.relevance.config import RelevanceConfig
from training.relevance.data import read_pairs
from training.retriever.config import RetrieverConfig
from training.retriever.data import read_examples
from training.retriever.learn import learn, truncate

PROTOCOL = "catalogue retrieval, recall of grade >= 2 over all products, queries of outer fold 0 (icecat: all 65)"
SHOPS = ("homedepot", "icecat")
SAMPLE, HOMEDEPOT, ICECAT = "sample", "homedepot", "icecat"
PARTS, SEEDS = ("train", "validation"), range(3)
WORDS, STOCK, TITLES = "BM25 all text fields", "stock encoder", "no judgments, words of titles as queries"
CUTS, DEPTH = (10, 100, 1000), 1000
EVEN = "hybrid 1 : 1"  # of BM25 and cosine
FIGURES = tuple(f"{stages}, recall@{k}" for stages in ("dense", "hybrid") for k in CUTS)
MINED = {"negatives": 1, "range_max": 50}
NEAR, RESCORED, TAUGHT = "mined, no margin", "mined, rescored", "mined + distilled"
ROWS: Mapping[str, Mapping[str, Any]] = {
    "in-batch": {},
    "in-batch + clicks": {"search_events": True},
    "mined": MINED,
    NEAR: {**MINED, "relative_margin": None},
    RESCORED: {**MINED, "max_relevance": 0.5},
    TAUGHT: {**MINED, "margin_mse": 0.1},
    "in-batch, 128 of Matryoshka": {"matryoshka": (128, 64), "dimensions": 128},
    "in-batch, 64 of Matryoshka": {"matryoshka": (128, 64), "dimensions": 64},
    "in-batch, 128 by projection": {"dimensions": 128, "truncation": "pca"},
    "in-batch, 64 by projection": {"dimensions": 64, "truncation": "pca"},
    TITLES: {"judgments": False, "pseudo_queries": 2},
}
LEARNS = {SAMPLE: SAMPLE, HOMEDEPOT: HOMEDEPOT, ICECAT: HOMEDEPOT}
TAKEN = {
    SAMPLE: tuple(ROWS),
    HOMEDEPOT: ("in-batch", "mined", NEAR, RESCORED, TAUGHT),
    ICECAT: ("in-batch", "mined", NEAR, RESCORED, TAUGHT, TITLES),
}
UNITS = (
    *(Unit(f"{shop}: {row}") for shop in LEARNS for row in (WORDS, STOCK)),
    *(Unit(f"{shop}: {row}", seed=seed) for seed in SEEDS for shop, rows in TAKEN.items() for row in rows),
)
BASE = RetrieverConfig(epochs=1, patience=0, batch_size=64, learning_rate=5e-5, max_length=64)
LEAST = {SAMPLE: 0.5, HOMEDEPOT: 0.75, ICECAT: 0.5}  # homedepot's grades are means: 1.5 of 2 leaves half of the pairs


@dataclass(frozen=True)
class Bench:
    """One shop's snapshot, its products and its words' index.

    Attributes:
        shop: its name here.
        place: where the job works.
        snapshot: with outer fold 0 as the test part.
        catalogue: the products.
        lexical: BM25 over all text fields, each word counted as often as it stands there.
    """

    shop: str
    place: Place
    snapshot: Snapshot
    catalogue: Catalogue
    lexical: LexicalIndex

    @classmethod
    def open(cls, shop: str, place: Place) -> "Bench":
        """Build what is not there yet."""
        snapshot = sample_snapshot(place) if shop == SAMPLE else shop_snapshot(shop, place, fold=0)
        catalogue, folder = snapshot.catalogue(), place.work / f"words-{shop}"
        if not folder.exists():
            LexicalIndex.build(catalogue, folder, weights=BM25[WORDS])
        return cls(shop, place, snapshot, catalogue, LexicalIndex.open(folder))

    def search(self, queries: Sequence[JudgedQuery], *, encoder: Path | None) -> tuple[ByMetric, int]:
        """Each query's figures, by BM25 alone or by an encoder; and the bytes of the vectors."""
        texts = [query.query for query in queries]
        with TemporaryDirectory() as folder:
            dense = None if encoder is None else self.dense(encoder, Path(folder))
            finder = Search(self.catalogue, self.lexical, dense, ranker=None, policy=SearchPolicy(bm25=1.0, dense=1.0))
            values: ByMetric = {}
            for stages in ("bm25",) if dense is None else ("dense", "hybrid"):
                found = finder.run(texts, k=DEPTH, allowed=None, stages=stages)
                rankings = [Ranking(row.positions, row.scores) for row in found]
                own = retrieval_metrics(queries, rankings, cuts=CUTS[:1], relevant=threshold(self.snapshot))
                values |= {f"{stages}, {name}": row for name, row in own.items()}
            return values, sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())

    def dense(self, encoder: Path, folder: Path) -> DenseTextRetriever:
        """Dense retrieval by an encoder."""
        kept = self.place.work / "vectors" / self.shop
        DenseIndex.build(text_vectors(self.catalogue.texts(), encoder, cache=kept), folder)
        return DenseTextRetriever.open(folder, encoder=encoder)


def measure(unit: Unit, place: Place) -> Measured:
    """One row of one shop."""
    shop, row = unit.variant.split(": ", 1)
    bench = Bench.open(shop, place)
    encoder, config = resolve_backbone() if row == STOCK else None, None
    if row not in (WORDS, STOCK):
        teaches = shop if row == TITLES else LEARNS[shop]
        own = {**ROWS[row], "seed": unit.seed or 0, "least": LEAST[teaches]}
        config = RetrieverConfig.model_validate(BASE.model_dump() | own)
        encoder = trained(Bench.open(teaches, place), config)
    queries = read_queries(bench.snapshot, split="all" if shop == ICECAT else "test")
    values, size = bench.search(queries, encoder=encoder)
    figures = {name: value for name, value in means(values).items() if value is not None}
    return Measured(
        metrics=figures | {"megabytes of vectors": size / 1e6},
        counts={**left_out(queries), "products": len(bench.catalogue)},
        config=config.model_dump() if config else {},
        scores={name: column[~np.isnan(column)].tolist() for name, column in values.items() if "recall" in name},
    )


def trained(bench: Bench, config: RetrieverConfig) -> Path:
    """The encoder of a row; rows that differ in their vectors' final width alone share one training."""
    whole = config.model_copy(update={"dimensions": None, "truncation": "prefix"})
    start = learned(bench, whole)
    if config.dimensions is None:
        return start
    folder = bench.place.work / "trained" / f"{start.parent.name}-{config.dimensions}-{config.truncation}"
    network, tokenizer = TextEncoder.load(start), TextTokenizer.load(start)
    truncate(network, tokenizer, bench.catalogue.texts(), config=config)
    network.save(folder)
    tokenizer.save(folder)
    return folder


def learned(bench: Bench, config: RetrieverConfig) -> Path:
    """The encoder after a shop's outer training part; made once for each choice of settings."""
    name = hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:12]
    work = bench.place.work / "trained" / f"{bench.shop}-{name}"
    folder, start = work / "component", resolve_backbone()
    if not (work / "done").exists():
        tokenizer = TextTokenizer.load(start)
        examples = read_examples(
            bench.snapshot,
            *PARTS,
            tokenizer=tokenizer,
            config=config,
            encoder=start,
            teacher=teach(bench, seed=config.seed) if config.asks_judge else None,
            work=bench.place.work / "mined",
        )
        assert examples is not None  # noqa: S101 - the shops have judgments or titles
        network, _ = learn(examples, None, config=config, start=start, work=work / "fit")
        network.save(folder)
        tokenizer.save(folder)
        (work / "done").touch()
    return folder


def teach(bench: Bench, *, seed: int) -> Path:
    """The cross-encoder that has seen the outer training part once."""
    work = bench.place.work / "trained" / f"{bench.shop}-teacher-seed{seed}"
    if not (work / "done").exists():
        fields = BEFORE.fields if bench.shop == HOMEDEPOT else RelevanceConfig().fields
        length = BEFORE.max_length if bench.shop == HOMEDEPOT else 96
        config = BEFORE.model_copy(update={"seed": seed, "fields": fields, "max_length": length})
        start = relevance.start_folder(config, None)
        pairs = read_pairs(bench.snapshot, *PARTS, tokenizer=TextTokenizer.load(start), config=config)
        assert pairs is not None  # noqa: S101 - both shops have judgments
        relevance.learn(pairs, None, config=config, start=start, work=work / "fit").save(work / "component")
        (work / "done").touch()
    return work / "component"


def sample_snapshot(place: Place) -> Snapshot:
    """The sample shop's snapshot, made once."""
    out = place.work / "snapshot-sample"
    if not (out / "manifest.json").is_file():
        shop = place.work / "shop-sample"
        write_sample(shop, products=5000, users=2000, seed=0)
        build_snapshot(shop, out=out)
    return Snapshot.open(out)


def tables(results: Sequence[Result]) -> list[Table]:
    """A table for each shop: recall of every row, alone and in hybrid, with the gain over BM25."""
    figures = [name.replace("hybrid", EVEN) for name in FIGURES]
    columns = ("encoder", *figures, "MB of vectors", "dense recall@100 - BM25", f"{EVEN} recall@100 - BM25")
    found = []
    for shop, title in (
        (SAMPLE, "Sample shop, 5,000 products"),
        (HOMEDEPOT, "homedepot, 54,667 products"),
        (ICECAT, "icecat, 19,406 products, learned on homedepot"),
    ):
        base = of(results, f"{shop}: {WORDS}")
        rows = [line(results, shop, row, base=base) for row in (WORDS, STOCK, *TAKEN[shop])]
        if kept := [row for row in rows if row]:
            counts = base[0]["counts"] if base else {}
            note = ", ".join(f"{name}: {number}" for name, number in counts.items())
            found.append(
                Table(title, columns, kept, f"{note}. A trained row's gain is over each query's mean of its seeds.")
            )
    return found


def line(results: Sequence[Result], shop: str, row: str, *, base: Sequence[Result]) -> list[str]:
    """The cells of one row; none where it was not measured."""
    own = of(results, f"{shop}: {row}")
    if not own:
        return []
    if row == WORDS:
        return [row, *(mean(own, f"bm25, recall@{k}") for k in CUTS), *["-"] * (len(CUTS) + 3)]
    gains = [gain(own, base, f"{stages}, recall@100") for stages in ("dense", "hybrid")]
    size = own[0]["metrics"]["megabytes of vectors"]
    return [row, *(mean(own, figure) for figure in FIGURES), f"{size:.1f}", *gains]


def gain(own: Sequence[Result], base: Sequence[Result], figure: str) -> str:
    """The paired gain over BM25, over queries."""
    if not base:
        return "-"
    values = np.mean([result["scores"][figure] for result in own], axis=0)
    return span(paired_bootstrap(values, base[0]["scores"]["bm25, recall@100"], seed=0))
