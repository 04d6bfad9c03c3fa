"""What tables say of one another, and rows that repeat: counted; what the contract refuses is set aside before."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from feature_store.checking import CheckedTable

Tables = Mapping[str, CheckedTable]


@dataclass(frozen=True)
class Reference:
    """One rule about rows of a table.

    Attributes:
        table: whose rows are counted.
        rule: what they do, as in "user unknown".
        rows: how many do.
        of: how many could.
        set_aside: True where the contract sets them aside; else they are kept.
    """

    table: str
    rule: str
    rows: int
    of: int
    set_aside: bool = False

    @property
    def share(self) -> float:
        """rows / of, 0.0 where none could."""
        return self.rows / self.of if self.of else 0.0


def check_references(tables: Tables, *, exact_copies: int) -> list[Reference]:
    """Every rule whose tables the shop has.

    Args:
        tables: the checked tables.
        exact_copies: events without id that repeat another one in every column.
    """
    found = [
        Reference(name, reason, int(count), table.rows, set_aside=True)
        for name, table in tables.items()
        for reason, count in table.reasons().items()
        if reason.endswith((" unknown", " twice"))
    ]
    for table, rule, column, other in UNKNOWN:
        if table in tables and other in tables and column not in tables[table].absent:
            found.append(outside(tables, table=table, rule=rule, column=column, other=other))
    for table, count in COUNTED.items():
        if table in tables:
            found += count(tables)
    if "events" in tables:
        found.append(Reference("events", "exact copy of another event", exact_copies, tables["events"].held))
    return found


UNKNOWN = (
    ("events", "user not in users", "user_id", "users"),
    ("events", "query_id not in queries", "query_id", "queries"),
    ("users", "user without events", "user_id", "events"),
    ("products", "product without events", "product_id", "events"),
    ("queries", "query without judgments", "query_id", "judgments"),
)
"""Table, rule, column, and the table in which its values should stand."""


def outside(tables: Tables, *, table: str, rule: str, column: str, other: str) -> Reference:
    """Rows whose value stands nowhere in the other table; rows without a value are not counted."""
    own = tables[table].frame.filter(pl.col(column).is_not_null()).select(column)
    unknown = own.join(tables[other].frame.select(pl.col(column).unique()), on=column, how="anti")
    return Reference(table, rule, size(unknown), size(own))


def same_titles(tables: Tables) -> list[Reference]:
    """Products with another one's title: variants without group_id, or the same product under two ids."""
    titles = tables["products"].frame.select(pl.col("title").str.strip_chars().str.to_lowercase().hash().alias("title"))
    several = titles.group_by("title").len().filter(pl.col("len") > 1)
    rows = several.select(pl.col("len").sum()).collect(engine="streaming").item()
    return [Reference("products", "title of another product, too", int(rows or 0), size(titles))]


def same_queries(tables: Tables) -> list[Reference]:
    """Queries with another one's text."""
    texts = tables["queries"].frame.select(pl.col("query").str.strip_chars().str.to_lowercase())
    several = texts.group_by("query").len().filter(pl.col("len") > 1)
    rows = several.select(pl.col("len").sum()).collect(engine="streaming").item()
    return [Reference("queries", "text of another query, too", int(rows or 0), size(texts))]


def judged_twice(tables: Tables) -> list[Reference]:
    """Pairs judged several times, and those whose grades differ; training takes their mean."""
    pairs = (
        tables["judgments"]
        .frame.group_by("query_id", "product_id")
        .agg(pl.len(), pl.col("grade").n_unique().alias("grades"))
    )
    several, differ, of = (
        pairs.select((pl.col("len") > 1).sum(), (pl.col("grades") > 1).sum().alias("differ"), pl.len().alias("of"))
        .collect(engine="streaming")
        .row(0)
    )
    return [
        Reference("judgments", "pair judged several times", several, of),
        Reference("judgments", "pair with several grades", differ, of),
    ]


def shared_orders(tables: Tables) -> list[Reference]:
    """Orders of several users."""
    if "order_id" in tables["events"].absent:
        return []
    held = tables["events"].frame.filter(pl.col("order_id").is_not_null(), pl.col("user_id").is_not_null())
    owners = held.group_by("order_id").agg(pl.col("user_id").n_unique())
    several, of = owners.select((pl.col("user_id") > 1).sum(), pl.len().alias("of")).collect(engine="streaming").row(0)
    return [Reference("events", "order of several users", several, of)]


COUNTED: dict[str, Callable[[Tables], list[Reference]]] = {
    "products": same_titles,
    "queries": same_queries,
    "judgments": judged_twice,
    "events": shared_orders,
}
"""By table what else is counted."""


def size(frame: pl.LazyFrame) -> int:
    """Rows of a lazy frame."""
    return int(frame.select(pl.len()).collect(engine="streaming").item())
