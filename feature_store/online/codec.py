"""One user's history as bytes: what stands behind a key of an online store.

Layout, little-endian: format version (uint8), events n (uint32), length of the segment (uint32), that of the other
attributes (uint32), segment (UTF-8), attributes (UTF-8), timestamps (int64 x n), event types (int8 x n), lengths of the
product ids in bytes (uint16 x n), product ids (UTF-8).
"""

import struct
from collections.abc import Iterator, Sequence

import numpy as np

from feature_store.histories import HistoryTable
from recsys.errors import StorageError
from recsys.types import Histories

VERSION = 2
HEAD = struct.Struct("<BIII")
USERS = 4096


def encode_all(table: HistoryTable, *, users: int = USERS) -> Iterator[tuple[str, bytes]]:
    """User id and value of every user, in the order of the table.

    Args:
        table: all histories.
        users: whose columns are encoded at once and then cut by user, so that memory is bounded.
    """
    for start in range(0, len(table.users), users):
        yield from encode_some(table, start=start, stop=min(start + users, len(table.users)))


def encode_some(table: HistoryTable, *, start: int, stop: int) -> Iterator[tuple[str, bytes]]:
    """User id and value of the users from row `start` to row `stop` - 1."""
    bounds = table.offsets[start : stop + 1].tolist()
    base, events = bounds[0], slice(bounds[0], bounds[-1])
    ids = table.product_ids[events]
    lengths = ids.str.len_bytes().to_numpy().astype("<u2")
    ends = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)])
    names = ids.str.join("").item().encode()
    times, kinds = table.timestamps[events].astype("<i8").tobytes(), table.event_types[events].tobytes()
    widths = lengths.tobytes()
    owners = (column[start:stop] for column in (table.users, table.segments, table.attributes))
    for row, (user, segment, attributes) in enumerate(zip(*owners, strict=True)):
        first, last = bounds[row] - base, bounds[row + 1] - base
        label, told = segment.encode(), attributes.encode()
        yield (
            user,
            b"".join(
                (
                    HEAD.pack(VERSION, last - first, len(label), len(told)),
                    label,
                    told,
                    times[8 * first : 8 * last],
                    kinds[first:last],
                    widths[2 * first : 2 * last],
                    names[ends[first] : ends[last]],
                )
            ),
        )


def decode_many(values: Sequence[bytes | None]) -> Histories:
    """Histories out of values in the order given; None is a user without any.

    Raises:
        StorageError: a value is of another format version.
    """
    segments, attributes, counts, times, kinds, widths, names = [], [], [], [], [], [], []
    for value in values:
        if value is None:
            segments.append("")
            attributes.append("")
            counts.append(0)
            continue
        if (version := value[0]) != VERSION:
            raise StorageError(
                f"the online store has format version {version}",
                expected=f"version {VERSION}",
                action="fill it again: recsys index SHOP",
            )
        _, events, length, more = HEAD.unpack_from(value)
        middle, start = HEAD.size + length, HEAD.size + length + more
        segments.append(value[HEAD.size : middle].decode())
        attributes.append(value[middle:start].decode())
        counts.append(events)
        times.append(value[start : start + 8 * events])
        kinds.append(value[start + 8 * events : start + 9 * events])
        widths.append(value[start + 9 * events : start + 11 * events])
        names.append(value[start + 11 * events :])
    return Histories(
        offsets=np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(np.array(counts, dtype=np.int64))]),
        product_ids=cut_names(b"".join(names), np.frombuffer(b"".join(widths), dtype="<u2")),
        timestamps=np.frombuffer(b"".join(times), dtype="<i8").astype(np.int64),
        event_types=np.frombuffer(b"".join(kinds), dtype=np.int8),
        segments=tuple(segments),
        attributes=tuple(attributes),
    )


def cut_names(names: bytes, widths: np.ndarray[tuple[int], np.dtype[np.uint16]]) -> tuple[str, ...]:
    """The product ids out of their joined bytes."""
    ends = np.cumsum(widths, dtype=np.int64).tolist()
    starts = [0, *ends]
    return tuple(names[start:end].decode() for start, end in zip(starts, ends, strict=False))
