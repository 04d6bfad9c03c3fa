"""The peer in pandas, as good as we could make it: ids read as categories, one sort and grouped running sums.

`merge_asof`, the plain way, wants a sort by time alone and a search by key for each window; here one stable sort of
events and probes together, and cumulative sums over it, answer all windows.
"""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.point_in_time import DAY_US, FEATURES, ID

HOUR_US = 3_600_000_000
WINDOWS = {"1d": (DAY_US, HOUR_US), "7d": (7 * DAY_US, DAY_US), "28d": (28 * DAY_US, DAY_US)}
KINDS = {"views": "view", "cart_additions": "add_to_cart", "purchases": "purchase"}
COLUMNS = [*KINDS, "spent"]


def pandas_features(folder: Path) -> pl.DataFrame:
    """The features by pandas, in the order of the rows."""
    import pandas as pd
    import pyarrow.parquet as pq

    kinds = [("event_type", "in", list(KINDS.values()))]
    read = {"read_dictionary": [*ID.values(), "event_type"], "filters": kinds}
    events = pq.read_table(folder / "events", **read).to_pandas(self_destruct=True)
    for name in ("timestamp", "known_at"):
        events[name] = microseconds(events[name])
    rows = pd.read_parquet(folder / "rows.parquet")
    asked = microseconds(rows["timestamp"])
    prior = priors(events, asked)
    found: dict[str, Any] = {}
    for entity, column in ID.items():
        keys = pd.Index(rows[column].unique())
        categories = keys.get_indexer(events[column].cat.categories)
        codes = categories[events[column].cat.codes]
        found |= of_entity(entity, events, codes, asked=asked, key=keys.get_indexer(rows[column]), prior=prior)
    return pl.DataFrame({feature.name: found[feature.name].astype(np.float32) for feature in FEATURES})


def microseconds(times: Any) -> Any:
    """int64 [n]: since 1970."""
    return times.dt.as_unit("us").astype("int64").to_numpy()


def priors(events: Any, asked: Any) -> dict[str, Any]:
    """By rate the shop's ratio over what was known before each row's midnight."""
    day = np.maximum(events["timestamp"] + 1, events["known_at"]) // DAY_US
    counts = events.groupby([day, "event_type"], observed=False).size().unstack().cumsum()
    before = np.searchsorted(counts.index.to_numpy(), asked // DAY_US)
    known = {name: np.concatenate([[0], counts[kind].to_numpy()])[before] for name, kind in KINDS.items()}
    views = known["views"]
    return {
        name: np.divide(known[name], views, out=np.zeros(len(asked)), where=views > 0)
        for name in ("purchases", "cart_additions")
    }


def of_entity(entity: str, events: Any, codes: Any, *, asked: Any, key: Any, prior: dict[str, Any]) -> dict[str, Any]:
    """The fifteen features of one entity."""
    import pandas as pd

    chosen = codes >= 0
    own = pd.DataFrame({"key": codes[chosen], "at": events["timestamp"].to_numpy()[chosen]})
    for name, kind in KINDS.items():
        own[name] = (events["event_type"] == kind).to_numpy()[chosen].astype(np.int64)
    micros = np.round(events["price"].to_numpy()[chosen] * 1e6).astype(np.int64)
    own["spent"] = own["purchases"] * micros
    own["known"] = events["known_at"].to_numpy()[chosen]
    late = own["known"] > own["at"]
    edges = {"now": asked} | {name: (asked - length) // hop * hop for name, (length, hop) in WINDOWS.items()}
    running = running_sums(own[~late], edges=edges, key=key)
    added = late_sums(own[late], edges=edges, key=key)
    found = {}

    def total(name: str, window: str) -> Any:
        before = 0 if window == "all" else running[window][name]
        return running["now"][name] - before + added[window][name]

    for name, windows in (("views", "1d 7d 28d all"), ("cart_additions", "1d 7d 28d"), ("purchases", "7d 28d all")):
        for window in windows.split():
            found[f"{entity}_{name}_{window}"] = total(name, window)
    found[f"{entity}_spent_28d"] = total("spent", "28d") / 1e6
    for name, word in (("purchases", "purchase"), ("cart_additions", "cart")):
        found[f"{entity}_{word}_rate"] = (total(name, "28d") + 20 * prior[name]) / (total("views", "28d") + 20)
    for name, word in (("views", "view"), ("purchases", "purchase")):
        last = np.fmax(running["now"][f"last {name}"], added["last"][name])
        found[f"{entity}_days_since_{word}"] = (asked - last) / DAY_US
    return found


def running_sums(own: Any, *, edges: dict[str, Any], key: Any) -> dict[str, Any]:
    """By edge the sums up to it, out of one sort of events and probes."""
    import pandas as pd

    probes = [
        pd.DataFrame({"key": key, "at": at, "probe": np.arange(len(key)) + number * len(key)})
        for number, at in enumerate(edges.values())
    ]
    own = own.drop(columns="known")
    for name in ("views", "purchases"):
        own[f"last {name}"] = np.where(own[name] > 0, own["at"], np.nan)
    # probes stand first, and the sort is stable: an event at the very instant comes after it
    line = pd.concat([*probes, own], ignore_index=True)
    line = line.sort_values(["key", "at"], kind="stable", ignore_index=True)
    grouped = line.groupby("key", sort=False)
    line[COLUMNS] = line[COLUMNS].fillna(0).groupby(line["key"], sort=False).cumsum()
    for name in ("views", "purchases"):
        line[f"last {name}"] = grouped[f"last {name}"].ffill()
    line = line[line["probe"].notna()].sort_values("probe")
    rows = len(key)
    return {
        name: {one: line[one].to_numpy()[number * rows : (number + 1) * rows] for one in line.columns}
        for number, name in enumerate(edges)
    }


def late_sums(late: Any, *, edges: dict[str, Any], key: Any) -> dict[str, Any]:
    """By window what late events add, and the last instants among them."""
    import pandas as pd

    rows = pd.DataFrame({"key": key, "row": np.arange(len(key)), "t": edges["now"]})
    met = rows.merge(late, on="key")
    met = met[met["known"] <= met["t"]]
    lower = {"all": None} | {name: edges[name] for name in WINDOWS}
    added: dict[str, Any] = {}
    for window, edge in lower.items():
        inside = met if edge is None else met[met["at"].to_numpy() >= edge[met["row"].to_numpy()]]
        added[window] = {name: np.bincount(inside["row"], weights=inside[name], minlength=len(key)) for name in COLUMNS}
    added["last"] = {}
    for name in ("views", "purchases"):
        last = met[met[name] > 0].groupby("row")["at"].max()
        added["last"][name] = last.reindex(np.arange(len(key))).to_numpy(dtype=np.float64)
    return added
