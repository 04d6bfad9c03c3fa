"""The users table, and the tastes behind it that no table shows."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store.sources.sample import draws, truth, words
from feature_store.sources.sample.draws import Keys, Reals
from feature_store.sources.sample.world import DAYS, START, World

SCHEMA = pl.Schema(
    [
        ("user_id", pl.String()),
        ("segment", pl.String()),
        ("locale", pl.String()),
        ("country", pl.String()),
        ("created_at", pl.Datetime("us", "UTC")),
    ]
)
DEPARTMENT_OF = np.array([words.DEPARTMENTS.index(kind.department) for kind in words.KINDS])
MOST_SESSIONS = 64


@dataclass(frozen=True, slots=True)
class Tastes:
    """What a run of users likes; the first axis is users.

    Attributes:
        segment: int64 [users], row of truth.SEGMENTS.
        kind: float64 [users, kinds of the world], how often each kind is looked for, before the season.
        style: int64 [users], the style liked best.
        brand: float64 [users, brands], about standard normal.
        family: float64 [users, colour families], about standard normal.
        tier: float64 [users], the price class liked, 0 to 2.
        joined: float64 [users], days after START; negative for those who were there before.
        sessions: int64 [users], how many sessions.
    """

    segment: Keys
    kind: Reals
    style: Keys
    brand: Reals
    family: Reals
    tier: Reals
    joined: Reals
    sessions: Keys


def user_ids(rows: Keys) -> NDArray[np.object_]:
    """The users' ids."""
    return np.array([f"U{number:07d}" for number in rows.tolist()], dtype=object)


def segments(world: World, rows: Keys) -> Keys:
    """Each user's segment."""
    shares = np.broadcast_to(np.array(truth.SEGMENT_SHARES), (len(rows), len(truth.SEGMENT_SHARES)))
    return draws.pick(shares, rows, seed=world.seed, stream="segment")


def joined(world: World, rows: Keys) -> Reals:
    """The day each user signed up, counted from START: half of them before it."""
    return np.floor((draws.uniform(rows, seed=world.seed, stream="joined") * 1.8 - 0.9) * DAYS)


def user_frame(world: World, rows: Keys) -> pl.DataFrame:
    """The users in the given rows, in the columns of SCHEMA; one in ten did not say where they live."""
    place = draws.whole(rows, below=len(words.LOCALES), seed=world.seed, stream="place")
    silent = draws.chance(0.1, rows, seed=world.seed, stream="silent")
    country = np.array([country for _, country in words.LOCALES], dtype=object)[place]
    frame = pl.DataFrame(
        {
            "user_id": user_ids(rows),
            "segment": np.array(list(truth.SEGMENTS), dtype=object)[segments(world, rows)],
            "locale": np.array([locale for locale, _ in words.LOCALES], dtype=object)[place],
            "country": [None if hidden else name for hidden, name in zip(silent, country, strict=True)],
            "days": joined(world, rows).astype(np.int64),
        },
        schema_overrides={"user_id": pl.String, "segment": pl.String, "locale": pl.String, "country": pl.String},
    )
    return frame.with_columns(created_at=pl.lit(START) + pl.duration(days="days")).select(SCHEMA.names()).cast(SCHEMA)


def tastes(world: World, rows: Keys) -> Tastes:
    """The tastes of the users in the given rows; each depends on the world and the user's own row alone."""
    seed = world.seed
    segment = segments(world, rows)

    def table(stream: str, columns: int) -> Reals:
        return draws.normal(rows[:, None] * columns + np.arange(columns), seed=seed, stream=stream)

    liked = np.array(list(truth.SEGMENTS.values()))[segment][:, DEPARTMENT_OF[world.kinds]]
    busy = np.exp(0.9 * draws.normal(rows, seed=seed, stream="busy"))
    return Tastes(
        segment=segment,
        kind=liked * np.exp(2.0 * table("kind taste", len(words.KINDS))[:, world.kinds]),
        style=draws.whole(rows, below=len(words.STYLES), seed=seed, stream="liked style"),
        brand=table("brand taste", len(words.BRANDS)),
        family=table("colour taste", len(truth.COLOUR_FAMILIES)),
        tier=np.clip(1.0 + 0.8 * draws.normal(rows, seed=seed, stream="purse"), 0.0, 2.0),
        joined=joined(world, rows),
        sessions=np.clip(np.floor(3.0 + 9.0 * busy), 3, MOST_SESSIONS).astype(np.int64),
    )
