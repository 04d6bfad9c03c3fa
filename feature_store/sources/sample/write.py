"""Write the sample shop as a folder of Parquet tables, in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

from feature_store.sources.sample.events import SCHEMA as EVENTS
from feature_store.sources.sample.events import event_frames
from feature_store.sources.sample.judgments import judgment_frame
from feature_store.sources.sample.products import SCHEMA as PRODUCTS
from feature_store.sources.sample.products import product_frame
from feature_store.sources.sample.queries import make_queries
from feature_store.sources.sample.relevance import MAX_GRADE
from feature_store.sources.sample.users import SCHEMA as USERS
from feature_store.sources.sample.users import user_frame
from feature_store.sources.sample.words import CURRENCY
from feature_store.sources.sample.world import World, all_codes, spans
from recsys.errors import UsageError

ROW_GROUP = 131_072
SETTINGS = f"""name = "sample"
currency = "{CURRENCY}"

[judgments]
max_grade = {MAX_GRADE}
"""


@dataclass(frozen=True, slots=True)
class SampleReport:
    """What was written.

    Attributes:
        folder: the shop folder.
        rows: rows by table.
        seed: the seed that gives the same bytes again.
    """

    folder: Path
    rows: dict[str, int]
    seed: int


def write_sample(out: Path, *, products: int = 3000, users: int = 2000, seed: int = 0) -> SampleReport:
    """Write a made-up shop; the same arguments give the same bytes.

    Args:
        out: a folder; made where it is missing, its tables are replaced.
        products: how many products, at least 48.
        users: how many users, at least 1.
        seed: what decides everything else.

    Raises:
        UsageError: a number is too small.
    """
    if products < 48 or users < 1 or seed < 0:
        raise UsageError(
            f"{products} products, {users} users, seed {seed}",
            expected="at least 48 products, 1 user and a seed of 0 or more",
            action="choose larger numbers",
        )
    world = World(products=products, users=users, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    (out / "shop.toml").write_text(SETTINGS, encoding="utf-8")
    codes, queries = all_codes(world), make_queries(world)
    made = {
        "products": ((product_frame(world, run) for run in spans(world.products)), PRODUCTS),
        "users": ((user_frame(world, run) for run in spans(world.users)), USERS),
        "events": (event_frames(world, queries, codes), EVENTS),
    }
    rows = {name: stream(frames, schema, out / f"{name}.parquet") for name, (frames, schema) in made.items()}
    for name, frame in {"queries": queries.frame(), "judgments": judgment_frame(world, queries, codes)}.items():
        frame.write_parquet(out / f"{name}.parquet")
        rows[name] = frame.height
    return SampleReport(folder=out, rows=rows, seed=seed)


def stream(frames: Iterator[pl.DataFrame], schema: pl.Schema, path: Path) -> int:
    """Write the frames behind one another into one Parquet file, in row groups; give the number of rows."""
    count = 0

    def source(*_: Any) -> Iterator[pl.DataFrame]:
        nonlocal count
        for frame in frames:
            count += frame.height
            yield frame

    register_io_source(source, schema=schema).sink_parquet(path, row_group_size=ROW_GROUP)
    return count
