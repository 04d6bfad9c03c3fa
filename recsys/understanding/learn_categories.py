"""Learning the category classifier from a catalogue, and how sure it may be."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.text.words import words
from recsys.understanding.attributes import prefixes
from recsys.understanding.categories import CategoryClassifier, Ints, Reals, Tree, features, keys_of, softmax

LEAST_PRODUCTS = 2  # a category's only product can't be left out of it
PAIR_LEAST = 2  # pairs of words that stand in one product alone tell nothing
LEAST_SHARE = 0.5
"""Where fewer of the products have a category, a query's place in the tree says little of the others."""
ASKED = 1800  # products of which the temperatures' queries are made
LENGTHS = 6  # words of the longest of those queries
TEMPERATURES = np.geomspace(0.7, 5.6, 9)
CHUNK = 1_000_000  # features counted at once


def learn_categories(frame: pl.DataFrame, *, seed: int = 0) -> CategoryClassifier | None:
    """The classifier of a catalogue; None where `lacking` has a reason.

    Args:
        frame: the rows of a catalogue with title, and category and brand if it has them.
        seed: of the queries that the temperature is fitted on.
    """
    if lacking(frame):
        return None
    rows = placed(frame)
    tree = Tree.of(rows["category"].to_list())
    number = {tree.paths[node]: place for place, node in enumerate(tree.leaves.tolist())}
    classes = np.array([number[prefixes(path)[-1]] for path in rows["category"]], dtype=np.int32)
    counted = count(texts(rows), classes, names=[words(tree.paths[node]) for node in tree.leaves.tolist()])
    learned = join(tree, counted, np.bincount(classes, minlength=len(tree.leaves)).astype(np.float64))
    return fit_temperatures(learned, rows["title"].to_list(), classes, seed=seed)


def placed(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows with a category."""
    if "category" not in frame.columns:
        return frame.clear()
    paths = pl.col("category").cast(pl.String).fill_null("")
    return frame.filter(paths.str.replace_all("[ >]", "") != "")


def lacking(frame: pl.DataFrame) -> str:
    """Why a catalogue has no category tree to learn; "" where it has one."""
    rows = placed(frame)
    if rows.height < max(LEAST_SHARE * frame.height, 1):
        return f"{rows.height:,} of {frame.height:,} products have a category, fewer than half"
    own = {prefixes(path)[-1] for path in rows["category"].unique()}
    return "" if len(own) > 1 else "all products stand in one category"


def texts(rows: pl.DataFrame) -> Iterator[list[str]]:
    """The words of each product."""
    brands = rows["brand"].fill_null("") if "brand" in rows.columns else [""] * rows.height
    for title, brand in zip(rows["title"], brands, strict=True):
        row = words(title)
        extra = words(brand)
        yield row if set(extra) <= set(row) else [*row, *extra]


def count(products: Iterable[list[str]], classes: Ints, *, names: Sequence[list[str]]) -> pl.DataFrame:
    """How often each feature stands with each class: key, class, count, in the order of keys and classes.

    A category's own name counts as one product of it.
    """
    parts: list[pl.DataFrame] = []
    keys: list[str] = []
    held: list[int] = []
    owners = chain(range(len(names)), classes.tolist())
    for row, own in zip(chain(names, products), owners, strict=True):
        keys += (found := features(row))
        held += [own] * len(found)
        if len(keys) > CHUNK:
            parts.append(summed(keys, held))
            keys, held = [], []
    parts.append(summed(keys, held))
    total = pl.concat(parts).group_by("key", "pair", "class").agg(pl.col("count").sum())
    often = (pl.col("count").sum().over("key") >= PAIR_LEAST) | ~pl.col("pair")
    return total.filter(often).sort("key", "class")


def summed(keys: list[str], classes: list[int]) -> pl.DataFrame:
    """Counts of one part, by the features' hashes."""
    frame = pl.DataFrame({"feature": keys, "class": classes}, schema={"feature": pl.String, "class": pl.Int32})
    found = frame.group_by("feature", "class").agg(pl.len().cast(pl.Float32).alias("count"))
    names = found["feature"].unique(maintain_order=True)
    hashes = pl.DataFrame({"feature": names, "key": keys_of(names.to_list())})
    return found.join(hashes, on="feature").select(
        "key", pair=pl.col("feature").str.contains(" ", literal=True), **{"class": "class", "count": "count"}
    )


def join(tree: Tree, counted: pl.DataFrame, products: NDArray[np.float64]) -> CategoryClassifier:
    """The counts as arrays."""
    keys = counted["key"].to_numpy()
    distinct, starts = np.unique(keys, return_index=True)
    counts: Reals = counted["count"].to_numpy()
    classes = counted["class"].to_numpy()
    return CategoryClassifier(
        tree=tree,
        keys=distinct.astype(np.uint64),
        offsets=np.append(starts, len(keys)).astype(np.int64),
        classes=classes,
        counts=counts,
        totals=np.bincount(classes, weights=counts, minlength=len(tree.leaves)).astype(np.float64),
        products=np.maximum(products, 1.0),
        temperatures=np.ones(LENGTHS),
    )


def fit_temperatures(
    learned: CategoryClassifier, titles: Sequence[str], classes: Ints, *, seed: int
) -> CategoryClassifier:
    """The classifier at the temperatures with the least Brier score over all nodes, on queries of left-out products."""
    draw = random.Random(seed)
    chosen = sorted(draw.sample(range(len(titles)), min(ASKED, len(titles))))
    prior = np.log(learned.products)
    loss = np.zeros((LENGTHS, len(TEMPERATURES)))
    for turn, row in enumerate(chosen):
        found = words(titles[row])
        asked = pseudo_query(found, draw=draw, length=1 + turn % LENGTHS)
        product = learned.find(features(found))
        places = shared(learned, learned.find(features(asked)), product=product)
        own = int(classes[row])
        if not len(places) or learned.products[own] < LEAST_PRODUCTS:
            continue
        scores = learned.scores(places, but=own, product=product)
        for place, temperature in enumerate(TEMPERATURES):
            missed = learned.tree.spread(softmax((scores + prior) / temperature))
            missed[learned.tree.line(own)] -= 1.0
            loss[len(asked) - 1, place] += missed @ missed
    known = loss.any(axis=1)
    fitted = np.where(known, TEMPERATURES[loss.argmin(axis=1)], 1.0)
    return replace(learned, temperatures=fitted)


def shared(learned: CategoryClassifier, places: NDArray[np.int64], *, product: NDArray[np.int64]) -> NDArray[np.int64]:
    """The features that would be known without a product."""
    held = [learned.counts[learned.offsets[place] : learned.offsets[place + 1]].sum() for place in places]
    return places[np.array(held) - np.isin(places, product) > 0] if held else places


def pseudo_query(found: Sequence[str], *, draw: random.Random, length: int) -> list[str]:
    """Some words of a title in their order; numbers and single letters only where there is nothing else.

    Args:
        found: the words of a title.
        draw: the source of chance.
        length: how many, fewer where the title has fewer.
    """
    telling = [word for word in found if len(word) > 2 and word.isalpha()] or list(found)
    places = sorted(draw.sample(range(len(telling)), min(length, len(telling))))
    return [telling[place] for place in places]
