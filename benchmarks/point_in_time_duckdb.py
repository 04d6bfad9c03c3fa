"""The peer in SQL, as good as we could make it: running sums over events and probes in one sort for each entity.

The plain way, a range join of rows and events with filtered aggregates, meets a popular product's whole history for
each of its rows. Ids are numbered first, so that sorts see integers; events nobody asks about are left out by the same
join. Late events, one in a hundred, are joined by range.
"""

from pathlib import Path

import polars as pl

from benchmarks.point_in_time import DAY_US, ID

HOUR_US = 3_600_000_000
EDGES = {
    "now": "t",
    "all": "-1",
    "d1": f"((t - {DAY_US}) // {HOUR_US}) * {HOUR_US}",
    "d7": f"((t - {7 * DAY_US}) // {DAY_US}) * {DAY_US}",
    "d28": f"((t - {28 * DAY_US}) // {DAY_US}) * {DAY_US}",
}
"""By window the instant before which an event no longer counts."""
MEASURES = {
    "view": "(event_type = 'view')::INT",
    "cart": "(event_type = 'add_to_cart')::INT",
    "buy": "(event_type = 'purchase')::INT",
    "spent": "CASE WHEN event_type = 'purchase' THEN round(price * 1000000)::BIGINT ELSE 0 END",
}
LASTS = {"view": "view", "buy": "purchase"}
ASKED = (
    *(("view", "views", window) for window in ("d1", "d7", "d28", "all")),
    *(("cart", "cart_additions", window) for window in ("d1", "d7", "d28")),
    *(("buy", "purchases", window) for window in ("d7", "d28", "all")),
)
SUFFIX = {"d1": "1d", "d7": "7d", "d28": "28d", "all": "all"}


def duckdb_features(folder: Path) -> pl.DataFrame:
    """The features by DuckDB, in the order of the rows."""
    import duckdb

    with duckdb.connect() as base:
        base.execute("SET preserve_insertion_order = false; SET TimeZone = 'UTC'")
        base.execute(f"SET temp_directory = '{folder / 'spill'}'; SET memory_limit = '12GB'")
        base.execute(
            "CREATE TABLE rows AS SELECT file_row_number AS row, user_id, product_id, epoch_us(timestamp) AS t "
            f"FROM read_parquet('{folder / 'rows.parquet'}', file_row_number = true)"
        )
        base.execute(
            "CREATE VIEW events AS SELECT user_id, product_id, event_type, price, epoch_us(timestamp) AS ts, "
            f"epoch_us(known_at) AS known FROM read_parquet('{folder / 'events'}/*.parquet') "
            "WHERE event_type IN ('view', 'add_to_cart', 'purchase')"
        )
        base.execute(priors())
        for entity in ID:
            for statement in of_entity(entity):
                base.execute(statement)
        columns = [f"{entity}_features.* EXCLUDE (row)" for entity in ID]
        query = f"SELECT {', '.join(columns)} FROM user_features JOIN product_features USING (row) ORDER BY row"
        base.execute("SET preserve_insertion_order = true")
        return pl.DataFrame(pl.from_arrow(base.sql(query).to_arrow_table()))


def priors() -> str:
    """By day the shop's sums over what was known before its midnight."""
    sums = ", ".join(f"sum({MEASURES[name]}) AS {name}" for name in ("view", "cart", "buy"))
    running = ", ".join(f"sum({name}) OVER (ORDER BY day) AS {name}" for name in ("view", "cart", "buy"))
    return (
        f"CREATE TABLE priors AS SELECT day + 1 AS day, {running} FROM "
        f"(SELECT greatest(ts + 1, known) // {DAY_US} AS day, {sums} FROM events GROUP BY 1)"
    )


