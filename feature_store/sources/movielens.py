"""MovieLens: ratings of films, as CSV (latest, 25M, 32M) or separated by "::" (1M, 10M).

No shop at all, but the set that everyone knows: a rating counts as a view, with the rating in `value`.

Source: the README of each archive, https://files.grouplens.org/datasets/movielens/ml-25m-README.html and
https://files.grouplens.org/datasets/movielens/ml-1m-README.txt.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from feature_store.sources.public_set import Converted, Download, PublicSet
from feature_store.sources.raw import epoch, find_files, need_columns, need_file, number, scan_text

NO_GENRE = "(no genres listed)"
ADDRESS = "https://files.grouplens.org/datasets/movielens"
VARIANTS = ("ml-25m", "ml-32m", "ml-1m")


def convert(raw: Path, options: Mapping[str, str]) -> Converted:
    """Films, raters and ratings as products, users and events."""
    movies, ratings = need_file(raw, "movies.csv", "movies.dat"), need_file(raw, "ratings.csv", "ratings.dat")
    tables = {"products": products(read(movies, ("movieId", "title", "genres")))}
    tables["events"] = events(read(ratings, ("userId", "movieId", "rating", "timestamp")))
    people = find_files(raw, "users.dat")
    if people:
        tables["users"] = users(read(people[0], ("userId", "gender", "age", "occupation", "zip")))
    return Converted(
        tables=tables,
        files=(movies, ratings, *people),
        notes=("a rating counts as a view, its stars are `value`; a film's category is the first of its genres",),
    )


def read(file: Path, names: Sequence[str]) -> pl.LazyFrame:
    """One file in either form; the older ones have no header, and the oldest are Latin-1."""
    if file.suffix == ".csv":
        return need_columns(scan_text(file), names, file=file)
    whole = pl.scan_lines(file) if file.stem == "ratings" else pl.LazyFrame({"line": decoded(file).splitlines()})
    parts = pl.col("line").str.split("::").list.to_struct(fields=list(names))
    return whole.filter(pl.col("line") != "").select(parts).unnest("line")


def decoded(file: Path) -> str:
    """A small file's text: UTF-8 (10M), else Latin-1 (1M), which any bytes are."""
    content = file.read_bytes()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def products(films: pl.LazyFrame) -> pl.LazyFrame:
    """The films; all genres stand in the attributes."""
    genres = pl.col("genres").replace(NO_GENRE, None).str.split("|")
    told = genres.map_batches(as_attributes, return_dtype=pl.String, is_elementwise=True)
    return films.select(
        pl.col("movieId").alias("product_id"),
        "title",
        genres.list.first().alias("category"),
        told.alias("attributes"),
    )


def as_attributes(genres: pl.Series) -> pl.Series:
    """A list of genres as a JSON object."""
    texts = (None if row is None else json.dumps({"genre": list(row)}, ensure_ascii=False) for row in genres)
    return pl.Series(texts, dtype=pl.String)


def events(ratings: pl.LazyFrame) -> pl.LazyFrame:
    """The ratings; times are seconds since 1970 in UTC."""
    return ratings.select(
        pl.col("userId").alias("user_id"),
        pl.col("movieId").alias("product_id"),
        epoch("timestamp"),
        pl.lit("view").alias("event_type"),
        number("rating").alias("value"),
    )


def users(people: pl.LazyFrame) -> pl.LazyFrame:
    """The raters of the 1M edition without their postal codes."""
    told = pl.struct("gender", "age", "occupation").struct.json_encode()
    return people.select(pl.col("userId").alias("user_id"), told.alias("attributes"))


MOVIELENS = PublicSet(
    name="movielens",
    title="MovieLens",
    licence="research use; no redistribution, no commercial use without permission",
    link="https://grouplens.org/datasets/movielens/",
    documentation=f"{ADDRESS}/ml-25m-README.html",
    instructions="`recsys import movielens RAW --download` (--set variant=ml-32m or ml-1m), or unpack an archive",
    convert=convert,
    options={"variant": f"what --download fetches: {', '.join(VARIANTS)}"},
    downloads=tuple(
        Download(
            url=f"{ADDRESS}/{variant}.zip",
            file=f"{variant}.zip",
            md5_url=f"{ADDRESS}/{variant}.zip.md5",
            variant=variant,
        )
        for variant in VARIANTS
    ),
)
