"""The files of a compacted log in the shop folder: `event_log/day=2026-11-30/LOG-FIRST-LAST.parquet`.

The name tells the log's identity and the range, so that whoever reads the files knows where they end.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from feature_store.event_log.log import Part

FOLDER = "event_log"
NAME = re.compile(r"([0-9a-f]{8})-(\d{12})-(\d{12})\.parquet")


class Position(NamedTuple):
    """How far into a log something has read.

    Attributes:
        identity: of the log; "" of none.
        number: the last number.
    """

    identity: str = ""
    number: int = 0

    def within(self, identity: str) -> int:
        """The last number that was read of that log; 0 where it was another."""
        return self.number if self.identity == identity else 0


def part_file(shop: Path, part: Part, *, identity: str) -> Path:
    """Where a range of the log of that identity comes to stand."""
    name = f"{identity}-{part.first:012d}-{part.last:012d}.parquet"
    return shop / FOLDER / f"day={part.date.isoformat()}" / name


def part_files(shop: Path) -> tuple[Path, ...]:
    """All files of logs in a shop folder, day by day, in the order of each log."""
    return tuple(sorted(file for file in (shop / FOLDER).glob("day=*/*.parquet") if NAME.fullmatch(file.name)))


def ends(files: Sequence[Path]) -> dict[str, int]:
    """By log, of which some files are, the last number that is in one; files of other tables are passed over."""
    found: dict[str, int] = {}
    for file in files:
        if file.parent.parent.name == FOLDER and (match := NAME.fullmatch(file.name)) is not None:
            found[match[1]] = max(found.get(match[1], 0), int(match[3]))
    return found


def reached(files: Sequence[Path]) -> Position:
    """Where the newest of some files ends; files of other tables are passed over."""
    parts = [file for file in files if file.parent.parent.name == FOLDER]
    found = [match for file in sorted(parts) if (match := NAME.fullmatch(file.name)) is not None]
    return Position(found[-1][1], ends(files)[found[-1][1]]) if found else Position()
