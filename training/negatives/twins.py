"""Products that are one to a shopper: the same title in another spelling, or variants of one group."""

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from recsys.catalogue import Catalogue
from recsys.text.normalise import normalise
from training.negatives.known import Integers


def twin_numbers(catalogue: Catalogue) -> Integers:
    """int64 [products]: equal where two products share a normalised title or a group_id, or both a third product.

    Titles and groups that are empty or missing join nothing.
    """
    titles = pl.Series([normalise(title) for title in catalogue.column("title").fill_null("")], dtype=pl.String)
    groups = catalogue.column("group_id").cast(pl.String).fill_null("")
    products = np.arange(len(catalogue))
    edges = []
    names = len(catalogue)
    for column in (titles, groups):
        said = (column != "").to_numpy()
        numbers = column.rank("dense").cast(pl.Int64).to_numpy() - 1
        edges.append((products[said], names + numbers[said]))
        names += len(catalogue)
    rows, columns = (np.concatenate(parts) for parts in zip(*edges, strict=True))
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(names, names))
    _, labels = connected_components(graph, directed=False)
    _, twins = np.unique(labels[: len(catalogue)], return_inverse=True)
    return twins.astype(np.int64)
