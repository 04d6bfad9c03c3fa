"""The judgments table: for each judged query the products that answer it, near misses, and products that do not."""

import numpy as np
import polars as pl

from feature_store.sources.sample import draws
from feature_store.sources.sample.draws import Keys
from feature_store.sources.sample.queries import Queries
from feature_store.sources.sample.relevance import LOOKALIKES, MAX_GRADE, grades
from feature_store.sources.sample.world import ProductCodes, World, product_ids

POOL = 4_096
TAKEN = {3: 12, 2: 6, 1: 6}
LEAST = 20
SLIP_SHARE = 0.06


def judgment_frame(world: World, queries: Queries, codes: ProductCodes) -> pl.DataFrame:
    """Graded judgments; six in a hundred are one grade off, as raters are.

    From a shop of more than 4,096 products each query sees its own sample of so many, so that the work is bounded.
    """
    parts = [judged(world, queries, codes, query=query) for query in range(queries.judged)]
    rows = np.concatenate([part[0] for part in parts])
    truth_grade = np.concatenate([part[1] for part in parts])
    query = np.repeat(np.arange(queries.judged), [len(part[0]) for part in parts])
    keys = query * np.int64(world.products) + rows
    seed = world.seed
    off = np.where(draws.chance(0.5, keys, seed=seed, stream="off"), 1, -1)
    slips = draws.chance(SLIP_SHARE, keys, seed=seed, stream="rater")
    return pl.DataFrame(
        {
            "query_id": np.array(queries.ids())[query],
            "product_id": product_ids(world, rows),
            "grade": np.clip(truth_grade + np.where(slips, off, 0), 0, MAX_GRADE).astype(np.float64),
        }
    )


def judged(world: World, queries: Queries, codes: ProductCodes, *, query: int) -> tuple[Keys, Keys]:
    """Rows and true grades of the products judged for one query, best grade first."""
    pool = sampled(world, query)
    found = grades(queries.codes.take(np.full(len(pool), query)), codes.take(pool))
    chosen: list[Keys] = []
    for grade, count in TAKEN.items():
        chosen.append(pool[found == grade][:count])
    rest = pool[found == 0]
    related = LOOKALIKES[queries.codes.kind[query], codes.kind[rest]] | (
        codes.brand[rest] == queries.codes.brand[query]
    )
    if queries.codes.family[query] >= 0:
        related |= codes.colour[rest] // 4 == queries.codes.family[query]
    ordered = np.concatenate([rest[related][:6], rest[~related]])
    chosen.append(ordered[: max(6, LEAST - sum(len(part) for part in chosen))])
    rows = np.concatenate(chosen)
    return rows, grades(queries.codes.take(np.full(len(rows), query)), codes.take(rows))


def sampled(world: World, query: int) -> Keys:
    """Rows of up to POOL products in an order of the query's own."""
    if world.products <= POOL:
        rows = np.arange(world.products)
        keys = rows + query * np.int64(world.products)
        return rows[np.argsort(draws.uniform(keys, seed=world.seed, stream="pool"), kind="stable")]
    keys = np.arange(POOL) + query * np.int64(POOL)
    rows = draws.whole(keys, below=world.products, seed=world.seed, stream="pool")
    first = np.unique(rows, return_index=True)[1]
    return rows[np.sort(first)]
