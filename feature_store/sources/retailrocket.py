"""RetailRocket: views, carts and transactions of four and a half months; everything but ids is hashed.

Products have no title: one stands in for it ("product 123"), which says nothing, so words find nothing here.

Source: https://www.kaggle.com/datasets/retailrocket/ecommerce-dataset ("About this file" of each file).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from feature_store.sources.public_set import Converted, PublicSet
from feature_store.sources.raw import epoch, need_columns, need_file, need_files, scan_text

TYPES = {"view": "view", "addtocart": "add_to_cart", "transaction": "purchase"}


def convert(raw: Path, options: Mapping[str, str]) -> Converted:
    """Products and events."""
    told, tree = need_file(raw, "events.csv"), need_file(raw, "category_tree.csv")
    properties = need_files(raw, "item_properties_part*.csv")
    actions = need_columns(scan_text(told), ("timestamp", "visitorid", "event", "itemid", "transactionid"), file=told)
    return Converted(
        tables={"products": products(told_of(properties), actions, paths(tree)), "events": events(actions)},
        files=(told, tree, *properties),
        notes=(
            "products have no titles: `product ID` stands in; category and stock are the newest told of each product",
            "a product's other properties are hashed and left out",
        ),
    )


def events(actions: pl.LazyFrame) -> pl.LazyFrame:
    """Every action; one of another name has no type and is set aside by the contract."""
    return actions.select(
        pl.col("visitorid").alias("user_id"),
        pl.col("itemid").alias("product_id"),
        epoch("timestamp", unit="ms"),
        pl.col("event").replace(TYPES).alias("event_type"),
        pl.col("transactionid").alias("order_id"),
    )


def told_of(files: Sequence[Path]) -> pl.LazyFrame:
    """What all files tell of products: a property's value from an instant on."""
    for file in files:
        need_columns(scan_text(file), ("timestamp", "itemid", "property", "value"), file=file)
    return scan_text(files)


def products(properties: pl.LazyFrame, actions: pl.LazyFrame, tree: pl.DataFrame) -> pl.LazyFrame:
    """Everything that has a property or an action, with its newest category and stock."""
    told = properties.filter(pl.col("property").is_in(["categoryid", "available"]))
    newest = told.group_by("itemid", "property").agg(
        pl.col("value").sort_by(pl.col("timestamp").cast(pl.Int64, strict=False), pl.col("value")).last()
    )
    category, stock = (
        newest.filter(pl.col("property") == name).select("itemid", pl.col("value").alias(name))
        for name in ("categoryid", "available")
    )
    ids = pl.concat([properties.select("itemid"), actions.select("itemid")]).unique()
    return (
        ids.join(category, on="itemid", how="left")
        .join(stock, on="itemid", how="left")
        .join(tree.lazy(), on="categoryid", how="left")
        .select(
            pl.col("itemid").alias("product_id"),
            pl.format("product {}", "itemid").alias("title"),
            "category",
            (pl.col("available") == "1").alias("in_stock"),
        )
        .sort("product_id")
    )


def paths(file: Path) -> pl.DataFrame:
    """Each category with its path from the root; ids stand for names."""
    tree = need_columns(scan_text(file), ("categoryid", "parentid"), file=file).collect()
    parents = dict(tree.select("categoryid", "parentid").iter_rows())
    return pl.DataFrame(
        {"categoryid": list(parents), "category": [" > ".join(climb(leaf, parents)) for leaf in parents]},
        schema={"categoryid": pl.String, "category": pl.String},
    )


def climb(leaf: str, parents: Mapping[str, str | None]) -> list[str]:
    """The categories from the root to one of them; a circle ends where it closes."""
    path: list[str] = []
    node: str | None = leaf
    while node and node not in path:
        path.append(node)
        node = parents.get(node)
    return path[::-1]


RETAILROCKET = PublicSet(
    name="retailrocket",
    title="RetailRocket",
    licence="CC BY-NC-SA 4.0",
    link="https://www.kaggle.com/datasets/retailrocket/ecommerce-dataset",
    documentation="https://www.kaggle.com/datasets/retailrocket/ecommerce-dataset",
    instructions="download the archive from the page with your own account and unpack all files",
    convert=convert,
)
