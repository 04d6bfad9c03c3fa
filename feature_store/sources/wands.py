"""WANDS, the Wayfair annotation data set: products, queries and graded pairs, no events.

Source: https://github.com/wayfair/WANDS (README, "Dataset Details"): three tab-separated files.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from feature_store.sources.public_set import Converted, Download, PublicSet
from feature_store.sources.raw import need_columns, need_file, number, scan_text

GRADES = {"Exact": 2.0, "Partial": 1.0, "Irrelevant": 0.0}
PRODUCT = (
    *("product_id", "product_name", "product_class", "category_hierarchy", "product_description", "product_features"),
    *("rating_count", "average_rating", "review_count"),
)
ADDRESS = "https://raw.githubusercontent.com/wayfair/WANDS/main/dataset"


def convert(raw: Path, options: Mapping[str, str]) -> Converted:
    """The three files as products, queries and judgments."""
    product, query, label = (need_file(raw, f"{name}.csv") for name in ("product", "query", "label"))
    tables = {"products": products(product), "queries": queries(query), "judgments": judgments(label)}
    grades = ", ".join(f"{name} {grade:g}" for name, grade in GRADES.items())
    return Converted(tables=tables, files=(product, query, label), max_grade=2.0, notes=(f"grades: {grades}",))


def products(file: Path) -> pl.LazyFrame:
    """product.csv; the README calls one column category_hierarchy, the file `category hierarchy`."""
    frame = scan_text(file, separator="\t").rename({"category hierarchy": "category_hierarchy"}, strict=False)
    need_columns(frame, PRODUCT, file=file)
    path = pl.col("category_hierarchy").str.split("/").list.eval(pl.element().str.strip_chars())
    path = path.list.filter(pl.element() != "").list.join(" > ").replace("", None)
    features = pl.col("product_features").map_batches(attributes, return_dtype=pl.String, is_elementwise=True)
    return frame.select(
        "product_id",
        pl.col("product_name").alias("title"),
        pl.col("product_description").alias("description"),
        path.alias("category"),
        features.alias("attributes"),
        number("average_rating").alias("rating"),
        number("rating_count").cast(pl.Int64, strict=False),
        number("review_count").cast(pl.Int64, strict=False),
        "product_class",
    )


def attributes(features: pl.Series) -> pl.Series:
    """`colour:blue|size:large|size:small` as a JSON object; a name that repeats holds a list."""
    return pl.Series([as_object(text) for text in features], dtype=pl.String)


def as_object(text: str | None) -> str | None:
    """One product's features as a JSON object, None where it has none."""
    found: dict[str, list[str]] = {}
    for pair in (text or "").split("|"):
        name, colon, value = pair.partition(":")
        if colon and name.strip() and value.strip() and value.strip() not in found.setdefault(name.strip(), []):
            found[name.strip()].append(value.strip())
    named = {name: values[0] if len(values) == 1 else values for name, values in found.items() if values}
    return json.dumps(named, ensure_ascii=False) if named else None


def queries(file: Path) -> pl.LazyFrame:
    """query.csv."""
    frame = need_columns(scan_text(file, separator="\t"), ("query_id", "query", "query_class"), file=file)
    return frame.select("query_id", "query", "query_class")


def judgments(file: Path) -> pl.LazyFrame:
    """label.csv; a label of another name has no grade and is set aside by the contract."""
    frame = need_columns(scan_text(file, separator="\t"), ("query_id", "product_id", "label"), file=file)
    grade = pl.col("label").replace_strict(GRADES, default=None, return_dtype=pl.Float64)
    return frame.select("query_id", "product_id", grade.alias("grade"), "label")


WANDS = PublicSet(
    name="wands",
    title="WANDS, Wayfair product search relevance",
    licence="MIT",
    link="https://github.com/wayfair/WANDS",
    documentation="https://github.com/wayfair/WANDS#dataset-details",
    instructions="`recsys import wands RAW --download`, or clone the repository and name its folder `dataset`",
    convert=convert,
    downloads=tuple(Download(url=f"{ADDRESS}/{file}", file=file) for file in ("product.csv", "query.csv", "label.csv")),
)
