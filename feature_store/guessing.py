"""Which of a shop's own columns and event types are meant by the contract's: by name, and by whether the values fit."""

import re
from collections.abc import Iterable

import polars as pl

from feature_store.casting import cast
from feature_store.contracts import contract_columns
from feature_store.readers import RawTable
from recsys.types import EventType

PROBED, FITTING = 1_000, 0.9
"""A column fits where so large a share of its first values can be read as the contract's type."""
PRODUCT_ID = (
    "itemid sku_id articleid article_id asin parent_asin productcode stockcode item_id product item movieid code"
)
USER_ID = (
    "customerid customer_id visitorid visitor_id userid clientid client_id reviewerid memberid customer user shopper"
)
QUERY_ID = "qid queryid search_id searchid"
QUERY = "query_text querytext search_term searchterm search_query keyword keywords term text q search"
NAMES: dict[str, dict[str, str]] = {
    "products": {
        "product_id": f"{PRODUCT_ID} id",
        "title": "name product_name productname product_title item_name prod_name headline label",
        "description": "product_description long_description detail_desc details body text",
        "brand": "manufacturer maker vendor brand_name product_brand store",
        "category": "category_path categories category_name product_type department producttype",
        "price": "unit_price unitprice sale_price list_price amount price_eur price_usd price_gbp",
        "currency": "currency_code price_currency",
        "in_stock": "available availability instock is_available stock",
        "image_url": "image img imageurl picture image_link imurl",
        "attributes": "features specs properties",
        "group_id": "parent_id item_group_id variant_of product_code parent_sku",
        "gtin": "ean upc barcode isbn",
        "rating": "average_rating avg_rating stars",
        "rating_count": "rating_number num_ratings review_count reviews",
        "seller": "merchant",
    },
    "users": {
        "user_id": f"{USER_ID} id",
        "segment": "customer_segment club_member_status tier group",
        "country": "country_code",
        "created_at": "signup_date registered_at created registration_date",
    },
    "events": {
        "user_id": USER_ID,
        "product_id": PRODUCT_ID,
        "timestamp": "time ts event_time datetime date occurred_at t_dat invoicedate order_date unixreviewtime",
        "event_type": "event type action event_name behavior behaviour",
        "quantity": "qty units count amount",
        "price": "unit_price unitprice item_price",
        "order_id": "orderid transactionid transaction_id invoiceno invoice basket_id",
        "session_id": "session sessionid user_session",
        "query": QUERY,
        "value": "rating stars score",
    },
    "queries": {"query_id": f"{QUERY_ID} id", "query": QUERY},
    "judgments": {
        "query_id": QUERY_ID,
        "product_id": PRODUCT_ID,
        "grade": "relevance label rating score gain judgment judgement median_relevance",
    },
}
"""By table and column what other shops call it, the most telling name first."""
EVENTS: dict[str, str] = {
    "impression": "impression impressions shown exposure display",
    "view": "view pageview page_view product_view detail_view pdp_view view_item pv detail visit",
    "click": "click clicks product_click select_item",
    "search": "search query site_search view_search_results",
    "add_to_cart": "add_to_cart addtocart cart add_cart basket add_to_basket addtobasket atc add",
    "remove_from_cart": "remove_from_cart removefromcart remove_cart remove remove_from_basket",
    "purchase": "purchase purchased buy bought order ordered transaction checkout sale conversion paid",
    "cancel": "cancel cancelled canceled refund refunded return returned",
}


def plain(name: str) -> str:
    """A name in small letters without anything but letters and digits."""
    return re.sub(r"[^a-z0-9]+", "", name.lower())


def guess_columns(raw: RawTable) -> dict[str, str]:
    """The contract's columns that the table lacks by name, each with the shop's own that fits, each once."""
    wanted, known = contract_columns(raw.name), NAMES[raw.name]
    free = {plain(name): name for name in reversed(list(raw.columns)) if name not in wanted}
    found: dict[str, str] = {}
    for ours in known:
        if ours in raw.columns:
            continue
        for theirs in (ours, *known[ours].split()):
            column = free.get(plain(theirs))
            if column is not None and fits(raw, column, wanted[ours]):
                found[ours] = column
                del free[plain(theirs)]
                break
    return found


def fits(raw: RawTable, column: str, wanted: pl.DataType) -> bool:
    """True where the column's first values can be read as the type, numbers as timestamps too: they may order."""
    if isinstance(wanted, pl.Enum):
        return True
    one = cast(column, stored=raw.columns[column], wanted=wanted, timezone="UTC", order=True)
    given, lost = (
        raw.frame.head(PROBED)
        .select(pl.col(column).is_not_null().sum().alias("given"), one.problem.is_not_null().sum().alias("lost"))
        .collect()
        .row(0)
    )
    return bool(given and lost <= (1 - FITTING) * given)


def guess_event_types(names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """What the shop's event types mean.

    Args:
        names: as they stand in the events.

    Returns:
        The contract's type by the shop's own name, where they differ; and the names that nothing is known of.
    """
    known = {plain(theirs): ours for ours, others in EVENTS.items() for theirs in (ours, *others.split())}
    ours = {kind.value for kind in EventType}
    found = {name: known[plain(name)] for name in names if name not in ours and plain(name) in known}
    return found, [name for name in names if name not in ours and name not in found]
