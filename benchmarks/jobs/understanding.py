"""Query understanding: the category tree, spelling, names, and what correction is worth to BM25.

Everything is learned from the catalogue alone; no query and no judgment is seen. Categories: 80 % of beauty's products
by id hash teach, queries are words drawn from the titles of the others. Spelling: words of the held-out titles that the
catalogue knows get one slip (a neighbouring key, a letter left out, doubled or swapped); "words harmed" are words of
held-out titles that the taught catalogue lacks, and that were replaced although nothing was wrong with them. Names:
what the sample shop's judged queries name, held against what their best products are and have in common; and 300
made-up queries of a product's category and two more of its facts, in the catalogue's own words.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.job import Measured, Place, Result, Table, Unit, mean, of, span
from benchmarks.understanding import (
    BAYES,
    DEPTHS,
    MAJORITY,
    NEIGHBOUR,
    TOP,
    measure_categories,
    measure_coverage,
    measure_gain,
    measure_spelling,
    shop_catalogue,
)
from benchmarks.understanding_names import measure_names
from feature_store.sources.sample.write import write_sample

PROTOCOL = "the catalogue alone teaches; products split 80 : 20 by id hash; one seeded slip a word"
SHOPS = ("beauty", "icecat", "crowdflower", "homedepot")
SEEDS, SAMPLE = range(3), "sample"
NAMES, COVERAGE, SPELLING, GAIN = "names", "coverage", "spelling", "correction for BM25"
METHODS = (MAJORITY, NEIGHBOUR, BAYES)
SPELT, MEASURED, GAINED = (SAMPLE, *SHOPS), ("beauty", "icecat"), (SAMPLE, "crowdflower", "homedepot")
UNITS = (
    Unit(MAJORITY),
    Unit(NEIGHBOUR, seed=0),
    *(Unit(BAYES, seed=seed) for seed in SEEDS),
    *(Unit(f"{SPELLING}, {shop}", seed=seed) for shop in SPELT for seed in SEEDS),
    *(Unit(f"{NAMES}, {SAMPLE}", seed=seed) for seed in SEEDS),
    *(Unit(f"{COVERAGE}, {shop}") for shop in MEASURED),
    *(Unit(f"{GAIN}, {shop}") for shop in GAINED),
)


def measure(unit: Unit, place: Place) -> Measured:
    """One row."""
    name, _, shop = unit.variant.rpartition(", ")
    seed = unit.seed or 0
    folder = sample_folder(place, seed=seed) if shop == SAMPLE else place.data / shop
    if unit.variant in METHODS:
        return measure_categories(shop_catalogue(folder), method=unit.variant, seed=seed)
    rows: dict[str, Callable[[], Measured]] = {
        SPELLING: lambda: measure_spelling(shop_catalogue(folder), seed=seed),
        NAMES: lambda: measure_names(folder, seed=seed),
        COVERAGE: lambda: measure_coverage(folder),
        GAIN: lambda: measure_gain(folder),
    }
    return rows[name]()


def sample_folder(place: Place, *, seed: int) -> Path:
    """A sample shop, made once."""
    folder = place.work / f"sample-{seed}"
    if not folder.exists():
        write_sample(folder, products=3000, users=200, seed=seed)
    return folder


def tables(results: Sequence[Result]) -> list[Table]:
    """The tree, spelling, names, and what correction is worth."""
    return [tree_table(results), spelling_table(results), names_table(results), gain_table(results)]


def tree_table(results: Sequence[Result]) -> Table:
    """Accuracy by method and length of the query."""
    keys = [f"top-{top} at depth {level}" for level in DEPTHS for top in TOP] + ["calibration error"]
    rows = [
        [
            method.removesuffix(", beauty"),
            length.replace("1 words", "1 word"),
            *(mean(of(results, method), f"{length}, {key}") for key in keys),
        ]
        for length in ("1 words", "2 words", "3 words", "whole titles")
        for method in METHODS
    ]
    covered = [
        f"{shop}: {row['counts']['products with a category']:,} of {row['counts']['products']:,}"
        for shop in MEASURED
        for row in of(results, f"{COVERAGE}, {shop}")
    ]
    note = (
        "Queries are random words of a held-out title, so that no method can be right on all: most single words fit "
        "several categories. The calibration error is over the likeliest node of each depth, in 15 equal-mass bins. "
        f"Products with a category: {'; '.join(covered)}. Where fewer than half have one, the classifier is left out."
    )
    return Table("Query classification into the category tree, beauty", ("method", "query", *keys), rows, note)


def spelling_table(results: Sequence[Result]) -> Table:
    """Slips mended and words harmed, by shop."""
    keys = ("mended", "replaced", "right of the replaced", "words harmed")
    rows = [[shop, *(mean(of(results, f"{SPELLING}, {shop}"), key) for key in keys)] for shop in SPELT]
    note = (
        "Mended: the right word comes first, as a replacement or, where that is not sure, as a weighted alternative. "
        "A word that the catalogue knows is never touched; harmed are words new to it, over all words drawn."
    )
    return Table("Spelling", ("shop", *keys), rows, note)


def names_table(results: Sequence[Result]) -> Table:
    """What the sample shop's queries name, and what reading costs."""
    own = of(results, f"{NAMES}, {SAMPLE}")
    keys = sorted({key for row in own for key in row["metrics"]})
    rows = [[f"{key} ({sum(row['counts'].get(key, 0) for row in own)})", mean(own, key)] for key in keys]
    rows += [
        [f"{key}, {shop}", f"{row['metrics'][key]:,.2f}"]
        for shop in MEASURED
        for row in of(results, f"{COVERAGE}, {shop}")
        for key in row["metrics"]
    ]
    note = (
        "In brackets: how many, over three shops. Right: of the spans read, those that name what some best product is. "
        "Found: of the facts that all best products share, those that a span names; seven in ten of the sample shop's "
        "queries call the product by a word that its catalogue does not have, and none asks for every shared fact. Own "
        "words: made-up queries in the catalogue's words, held against the product that they were made of."
    )
    return Table("Names on the sample shop, and cost", ("measure", "value"), rows, note)


def gain_table(results: Sequence[Result]) -> Table:
    """NDCG of BM25 on the queries that correction changes."""
    rows = []
    for shop in GAINED:
        for row in of(results, f"{GAIN}, {shop}"):
            counts, found = row["counts"], row["metrics"]
            for name, interval in row["intervals"].items():
                told = [f"{found[f'{name} {side}']:.4f}" for side in ("typed", "corrected")]
                rows.append([shop, f"{counts['changed']} of {counts['queries']}", name, *told, span(interval)])
    note = "BM25 over the whole catalogue, judged queries; on all other queries the two are the same by construction."
    return Table(
        "What correction is worth to BM25", ("shop", "changed", "figure", "typed", "corrected", "gain"), rows, note
    )
