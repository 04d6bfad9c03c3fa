"""Amazon reviews of 2018: JSON lines; metadata with markup in places, products twice, prices as text.

Source: https://nijianmo.github.io/amazon/ ("Data format", "Sample review", "Sample metadata", "Unformatted rows"),
Ni, Li and McAuley, EMNLP 2019.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from feature_store.sources.amazon import (
    NOTE,
    PRODUCT,
    as_list,
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

MARKUP = "getTime"
"""By this word in a title the page tells rows whose title is a piece of a web page."""
FIELDS = ("reviewerID", "asin", "unixReviewTime", "overall", "verified")


def convert(raw: Path, options: Mapping[str, str]) -> Converted:
    """Metadata and reviews, of one category or several, as products and events."""
    meta = need_files(raw, "meta_*.json.gz", "meta_*.json")
    lines = [path for path in find_files(raw, "*.json.gz", "*.json") if path not in meta]
    reviews = tuple(lines) or need_files(raw, "CATEGORY.json.gz", "*.csv")
    return Converted(
        tables={"products": parsed_lines(meta, product, schema=PRODUCT), "events": events(reviews)},
        files=(*meta, *reviews),
        currency="USD",
        notes=(NOTE, "titles that are a piece of a web page count as missing; ranges of prices too"),
    )


def events(files: tuple[Path, ...]) -> pl.LazyFrame:
    """The reviews, or the file of ratings alone: product, user, rating, time, without a header."""
    if files[0].suffix == ".csv":
        frame = scan_text(files, names=("asin", "reviewerID", "overall", "unixReviewTime"))
        frame = frame.with_columns(pl.lit(None, dtype=pl.String).alias("verified"))
    else:
        frame = pl.scan_ndjson(list(files), schema=dict.fromkeys(FIELDS, pl.String))
    return frame.select(
        purchase(
            pl.col("reviewerID").alias("user_id"),
            pl.col("asin").alias("product_id"),
            epoch("unixReviewTime"),
            number("overall").alias("value"),
            pl.col("verified"),
        )
    )


def product(line: str) -> dict[str, Any]:
    """One product."""
    found = record(line)
    if found is None:
        return unreadable(line)
    title = plain(found.get("title"))
    return {
        "product_id": identity(found.get("asin")),
        "title": None if title and MARKUP in title else title,
        "description": joined([*as_list(found.get("description")), *as_list(found.get("feature"))], by="\n"),
        "brand": plain(found.get("brand")),
        "category": joined(found.get("category"), by=" > "),
        "price": single_price(found.get("price")),
        "image_url": next(map(plain, as_list(found.get("imageURLHighRes") or found.get("imageURL"))), None),
    }


AMAZON_2018 = PublicSet(
    name="amazon-2018",
    title="Amazon reviews 2018",
    licence="no open licence; the page asks to be cited, research use",
    link="https://nijianmo.github.io/amazon/",
    documentation="https://nijianmo.github.io/amazon/",
    instructions="take CATEGORY_5.json.gz (or CATEGORY.json.gz, or the ratings CATEGORY.csv) and meta_CATEGORY.json.gz "
    "of one category or several from the page; it asks you to fill in a form",
    convert=convert,
)
