"""UCI Online Retail, both editions: a gift wholesaler's invoice lines, in the United Kingdom.

An invoice number that starts with C is a cancellation; a line without customer is an anonymous one. Times are UK time.
Lines that move nothing out of stock (quantity 0 or less without a C, prices below 0) break the contract and are set
aside by it. Codes that are no goods, such as POSTAGE, are kept, marked by `service` and named in the notes.

Source: Chen, D. (2015), https://archive.ics.uci.edu/dataset/352/online+retail; Chen, D. (2019),
https://archive.ics.uci.edu/dataset/502/online+retail+ii ("Variables Information").
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from feature_store.faults import readable
from feature_store.sources.public_set import Converted, Download, PublicSet
from feature_store.sources.raw import need_columns, need_file, number, scan_text
from recsys.errors import MissingDependencyError, ShopError

FIRST = {
    "InvoiceNo": "invoice",
    "StockCode": "code",
    "Description": "description",
    "Quantity": "quantity",
    "InvoiceDate": "date",
    "UnitPrice": "price",
    "CustomerID": "customer",
    "Country": "country",
}
SECOND = {**FIRST, "Invoice": "invoice", "Price": "price", "Customer ID": "customer"}
GOODS = r"^\d{5}[A-Za-z]{0,3}$"
"""Stock codes are five digits, with letters for a variant."""
CLOCKS = ("%Y-%m-%d %H:%M:%S", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M")
"""How editions write the time: Excel's cells, UCI's own CSV, and what spreadsheets make of it in the UK."""
NAMED = 40


def convert(raw: Path, options: Mapping[str, str]) -> Converted:
    """The invoice lines of the first edition."""
    return shop_of(need_file(raw, "Online Retail.xlsx", "Online*Retail.xlsx", "*.csv"), columns=FIRST)


def convert_second(raw: Path, options: Mapping[str, str]) -> Converted:
    """The invoice lines of the second edition, which holds the first one."""
    return shop_of(need_file(raw, "online_retail_II.xlsx", "online_retail*.xlsx", "*.csv"), columns=SECOND)


def shop_of(file: Path, *, columns: Mapping[str, str]) -> Converted:
    """Products, users and events out of invoice lines."""
    sheets = read_sheets(file) if file.suffix == ".xlsx" else [scan_text(file)]
    lines = timed(pl.concat(one_after_the_other([typed(sheet, columns, file=file) for sheet in sheets])), file=file)
    goods = products(lines)
    with readable(file):
        services = goods.filter("service").select("product_id", "title").sort("product_id").collect()
    names = [f"{code} ({title})" if title else code for code, title in services.head(NAMED).iter_rows()]
    return Converted(
        tables={"products": goods, "users": users(lines), "events": events(lines)},
        files=(file,),
        currency="GBP",
        notes=(
            "invoices that start with C are cancels; times are UK time, written in UTC",
            f"{services.height} codes are no goods, kept and marked `service`: {', '.join(names) or 'none'}",
        ),
    )


def read_sheets(file: Path) -> list[pl.LazyFrame]:
    """Every sheet of an Excel file as text, in their order.

    Raises:
        MissingDependencyError: the reader of Excel files is not installed.
        ShopError: the file is truncated, damaged or no Excel file.
    """
    if find_spec("fastexcel") is None:
        raise MissingDependencyError(
            f"{file} is an Excel file", expected="fastexcel to read it", action="pip install 'shoprank[excel]'"
        )
    from fastexcel import FastExcelError

    try:
        with readable(file):
            sheets = pl.read_excel(file, sheet_id=0, engine="calamine", read_options={"dtypes": "string"})
    except FastExcelError as error:
        raise ShopError(
            f"{file} can't be read: {str(error).splitlines()[0]}",
            expected="a whole Excel file",
            action="download it again",
        ) from error
    return [frame.lazy() for frame in sheets.values()]


def typed(sheet: pl.LazyFrame, columns: Mapping[str, str], *, file: Path) -> pl.LazyFrame:
    """One sheet in columns of one name for both editions."""
    sheet = sheet.rename(dict(columns), strict=False)
    return need_columns(sheet, dict.fromkeys(columns.values()), file=file).select(
        pl.col("invoice", "code").str.strip_chars().str.replace(r"\.0$", ""),
        pl.col("description", "country").str.strip_chars().replace("", None),
        number("quantity"),
        number("price"),
        pl.col("date").str.strip_chars(),
        pl.col("customer").str.strip_chars().str.replace(r"\.0$", "").replace("", None),
    )


def one_after_the_other(sheets: Sequence[pl.LazyFrame]) -> list[pl.LazyFrame]:
    """The sheets without what the next repeats: both of the second edition hold the same days in December."""
    kept: list[pl.LazyFrame] = []
    begins: str | None = None
    for sheet in reversed(sheets):
        kept.append(sheet if begins is None else sheet.filter(pl.col("date") < begins))
        if len(kept) < len(sheets):
            begins = sheet.select(pl.col("date").min()).collect().item()
    return kept[::-1]


def timed(lines: pl.LazyFrame, *, file: Path) -> pl.LazyFrame:
    """Add `timestamp` in UTC, by whichever way of writing reads most of the dates."""
    with readable(file):
        read = lines.select(
            pl.col("date").str.to_datetime(clock, strict=False).is_not_null().sum().alias(clock) for clock in CLOCKS
        ).collect(engine="streaming")
    best = max(CLOCKS, key=lambda clock: (read[clock].item(), -CLOCKS.index(clock)))
    local = pl.col("date").str.to_datetime(best, strict=False, time_unit="us")
    utc = local.dt.replace_time_zone("Europe/London", ambiguous="earliest", non_existent="null")
    return lines.with_columns(utc.dt.convert_time_zone("UTC").alias("timestamp"))


def products(lines: pl.LazyFrame) -> pl.LazyFrame:
    """Each code once: the description that sales bear most often, and the newest price above 0."""
    sold = pl.col("price") > 0
    texts = (
        lines.filter(pl.col("description").is_not_null())
        .group_by("code", "description")
        .agg(sold.sum().alias("sold"), pl.len())
        .sort(["code", "sold", "len", "description"], descending=[False, True, True, False])
        .unique("code", keep="first", maintain_order=True)
        .select("code", "description")
    )
    newest = pl.col("price").filter(sold).sort_by(pl.col("timestamp").filter(sold), pl.col("price").filter(sold)).last()
    priced = lines.filter(pl.col("code").is_not_null()).group_by("code").agg(newest)
    return (
        priced.join(texts, on="code", how="left")
        .sort("code")
        .select(
            pl.col("code").alias("product_id"),
            pl.col("description").alias("title"),
            "price",
            (~pl.col("code").str.contains(GOODS)).alias("service"),
        )
    )


def users(lines: pl.LazyFrame) -> pl.LazyFrame:
    """Each customer with the country that stands on most of their lines."""
    known = lines.filter(pl.col("customer").is_not_null()).group_by("customer", "country").len()
    first = known.sort(["customer", "len", "country"], descending=[False, True, False]).unique(
        "customer", keep="first", maintain_order=True
    )
    return first.select(pl.col("customer").alias("user_id"), "country")


def events(lines: pl.LazyFrame) -> pl.LazyFrame:
    """Every line, in the order of the file; a cancel's quantity is what came back."""
    cancelled = pl.col("invoice").str.starts_with("C")
    return lines.select(
        pl.col("customer").alias("user_id"),
        pl.col("code").alias("product_id"),
        "timestamp",
        pl.when(cancelled).then(pl.lit("cancel")).otherwise(pl.lit("purchase")).alias("event_type"),
        pl.col("invoice").alias("order_id"),
        pl.when(cancelled).then(pl.col("quantity").abs()).otherwise(pl.col("quantity")).alias("quantity"),
        "price",
        "country",
    )


UCI = "https://archive.ics.uci.edu"
ONLINE_RETAIL = PublicSet(
    name="online-retail",
    title="UCI Online Retail",
    licence="CC BY 4.0",
    link=f"{UCI}/dataset/352/online+retail",
    documentation=f"{UCI}/dataset/352/online+retail",
    instructions="`recsys import online-retail RAW --download`, or unpack its archive: `Online Retail.xlsx`",
    convert=convert,
    downloads=(Download(url=f"{UCI}/static/public/352/online+retail.zip", file="online+retail.zip"),),
)
ONLINE_RETAIL_II = PublicSet(
    name="online-retail-ii",
    title="UCI Online Retail II",
    licence="CC BY 4.0",
    link=f"{UCI}/dataset/502/online+retail+ii",
    documentation=f"{UCI}/dataset/502/online+retail+ii",
    instructions="`recsys import online-retail-ii RAW --download`, or unpack its archive: `online_retail_II.xlsx`",
    convert=convert_second,
    downloads=(Download(url=f"{UCI}/static/public/502/online+retail+ii.zip", file="online+retail+ii.zip"),),
)
