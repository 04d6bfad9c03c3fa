"""What a public data set is to the import: where it comes from, what may be done with it, how it becomes a shop."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl


@dataclass(frozen=True)
class Download:
    """One file at a public address that does not change.

    Attributes:
        url: the address.
        file: its name in the raw folder.
        sha256: of its bytes, where its publisher says it; "" where nobody does. Then that of the first download is
            written beside the file.
        md5_url: where the publisher keeps its md5; "" where nowhere.
        variant: of the data set, where it has several; "" for the only one.
    """

    url: str
    file: str
    sha256: str = ""
    md5_url: str = ""
    variant: str = ""


@dataclass(frozen=True)
class Converted:
    """A data set as the tables of a shop, not yet read.

    Attributes:
        tables: by name, in the columns of the input contract; further columns are kept as the shop's own.
        files: the raw files behind them.
        currency: of all prices; None where they have none or are no money.
        timestamps: "order" where only each user's order is real.
        max_grade: the best grade; None without judgments.
        notes: what was decided on the way, one line each: the mapping of labels, codes that are no products.
    """

    tables: dict[str, pl.LazyFrame]
    files: tuple[Path, ...]
    currency: str | None = None
    timestamps: Literal["calendar", "order"] = "calendar"
    max_grade: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PublicSet:
    """A public data set.

    Attributes:
        name: as in `recsys import NAME`.
        title: its full name.
        licence: what its publisher allows, in short; the publisher's own words count.
        link: its page.
        documentation: the page or paper from which the import was written.
        verified: True where the import was run on the original files; False where it was written from
            `documentation` and tested on rows made after it.
        instructions: how to get the raw files.
        convert: from the raw folder and the options to the tables; nothing is read but headers and what is small.
        options: what `--set` takes, with a word on each.
        downloads: files at addresses that do not change; () where a person has to agree to terms first.
    """

    name: str
    title: str
    licence: str
    link: str
    documentation: str
    instructions: str
    convert: Callable[[Path, Mapping[str, str]], Converted]
    options: Mapping[str, str] = field(default_factory=dict)
    downloads: tuple[Download, ...] = ()
    verified: bool = False

    @property
    def state(self) -> str:
        """Whether the import has seen the original files."""
        return "verified on the original" if self.verified else f"written from its documentation ({self.documentation})"
