"""Amazon reviews of 2014: JSON lines, of which products and the full reviews are Python's literals ("loose" JSON).

Source: https://jmcauley.ucsd.edu/data/amazon/ ("Sample review", "Sample metadata", "Reading the data"), McAuley et al.,
SIGIR 2015, arXiv:1506.04757. The page reads lines by Python's eval; here `ast.literal_eval` does, which runs nothing.
"""

import ast
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from feature_store.sources.amazon import (
    NOTE,
    PRODUCT,
    as_list,
    count,
    identity,
    joined,
    plain,
    purchase,
    record,
    single_price,
    unreadable,
)
from feature_store.sources.public_set import Converted, PublicSet
from feature_store.sources.raw import epoch, find_files, need_files, number, parsed_lines, scan_text

REVIEW = {"user_id": pl.String(), "product_id": pl.String(), "unixReviewTime": pl.Int64(), "value": pl.Float64()}
REVIEW |= {"unreadable_line": pl.String()}


def convert(raw: Path, options: Mapping[str, str]) -> Converted:
    """Metadata and reviews, of one category or several, as products and events."""
    meta = need_files(raw, "meta_*.json.gz", "meta_*.json")
    lines = find_files(raw, "reviews_*.json.gz", "reviews_*.json")
    reviews = lines or need_files(raw, "reviews_*.json.gz", "ratings_*.csv")
    return Converted(
        tables={"products": parsed_lines(meta, product, schema=PRODUCT), "events": events(reviews)},
        files=(*meta, *reviews),
        currency="USD",
        notes=(NOTE,),
    )


def events(files: Sequence[Path]) -> pl.LazyFrame:
    """The reviews, or the file of ratings alone: user, product, rating, time, without a header."""
    if files[0].suffix == ".csv":
        frame = scan_text(files, names=("user_id", "product_id", "value", "unixReviewTime"))
        frame = frame.with_columns(number("value"), pl.lit(None, dtype=pl.String).alias("unreadable_line"))
    else:
        frame = parsed_lines(files, review, schema=REVIEW)
    columns = (pl.col("user_id", "product_id"), epoch("unixReviewTime"), pl.col("value", "unreadable_line"))
    return frame.select(purchase(*columns))


def product(line: str) -> dict[str, Any]:
    """One product; of several category paths the longest, of equally long ones the first."""
    found = record(line, json.loads, ast.literal_eval)
    if found is None:
        return unreadable(line)
    paths = [path for path in as_list(found.get("categories")) if isinstance(path, list | tuple)]
    return {
        "product_id": identity(found.get("asin")),
        "title": plain(found.get("title")),
        "description": plain(found.get("description")),
        "brand": plain(found.get("brand")),
        "category": joined(max(paths, key=len, default=()), by=" > "),
        "price": single_price(found.get("price")),
        "image_url": plain(found.get("imUrl")),
    }


def review(line: str) -> dict[str, Any]:
    """One review."""
    found = record(line, json.loads, ast.literal_eval)
    if found is None:
        return unreadable(line)
    return {
        "user_id": identity(found.get("reviewerID")),
        "product_id": identity(found.get("asin")),
        "unixReviewTime": count(found.get("unixReviewTime")),
        "value": single_price(found.get("overall")),
    }


AMAZON_2014 = PublicSet(
    name="amazon-2014",
    title="Amazon reviews 2014",
    licence="no open licence; the page asks to be cited, research use",
    link="https://jmcauley.ucsd.edu/data/amazon/",
    documentation="https://jmcauley.ucsd.edu/data/amazon/",
    instructions="take reviews_CATEGORY_5.json.gz (or the full reviews, or ratings_CATEGORY.csv) and "
    "meta_CATEGORY.json.gz of one category or several from the page",
    convert=convert,
)
