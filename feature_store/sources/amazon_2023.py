"""Amazon reviews of 2023: JSON lines; a product is a parent with its variants, times are milliseconds.

Source: https://amazon-reviews-2023.github.io/ ("Data Fields"), Hou et al., arXiv:2403.03952.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from feature_store.sources.amazon import (
    NOTE,
    PRODUCT,
    as_json,
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
from feature_store.sources.raw import epoch, find_files, need_columns, need_files, number, parsed_lines, scan_text

FIELDS = ("user_id", "parent_asin", "asin", "timestamp", "rating", "verified_purchase")


def convert(raw: Path, options: Mapping[str, str]) -> Converted:
    """Metadata and reviews, of one category or several, as products and events."""
    meta = need_files(raw, "meta_*.jsonl.gz", "meta_*.jsonl")
    lines = [path for path in find_files(raw, "*.jsonl.gz", "*.jsonl") if path not in meta]
    reviews = tuple(lines) or need_files(raw, "CATEGORY.jsonl.gz", "*.csv.gz", "*.csv")
    return Converted(
        tables={"products": parsed_lines(meta, product, schema=PRODUCT), "events": events(reviews)},
        files=(*meta, *reviews),
        currency="USD",
        notes=(NOTE, "a product is its parent_asin; the variant bought is the event's own column `asin`"),
    )


def events(files: tuple[Path, ...]) -> pl.LazyFrame:
    """The reviews, or the benchmark's file of ratings alone, which names no variant."""
    if ".csv" in files[0].suffixes:
        frame = need_columns(scan_text(files), ("user_id", "parent_asin", "rating", "timestamp"), file=files[0])
        frame = frame.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in ("asin", "verified_purchase"))
    else:
        frame = pl.scan_ndjson(list(files), schema=dict.fromkeys(FIELDS, pl.String))
    return frame.select(
        purchase(
            pl.col("user_id"),
            pl.col("parent_asin").alias("product_id"),
            epoch("timestamp", unit="ms"),
            number("rating").alias("value"),
            pl.col("asin", "verified_purchase"),
        )
    )


def product(line: str) -> dict[str, Any]:
    """One product; without categories its main one."""
    found = record(line)
    if found is None:
        return unreadable(line)
    told = [joined(found.get(name), by="\n") for name in ("description", "features")]
    images = [image for image in as_list(found.get("images")) if isinstance(image, dict)]
    return {
        "product_id": identity(found.get("parent_asin")),
        "title": plain(found.get("title")),
        "description": joined(told, by="\n"),
        "brand": plain(found.get("store")),
        "category": joined(found.get("categories"), by=" > ") or plain(found.get("main_category")),
        "price": single_price(found.get("price")),
        "image_url": next((plain(image.get("large")) for image in images), None),
        "attributes": as_json(found.get("details")),
        "rating": single_price(found.get("average_rating")),
        "rating_count": count(found.get("rating_number")),
    }


AMAZON_2023 = PublicSet(
    name="amazon-2023",
    title="Amazon reviews 2023",
    licence="no open licence; the page asks to be cited, research use",
    link="https://amazon-reviews-2023.github.io/",
    documentation="https://amazon-reviews-2023.github.io/main.html",
    instructions="take CATEGORY.jsonl.gz (or the benchmark's 0-core or 5-core CATEGORY.csv) and meta_CATEGORY.jsonl.gz "
    "of one category or several from the page",
    convert=convert,
)
