"""Amazon ESCI, the shopping queries data set: queries and products of three marketplaces with four labels.

The labels have no numbers of their own, and the publishers' two files disagree: ranking/train.py learns from exact 1,
substitute 0.1, complement 0.01, irrelevant 0, while ranking/prepare_trec_eval_files.py scores with substitute 0.01 and
complement 0.1 (`ndcg.1=0,2=0.01,3=0.1,4=1`, substitute 2, complement 3). Here there is one mapping, GRADES: a
substitute answers the query, a complement does not. It is tested, printed by the import and written into shop.toml.
With the gain 2^grade - 1 it gives 7, 3, 1 and 0: figures do not compare with published ones.

Source: Reddy et al., "Shopping Queries Dataset: A Large-Scale ESCI Benchmark for Improving Product Search",
arXiv:2206.06588; https://github.com/amazon-science/esci-data/tree/main/shopping_queries_dataset (columns).
"""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from feature_store.sources.public_set import Converted, Download, PublicSet
from feature_store.sources.raw import choice, need_columns, need_file

GRADES = {"E": 3.0, "S": 2.0, "C": 1.0, "I": 0.0}
NAMES = {"E": "Exact", "S": "Substitute", "C": "Complement", "I": "Irrelevant"}
LOCALES = ("us", "es", "jp", "all")
EDITIONS = ("large", "small")
EXAMPLES, PRODUCTS = "shopping_queries_dataset_examples.parquet", "shopping_queries_dataset_products.parquet"
PRODUCT = (
    *("product_id", "product_title", "product_description", "product_bullet_point", "product_brand", "product_color"),
    "product_locale",
)
# Git LFS keeps a file's sha256 in the repository, so that of this commit's files is known for certain.
COMMIT = "7e0e3073f5ca36c0b5ff79e847cf99a74597645d"
ADDRESS = f"https://media.githubusercontent.com/media/amazon-science/esci-data/{COMMIT}/shopping_queries_dataset"


def convert(raw: Path, options: Mapping[str, str]) -> Converted:
    """Examples and products of one marketplace as products, queries and judgments."""
    locale, edition = choice(options, "locale", LOCALES), choice(options, "edition", EDITIONS)
    examples, products = need_file(raw, EXAMPLES), need_file(raw, PRODUCTS)
    pairs = need_columns(
        pl.scan_parquet(examples),
        ("query", "query_id", "product_id", "product_locale", "esci_label", "small_version", "large_version", "split"),
        file=examples,
    ).filter(pl.col(f"{edition}_version") == 1)
    goods = need_columns(
        pl.scan_parquet(products),
        PRODUCT,
        file=products,
    )
    if locale != "all":
        pairs, goods = (frame.filter(pl.col("product_locale") == locale) for frame in (pairs, goods))
    # The same product number stands for other products in other marketplaces.
    own = pl.concat_str("product_locale", "product_id", separator=":") if locale == "all" else pl.col("product_id")
    grades = ", ".join(f"{NAMES[label]} {grade:g}" for label, grade in GRADES.items())
    return Converted(
        tables={"products": product_table(goods, own), "queries": query_table(pairs), "judgments": graded(pairs, own)},
        files=(examples, products),
        max_grade=max(GRADES.values()),
        notes=(f"grades: {grades}", f"locale {locale}, {edition} version; `split` of each judgment is the publishers'"),
    )


def product_table(goods: pl.LazyFrame, own: pl.Expr) -> pl.LazyFrame:
    """The whole catalogue of the marketplace, judged or not; bullet points follow the description."""
    described = pl.concat_str("product_description", "product_bullet_point", separator="\n", ignore_nulls=True)
    colour = pl.struct(pl.col("product_color").alias("colour")).struct.json_encode()
    return goods.select(
        own.alias("product_id"),
        pl.col("product_title").alias("title"),
        described.replace("", None).alias("description"),
        pl.col("product_brand").alias("brand"),
        pl.when(pl.col("product_color").str.strip_chars() != "").then(colour).alias("attributes"),
        pl.col("product_locale").alias("locale"),
    )


def query_table(pairs: pl.LazyFrame) -> pl.LazyFrame:
    """Each query once."""
    texts = pairs.group_by("query_id").agg(pl.col("query").first(), pl.col("product_locale").first().alias("locale"))
    return texts.sort("query_id").with_columns(pl.col("query_id").cast(pl.String))


def graded(pairs: pl.LazyFrame, own: pl.Expr) -> pl.LazyFrame:
    """The judged pairs; a label of another name has no grade and is set aside by the contract."""
    grade = pl.col("esci_label").cast(pl.String).replace_strict(GRADES, default=None, return_dtype=pl.Float64)
    return pairs.select(
        pl.col("query_id").cast(pl.String), own.alias("product_id"), grade.alias("grade"), "esci_label", "split"
    )


ESCI = PublicSet(
    name="esci",
    title="Amazon ESCI, shopping queries",
    licence="Apache-2.0",
    link="https://github.com/amazon-science/esci-data",
    documentation="https://github.com/amazon-science/esci-data/tree/main/shopping_queries_dataset",
    instructions="`recsys import esci RAW --download` (1.1 GB, Git LFS), or clone the repository with git-lfs",
    convert=convert,
    options={"locale": ", ".join(LOCALES), "edition": "large, or small (task 1: harder queries)"},
    downloads=(
        Download(
            url=f"{ADDRESS}/{EXAMPLES}",
            file=EXAMPLES,
            sha256="4a735b693b4a424a6fc67f5be6e4c811495c488bbf66d02a602d308b2744263a",
        ),
        Download(
            url=f"{ADDRESS}/{PRODUCTS}",
            file=PRODUCTS,
            sha256="25124442d064d64b26f74082d6fa09438d679efc0c183cf28d19064a2b65a265",
        ),
    ),
)
