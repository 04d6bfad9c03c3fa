"""The products of one snapshot in a fixed order: a product's row number is its position."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.digest import frame_digest
from recsys.errors import SnapshotError
from recsys.lookup import find_sorted
from recsys.text.fields import product_text
from recsys.types import Filters, Histories, Mask, PositionHistories, Positions

SEPARATOR = " > "


@dataclass(frozen=True)
class Catalogue:
    """Products sorted by id; engine, training and serving number products the way this does.

    Attributes:
        frame: one row for each product, sorted by product_id; column `position` is 0 to n - 1.
    """

    frame: pl.DataFrame

    @classmethod
    def read(cls, path: Path) -> "Catalogue":
        """Read catalogue.parquet.

        Raises:
            SnapshotError: the file is missing, damaged, not sorted by a unique product_id or not numbered 0 to n - 1.
        """
        try:
            frame = pl.read_parquet(path)
        except (FileNotFoundError, pl.exceptions.ComputeError, pl.exceptions.PolarsError) as error:
            reason = "is missing" if isinstance(error, FileNotFoundError) else "is damaged"
            raise SnapshotError(
                f"{path} {reason}", expected="a catalogue", action="build it again with `recsys features` or `index`"
            ) from error
        catalogue = cls(frame)
        catalogue.check(str(path))
        return catalogue

    def check(self, name: str) -> None:
        """Refuse a frame whose positions or ids can't be trusted; `name` says which.

        Raises:
            SnapshotError: see `read`.
        """
        missing = {"position", "product_id", "title"} - set(self.frame.columns)
        if missing or not (
            self.frame["position"].equals(pl.Series("position", np.arange(len(self)), dtype=pl.Int64))
            and self.product_ids.is_sorted()
            and self.product_ids.n_unique() == len(self)
        ):
            raise SnapshotError(
                f"{name} is not in the order of its product ids",
                expected="rows sorted by a unique product_id and numbered from 0",
                action="build it again with `recsys features` or `recsys index`",
            )

    def __len__(self) -> int:
        return self.frame.height

    @cached_property
    def digest(self) -> str:
        """sha256 of the content; the same catalogue has the same digest whoever wrote the file."""
        return frame_digest(self.frame)

    @cached_property
    def product_ids(self) -> pl.Series:
        """Ids in the order of positions, String [products]."""
        return self.frame["product_id"]

    def positions(self, product_ids: Sequence[str] | pl.Series) -> Positions:
        """int64 [ids]: the position of each id, -1 where the catalogue has no such product."""
        return find_sorted(self.product_ids, product_ids)

    def ids(self, positions: Positions) -> list[str]:
        """The product ids at the given positions."""
        return self.product_ids.gather(positions).to_list()

    def encode(self, histories: Histories) -> PositionHistories:
        """The histories in positions of this catalogue; events on unknown products are left out."""
        positions = self.positions(histories.product_ids)
        known = positions >= 0
        kept = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(known, dtype=np.int64)])
        return PositionHistories(
            offsets=kept[histories.offsets],
            positions=positions[known],
            timestamps=histories.timestamps[known],
            event_types=histories.event_types[known],
            segments=histories.segments,
            attributes=histories.attributes,
        )

    def mask(self, filters: Filters) -> Mask | None:
        """bool [products], True where a product may be shown; None where the filter is empty.

        A category lets its whole subtree pass. A product without the column asked for (price, stock) does not pass.
        """
        if filters.empty:
            return None
        rules: list[pl.Expr] = []
        if filters.brand:
            rules.append(pl.col("brand").is_in(list(filters.brand)))
        if filters.category:
            below = (pl.col("category").str.starts_with(path + SEPARATOR) for path in filters.category)
            rules.append(pl.any_horizontal(pl.col("category").is_in(list(filters.category)), *below))
        if filters.price_min is not None:
            rules.append(pl.col("price") >= filters.price_min)
        if filters.price_max is not None:
            rules.append(pl.col("price") <= filters.price_max)
        if filters.in_stock is not None:
            rules.append(pl.col("in_stock") == filters.in_stock)
        allowed = np.ones(len(self), dtype=np.bool_)
        if rules:
            allowed = self.frame.select(pl.all_horizontal(rules).fill_null(value=False)).to_series().to_numpy().copy()
        return self.restrict(allowed, filters)

    def restrict(self, allowed: Mask, filters: Filters) -> Mask:
        """Apply the lists of ids of a filter to a mask."""
        if filters.only is not None:
            chosen = self.positions(filters.only)
            only = np.zeros(len(self), dtype=np.bool_)
            only[chosen[chosen >= 0]] = True
            allowed = allowed & only
        if filters.exclude:
            hidden = self.positions(filters.exclude)
            allowed[hidden[hidden >= 0]] = False
        return allowed

    def texts(self) -> list[str]:
        """The text of each product, in the order of positions."""
        return product_text(self.frame)

    def column(self, name: str) -> pl.Series:
        """One column in the order of positions; all null where the catalogue has no such column."""
        if name in self.frame.columns:
            return self.frame[name]
        return pl.Series(name, [None] * len(self), dtype=pl.String)

    def numbers(self, name: str, *, depth: int = 0) -> NDArray[np.int64]:
        """int64 [products]: equal where two products share a column's text, -1 where it is unknown.

        Args:
            name: of the column, as "brand" or "category".
            depth: of a path, how many of its parts are compared, from the top; 0 compares it whole.
        """
        text = pl.DataFrame({"text": self.column(name).cast(pl.String)})
        whole = pl.col("text")
        kept = whole if depth <= 0 else whole.str.split(SEPARATOR).list.head(depth).list.join(SEPARATOR)
        ranks = text.select(pl.when(whole.is_not_null()).then(kept.rank("dense").cast(pl.Int64) - 1).alias("rank"))
        numbers: NDArray[np.int64] = ranks["rank"].fill_null(-1).to_numpy().astype(np.int64)
        return numbers
