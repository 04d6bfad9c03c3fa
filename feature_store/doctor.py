"""What a shop's data can support, tier by tier: words alone, what sells, what goes together, what this person likes."""

from dataclasses import dataclass

import polars as pl

from feature_store.validate import CleanShop

INTEREST = ("view", "click", "add_to_cart", "purchase")
MIN_PRODUCTS = 1
MIN_EVENTS = 100  # below, a popularity list is a handful of accidents
MIN_BASKETS = 200  # users, sessions or orders with two products; fewer give almost no pair twice
MIN_HISTORIES = 500  # users with three events: one each for history, validation and test
MIN_JUDGED = 50  # queries with two different grades; intervals over fewer are wider than any gain
WANTED = {"description": 0.5, "brand": 0.5, "category": 0.5, "price": 0.9, "attributes": 0.5}


@dataclass(frozen=True)
class Tier:
    """One tier of what the engine can do for the shop.

    Attributes:
        name: "lexical", "relevance", "popularity", "behavioural" or "personalised".
        supported: whether the data suffices.
        found: the count that decides.
        needed: the least count.
        counted: what was counted, in words.
        gives: what the shop gets with it.
    """

    name: str
    supported: bool
    found: int
    needed: int
    counted: str
    gives: str

    @property
    def missing(self) -> int:
        """How many are missing, 0 where the data suffices."""
        return max(0, self.needed - self.found)


def examine(clean: CleanShop) -> list[Tier]:
    """All tiers, from the least demanding to the most."""
    products = int(clean.tables["products"].frame.select(pl.len()).collect().item())
    events = interest(clean)
    interactions = count(events, pl.len())
    return [
        tier("lexical", products, MIN_PRODUCTS, "products with a title", "search, similar products"),
        tier("relevance", judged_queries(clean), MIN_JUDGED, "queries with several grades", "a trained search ranking"),
        tier("popularity", interactions, MIN_EVENTS, "views, clicks, carts, purchases", "what sells, by segment"),
        tier("behavioural", baskets(events), MIN_BASKETS, "users with two products", "item-kNN, ALS, BPR"),
        tier("personalised", histories(events), MIN_HISTORIES, "users with three events", "a trained two-tower"),
    ]


def tier(name: str, found: int, needed: int, counted: str, gives: str) -> Tier:
    """A tier by its count."""
    return Tier(name, found >= needed, found, needed, counted, gives)


def highest(tiers: list[Tier]) -> str:
    """The most demanding tier of recommendations that is supported without a gap below it."""
    ladder = [one for one in tiers if one.name != "relevance"]
    reached = "none"
    for one in ladder:
        if not one.supported:
            break
        reached = one.name
    return reached


def advice(clean: CleanShop) -> list[str]:
    """What would help, one sentence each; empty where nothing is lacking."""
    products = clean.tables["products"].frame
    shares = (pl.col(name).is_not_null().mean().fill_null(0.0) for name in WANTED)  # 0 where no product is known yet
    filled = products.select(shares).collect().row(0, named=True)
    lines = [
        f"products: {name} is filled for {filled[name]:.0%}; search and filters want {least:.0%}"
        for name, least in WANTED.items()
        if filled[name] < least
    ]
    if "events" not in clean.tables:
        lines.append("no events: recommendations have nothing but the products' texts")
    elif clean.config.timestamps == "order":
        lines.append("timestamps only order: no popularity by date, no age, no time split")
    if "judgments" not in clean.tables:
        lines.append("no judgments: relevance can't be trained or measured on graded pairs")
    elif clean.config.judgments.max_grade is None:
        lines.append(f"judgments.max_grade is not set: the highest grade found, {clean.max_grade:g}, is taken for it")
    if without := clean.counts.get("events_without_user", 0):
        lines.append(f"{without} events have no user: kept for what goes together, never recommended to")
    return lines


def interest(clean: CleanShop) -> pl.LazyFrame | None:
    """The events that count as interest, None where the shop has no events."""
    if "events" not in clean.tables:
        return None
    return clean.tables["events"].frame.filter(pl.col("event_type").is_in(INTEREST))


def count(events: pl.LazyFrame | None, expression: pl.Expr) -> int:
    """One number over the events, 0 without any."""
    return 0 if events is None else int(events.select(expression).collect(engine="streaming").item())


def baskets(events: pl.LazyFrame | None) -> int:
    """Users with two different products."""
    if events is None:
        return 0
    owned = events.filter(pl.col("user_id").is_not_null()).group_by("user_id").agg(pl.col("product_id").n_unique())
    return count(owned, (pl.col("product_id") >= 2).sum())


def histories(events: pl.LazyFrame | None) -> int:
    """Users with three events."""
    if events is None:
        return 0
    owned = events.filter(pl.col("user_id").is_not_null()).group_by("user_id").len()
    return count(owned, (pl.col("len") >= 3).sum())


def judged_queries(clean: CleanShop) -> int:
    """Queries whose judgments have at least two different grades."""
    if "judgments" not in clean.tables:
        return 0
    grades = clean.tables["judgments"].frame.group_by("query_id").agg(pl.col("grade").n_unique())
    return int(grades.select((pl.col("grade") >= 2).sum()).collect().item())
