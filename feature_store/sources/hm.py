"""H&M personalised fashion: two years of purchases with described articles; prices are scaled, and no money.

Source: https://www.kaggle.com/competitions/h-and-m-personalized-fashion-recommendations/data.
"""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from feature_store.sources.public_set import Converted, PublicSet
from feature_store.sources.raw import joined_path, need_columns, need_file, number, scan_text

ATTRIBUTES = {
    "product_type_name": "type",
    "graphical_appearance_name": "pattern",
    "colour_group_name": "colour",
    "perceived_colour_master_name": "base_colour",
    "garment_group_name": "garment_group",
}
CATEGORY = ("index_group_name", "index_name", "section_name", "product_group_name", "product_type_name")
PRODUCT = dict.fromkeys(("article_id", "product_code", "prod_name", "detail_desc", *CATEGORY, *ATTRIBUTES))
USER = ("customer_id", "club_member_status", "fashion_news_frequency", "age")
EVENT = ("t_dat", "customer_id", "article_id", "price", "sales_channel_id")


def convert(raw: Path, options: Mapping[str, str]) -> Converted:
    """Articles, customers and transactions as products, users and events; article ids keep their leading zero."""
    articles, customers, bought = (
        need_file(raw, f"{name}.csv") for name in ("articles", "customers", "transactions_train")
    )
    tables = {"products": products(articles), "users": users(customers), "events": events(bought)}
    return Converted(
        tables=tables,
        files=(articles, customers, bought),
        notes=("prices are scaled by the publisher: they compare with one another, and have no currency",),
    )


def products(file: Path) -> pl.LazyFrame:
    """articles.csv; an article is a colour of a product, which is its group."""
    frame = need_columns(scan_text(file), PRODUCT, file=file)
    told = pl.struct(pl.col(theirs).alias(ours) for theirs, ours in ATTRIBUTES.items()).struct.json_encode()
    return frame.select(
        pl.col("article_id").alias("product_id"),
        pl.col("prod_name").alias("title"),
        pl.col("detail_desc").alias("description"),
        joined_path(*CATEGORY).alias("category"),
        told.alias("attributes"),
        pl.col("product_code").alias("group_id"),
    )


def users(file: Path) -> pl.LazyFrame:
    """customers.csv without the postal code."""
    frame = need_columns(scan_text(file), USER, file=file)
    told = pl.struct(number("age"), pl.col("fashion_news_frequency")).struct.json_encode()
    return frame.select(
        pl.col("customer_id").alias("user_id"),
        pl.col("club_member_status").alias("segment"),
        told.alias("attributes"),
    )


def events(file: Path) -> pl.LazyFrame:
    """transactions_train.csv: a row for each piece, so that equal rows are no mistake; only the day is known."""
    frame = need_columns(scan_text(file), EVENT, file=file)
    return frame.select(
        pl.col("customer_id").alias("user_id"),
        pl.col("article_id").alias("product_id"),
        pl.col("t_dat")
        .str.to_date("%Y-%m-%d", strict=False)
        .cast(pl.Datetime("us"))
        .dt.replace_time_zone("UTC")
        .alias("timestamp"),
        pl.lit("purchase").alias("event_type"),
        number("price"),
        "sales_channel_id",
    )


HM = PublicSet(
    name="hm",
    title="H&M personalised fashion",
    licence="competition rules: non-commercial use; accept them where you download it",
    link="https://www.kaggle.com/competitions/h-and-m-personalized-fashion-recommendations",
    documentation="https://www.kaggle.com/competitions/h-and-m-personalized-fashion-recommendations/data",
    instructions="download articles.csv, customers.csv and transactions_train.csv from the page with your own account",
    convert=convert,
)
