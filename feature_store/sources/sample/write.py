"""Write the sample shop as a folder of Parquet tables, in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

from feature_store.faults import writable
from feature_store.sources.sample.events import SCHEMA as EVENTS
from feature_store.sources.sample.events import USERS_AT_ONCE, event_frames
from feature_store.sources.sample.judgments import judgment_frame
from feature_store.sources.sample.pictures import write_pictures
from feature_store.sources.sample.products import product_frame, schema_of
from feature_store.sources.sample.queries import make_queries
from feature_store.sources.sample.relevance import MAX_GRADE
from feature_store.sources.sample.users import SCHEMA as USERS
from feature_store.sources.sample.users import user_frame
from feature_store.sources.sample.words import CURRENCY
from feature_store.sources.sample.world import CHUNK, World, all_codes, spans
from recsys.errors import UsageError
from recsys.logs import progress
from recsys.storage import atomic_folder, refuse_other_files

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


def write_sample(
    out: Path,
    *,
    products: int = 3000,
    users: int = 2000,
    seed: int = 0,
    images: bool = False,
    hide_colour: float = 0.0,
) -> SampleReport:
    """Write a made-up shop; the same arguments give the same bytes.

    Args:
        out: a folder that is new, empty or an older sample shop, which is replaced once the new one is whole.
        products: how many products, at least 48.
        users: how many users, at least 1.
        seed: what decides everything else.
        images: whether each product has a picture, a small PNG below `pictures/`, named in `image_url`.
        hide_colour: share of the coloured products whose title and attributes leave the colour out, 0 to 1; with
            pictures, only these show it.

    Raises:
        UsageError: a number is too small or too large, or the folder holds something else.
        StorageError: the disk is full.
        MissingDependencyError: pictures are asked for and Pillow is not installed.
    """
    if products < 48 or users < 1 or seed < 0:
        raise UsageError(
            f"{products} products, {users} users, seed {seed}",
            expected="at least 48 products, 1 user and a seed of 0 or more",
            action="choose larger numbers",
        )
    if not 0.0 <= hide_colour <= 1.0:
        raise UsageError(f"{hide_colour} of the colours hidden", expected="a share from 0 to 1", action="correct it")
    refuse_other_files(out, what="sample shop", older=is_sample)
    world = World(products=products, users=users, seed=seed, pictures=images, hidden=hide_colour)
    with writable(out), atomic_folder(out.resolve()) as folder:
        rows = write_tables(world, folder)
        (folder / "shop.toml").write_text(SETTINGS, encoding="utf-8")
    return SampleReport(folder=out, rows=rows, seed=seed)


def is_sample(folder: Path) -> bool:
    """True for a folder that a sample shop was written to."""
    settings = folder / "shop.toml"
    return settings.is_file() and settings.read_bytes() == SETTINGS.encode()


def write_tables(world: World, folder: Path) -> dict[str, int]:
    """Write all tables; give their rows by name."""
    codes, queries = all_codes(world), make_queries(world)
    runs = progress(spans(world.products), label="products", total=-(-world.products // CHUNK))
    parts = -(-world.users // USERS_AT_ONCE)
    made = {
        "products": ((product_frame(world, rows) for rows in runs), schema_of(world)),
        "users": ((user_frame(world, rows) for rows in spans(world.users)), USERS),
        "events": (progress(event_frames(world, queries, codes), label="events", total=parts), EVENTS),
    }
    rows = {name: stream(frames, schema, folder / f"{name}.parquet") for name, (frames, schema) in made.items()}
    for name, frame in {"queries": queries.frame(), "judgments": judgment_frame(world, queries, codes)}.items():
        frame.write_parquet(folder / f"{name}.parquet")
        rows[name] = frame.height
    if world.pictures:
        rows["pictures"] = write_pictures(world, folder)
    return rows


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
