"""The features that every shop with a calendar gets, as far as its tables hold what they need."""

from feature_store.point_in_time.definitions import (
    Age,
    Change,
    Distinct,
    Entity,
    Feature,
    Latest,
    Measure,
    Rate,
    Total,
    Window,
    days,
)

STRENGTH = 20.0
"""How many looks, views or purchases a shop-wide rate is worth."""


def events(*kinds: str, value: str = "one") -> Measure:
    """Events of some types."""
    return Measure("events", kinds, value)


IMPRESSIONS, LOOKS, CLICKS = events("impression"), events("impression", value="looked"), events("click")
VIEWS, CARTS, PURCHASES = events("view"), events("add_to_cart"), events("purchase")
CANCELS, SEARCHES = events("cancel"), events("search")
SPENT, UNITS = events("purchase", value="spent"), events("purchase", value="quantity")
PRICES, STOCK, GRADES = Measure("prices", value="price"), Measure("prices", value="stock"), Measure("judgments")
DAY_LONG, WEEK, MONTH, QUARTER = Window(hours=24), days(7), days(28), days(90)


def counts(entity: Entity, what: str, measure: Measure, *windows: Window | None) -> list[Feature]:
    """How many, over some windows; None is all that is known."""
    return [
        Feature(
            f"{entity}_{what}_{'all' if window is None else f'{window.hours // 24}d'}",
            entity,
            f"How many {what.replace('_', ' ')} there were " + ("so far." if window is None else f"in {window}."),
            Total(measure, window),
        )
        for window in windows
    ]


USER = [
    *counts("user", "views", VIEWS, DAY_LONG, WEEK, MONTH),
    *counts("user", "clicks", CLICKS, WEEK),
    *counts("user", "searches", SEARCHES, WEEK),
    *counts("user", "cart_additions", CARTS, DAY_LONG, MONTH),
    *counts("user", "purchases", PURCHASES, MONTH, QUARTER, None),
    *counts("user", "cancels", CANCELS, QUARTER),
    Feature("user_spent_90d", "user", "What the user spent in 90 days.", Total(SPENT, QUARTER)),
    Feature(
        "user_mean_price",
        "user",
        "What one unit cost that the user bought, on average so far.",
        Rate(SPENT, events("purchase", value="priced units"), None),
    ),
    Feature(
        "user_products_viewed_28d",
        "user",
        "How many different products the user viewed in 28 days.",
        Distinct(events("view", value="product"), MONTH),
    ),
    Feature(
        "user_purchase_rate_90d",
        "user",
        "Purchases per view in 90 days, drawn towards the shop's.",
        Rate(PURCHASES, VIEWS, QUARTER, strength=STRENGTH),
    ),
    Feature("user_days_since_first", "user", "Days since the user's first event.", Age(events(), "first")),
    Feature("user_days_since_view", "user", "Days since the user's last view.", Age(VIEWS)),
    Feature("user_days_since_purchase", "user", "Days since the user's last purchase.", Age(PURCHASES)),
]

PRODUCT = [
    *counts("product", "views", VIEWS, DAY_LONG, WEEK, MONTH),
    *counts("product", "clicks", CLICKS, WEEK, MONTH),
    *counts("product", "cart_additions", CARTS, WEEK, MONTH),
    *counts("product", "purchases", PURCHASES, DAY_LONG, WEEK, MONTH, QUARTER, None),
    Feature("product_units_28d", "product", "How many units were bought in 28 days.", Total(UNITS, MONTH)),
    Feature("product_revenue_28d", "product", "What the product brought in in 28 days.", Total(SPENT, MONTH)),
    Feature(
        "product_buyers_90d",
        "product",
        "How many different users bought it in 90 days.",
        Distinct(events("purchase", value="user"), QUARTER),
    ),
    Feature(
        "product_click_rate_28d",
        "product",
        "Clicks per look in 28 days: an impression counts as the chance that a shopper looks at its place.",
        Rate(CLICKS, LOOKS, MONTH, strength=STRENGTH),
    ),
    Feature(
        "product_cart_rate_28d",
        "product",
        "Cart additions per view in 28 days, drawn towards the shop's.",
        Rate(CARTS, VIEWS, MONTH, strength=STRENGTH),
    ),
    Feature(
        "product_purchase_rate_28d",
        "product",
        "Purchases per view in 28 days, drawn towards the shop's.",
        Rate(PURCHASES, VIEWS, MONTH, strength=STRENGTH),
    ),
    Feature(
        "product_cancel_rate_90d",
        "product",
        "Cancels per purchase in 90 days, drawn towards the shop's.",
        Rate(CANCELS, PURCHASES, QUARTER, strength=STRENGTH),
    ),
    Feature("product_days_since_first", "product", "Days since anyone first met the product.", Age(events(), "first")),
    Feature("product_days_since_purchase", "product", "Days since it was last bought.", Age(PURCHASES)),
    Feature("product_price", "product", "Its price (needs valid_from).", Latest(PRICES)),
    Feature("product_in_stock", "product", "1 in stock, 0 out of stock (needs valid_from).", Latest(STOCK)),
    Feature("product_price_change_7d", "product", "Its price now / 7 days before, less 1.", Change(PRICES, WEEK)),
    Feature("product_price_change_28d", "product", "Its price now / 28 days before, less 1.", Change(PRICES, MONTH)),
]

USER_PRODUCT = [
    *counts("user_product", "views", VIEWS, WEEK, None),
    *counts("user_product", "cart_additions", CARTS, MONTH),
    *counts("user_product", "purchases", PURCHASES, None),
    Feature("user_product_days_since_view", "user_product", "Days since this user viewed this product.", Age(VIEWS)),
    Feature(
        "user_product_days_since_purchase", "user_product", "Days since this user bought this product.", Age(PURCHASES)
    ),
]

QUERY = [
    *counts("query", "searches", SEARCHES, WEEK, MONTH),
    Feature(
        "query_click_rate_28d",
        "query",
        "Clicks per look on this query's lists in 28 days, drawn towards the shop's.",
        Rate(CLICKS, LOOKS, MONTH, strength=STRENGTH),
    ),
]

QUERY_PRODUCT = [
    *counts("query_product", "impressions", IMPRESSIONS, MONTH),
    *counts("query_product", "clicks", CLICKS, MONTH, None),
    *counts("query_product", "purchases", PURCHASES, QUARTER),
    Feature(
        "query_product_click_rate_90d",
        "query_product",
        "Clicks per look in 90 days: the click rate as if every place were looked at, drawn towards the shop's.",
        Rate(CLICKS, LOOKS, QUARTER, strength=STRENGTH),
    ),
    Feature(
        "query_product_weighted_clicks_90d",
        "query_product",
        "Clicks in 90 days, each divided by the chance that a shopper looks at its place (at most 20 each).",
        Total(events("click", value="click / looked"), QUARTER),
    ),
    Feature("query_product_days_since_click", "query_product", "Days since its last click here.", Age(CLICKS)),
    Feature(
        "query_product_grade",
        "query_product",
        "The mean grade so far (needs judged_at). Not for models that learn these grades.",
        Rate(Measure("judgments", value="grade"), GRADES, None),
    ),
]

FOLLOW = [
    *counts("follow", "views", Measure("follows"), MONTH, None),
]

DEFAULTS: tuple[Feature, ...] = (*USER, *PRODUCT, *USER_PRODUCT, *QUERY, *QUERY_PRODUCT, *FOLLOW)
