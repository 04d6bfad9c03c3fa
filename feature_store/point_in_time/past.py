"""What was known by the end of a day, as a hash: a table's day is built again exactly where this has changed."""

import hashlib
from collections.abc import Iterable

import polars as pl

from feature_store.point_in_time.definitions import DAY, Feature
from feature_store.point_in_time.streams import Streams
from recsys.provenance import library_versions

BELOW = 1 << 40
"""Row hashes are cut to 40 bits, so that the sum over a day of 8 million records still fits 63."""


def pasts(streams: Streams, features: Iterable[Feature], *, days: Iterable[int]) -> dict[int, str]:
    """By day the sha256 (hex) over what the features' streams held by its end.

    It does not depend on the order of the records. Polars promises its row hashes for one version only, so that its
    version is part of it: with another one all days are built again.

    Args:
        streams: of the shop.
        features: whose streams count.
        days: since 1970.
    """
    read = {measure.stream for feature in features for measure in feature.measures}
    if "follows" in read:
        read.add("events")  # which tell what was viewed last
    used = sorted(read)
    marks = pl.concat([marked(streams[name].frame).with_columns(stream=pl.lit(name)) for name in used])
    known = marks.sort("day", "stream").collect(engine="streaming")
    chain = hashlib.sha256(library_versions()["polars"].encode())
    found, at = {}, 0
    lines = [f"{line}\n".encode() for line in known.iter_rows()]
    asked = pl.Series(sorted(days), dtype=pl.Int64)
    for day, end in zip(asked, known["day"].search_sorted(asked, side="right"), strict=True):
        for line in lines[at:end]:
            chain.update(line)
        at = end
        found[day] = chain.copy().hexdigest()
    return found


def marked(frame: pl.LazyFrame) -> pl.LazyFrame:
    """By day on which they were known, the number of a stream's records and the sum of their hashes."""
    columns = [name for name, kind in frame.collect_schema().items() if name not in ("row", "rest") and flat(kind)]
    mark = (pl.struct(columns).hash() % BELOW).cast(pl.Int64)
    return frame.group_by(day=pl.col("start").floordiv(DAY)).agg(rows=pl.len().cast(pl.Int64), mark=mark.sum())


def flat(kind: pl.DataType) -> bool:
    """True where a column holds single values."""
    return not kind.is_nested()