def of_entity(entity: str) -> list[str]:
    """The statements that make the table ENTITY_features."""
    measures = ", ".join(f"{expression} AS {name}" for name, expression in MEASURES.items())
    probes = " UNION ALL ".join(
        f"SELECT key, {edge} AS moment, 0 AS turn, row, '{name}' AS edge FROM asked"
        for name, edge in EDGES.items()
        if name != "all"
    )
    sums = ", ".join(f"sum({name}) OVER line AS {name}" for name in MEASURES)
    lasts = ", ".join(f"max(CASE WHEN {name} = 1 THEN moment END) OVER line AS last_{name}" for name in LASTS)
    return [
        f"CREATE OR REPLACE TEMP TABLE keys AS SELECT {ID[entity]} AS id, row_number() OVER ()::INT AS key "
        f"FROM (SELECT DISTINCT {ID[entity]} FROM rows)",
        f"CREATE OR REPLACE TEMP TABLE asked AS SELECT row, key, t FROM rows JOIN keys ON id = {ID[entity]}",
        f"CREATE OR REPLACE TEMP TABLE own AS SELECT key, ts, known, {measures} "
        f"FROM events JOIN keys ON id = {ID[entity]}",
        f"""CREATE OR REPLACE TEMP TABLE running AS
        SELECT row, edge, {", ".join(MEASURES)}, last_view, last_buy FROM (
            SELECT row, edge, turn, {sums}, {lasts} FROM (
                SELECT key, ts AS moment, 1 AS turn, NULL AS row, NULL AS edge, {", ".join(MEASURES)}
                FROM own WHERE known <= ts
                UNION ALL SELECT *, {", ".join("0" for _ in MEASURES)} FROM ({probes})
            ) WINDOW line AS (PARTITION BY key ORDER BY moment, turn ROWS UNBOUNDED PRECEDING)
        ) WHERE turn = 0""",
        late_table(),
        f"CREATE TABLE {entity}_features AS {answer(entity)}",
    ]


def late_table() -> str:
    """What late events add to each row."""
    totals = ", ".join(
        f"sum({name}) FILTER (ts >= {EDGES[window]}) AS {name}_{window}"
        for name in MEASURES
        for window in ("all", "d1", "d7", "d28")
    )
    lasts = ", ".join(f"max(ts) FILTER ({name} = 1) AS last_{name}" for name in LASTS)
    return (
        f"CREATE OR REPLACE TEMP TABLE late AS SELECT row, {totals}, {lasts} FROM asked JOIN "
        "(SELECT * FROM own WHERE known > ts) USING (key) WHERE known <= t GROUP BY row"
    )


def answer(entity: str) -> str:
    """The fifteen columns of an entity."""

    def total(name: str, window: str) -> str:
        before = "0" if window == "all" else f"coalesce({window}.{name}, 0)"
        return f"(coalesce(now.{name}, 0) - {before} + coalesce(late.{name}_{window}, 0))"

    columns = [f"{total(name, window)}::FLOAT AS {entity}_{word}_{SUFFIX[window]}" for name, word, window in ASKED]
    columns.append(f"({total('spent', 'd28')} / 1000000)::FLOAT AS {entity}_spent_28d")
    for name, word in (("buy", "purchase"), ("cart", "cart")):
        prior = f"coalesce(priors.{name} / priors.view, 0)"
        rate = f"({total(name, 'd28')} + 20 * {prior}) / ({total('view', 'd28')} + 20)"
        columns.append(f"({rate})::FLOAT AS {entity}_{word}_rate")
    for name, word in LASTS.items():
        last = f"greatest(now.last_{name}, late.last_{name})"
        columns.append(f"((t - {last}) / {DAY_US}.0)::FLOAT AS {entity}_days_since_{word}")
    edges = " ".join(
        f"JOIN (SELECT * FROM running WHERE edge = '{name}') AS {name} ON {name}.row = asked.row"
        for name in EDGES
        if name != "all"
    )
    return (
        f"SELECT asked.row, {', '.join(columns)} FROM asked {edges} LEFT JOIN late ON late.row = asked.row "
        f"ASOF LEFT JOIN priors ON t // {DAY_US} >= priors.day"
    )
