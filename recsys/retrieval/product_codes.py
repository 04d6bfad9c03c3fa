"""A product's brand, category path and price as numbers that embeddings stand for; what was fitted is the component's.

The codes of a product are those of its brand, of its category's first, second and third level, and of its price's
place among the prices that were learned from. 0 stands for what is unknown or was too rare to learn.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import TypeAdapter, ValidationError

from recsys.catalogue import SEPARATOR, Catalogue
from recsys.retrieval.vocabulary import broken, coded, read_text
from recsys.text.normalise import normalise
from recsys.types import Positions

NAME = "product_codes.json"
LEVELS = 3
PRICES = 16


@dataclass(frozen=True, slots=True)
class ProductCodes:
    """Fitted vocabularies and edges.

    Attributes:
        brands: normalised names, sorted; the code of the first is 1.
        categories: for each level the normalised paths down to it, sorted; the code of the first is 1.
        prices: ascending edges; a price below the first has code 1, one from the last on len(prices) + 1.
    """

    brands: tuple[str, ...] = ()
    categories: tuple[tuple[str, ...], ...] = ()
    prices: tuple[float, ...] = ()

    @classmethod
    def fit(cls, catalogue: Catalogue, *, learned: Positions, least: int = 2) -> "ProductCodes":
        """The codes of a catalogue.

        Args:
            catalogue: the products.
            learned: int64 [n], positions of the products that are learned from; only what they have gets a code.
            least: of them that must share a brand or category; one alone says no more than its product's id.
        """
        brands, categories, own = (catalogue.column(name).gather(learned) for name in ("brand", "category", "price"))
        paths = [levels(path) for path in categories.to_list()]
        prices = own.cast(pl.Float64).drop_nulls().drop_nans().to_numpy()
        edges = np.unique(np.quantile(prices, np.arange(1, PRICES) / PRICES)) if len(prices) else np.zeros(0)
        by_level = [[path[level] for path in paths if len(path) > level] for level in range(LEVELS)]
        return cls(
            brands=common((normalise(name) for name in brands.drop_nulls().to_list()), least=least),
            categories=tuple(common(names, least=least) for names in by_level),
            prices=tuple(edges.tolist()),
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        """For each feature the number of its codes, 0 included."""
        return (len(self.brands) + 1, *(len(names) + 1 for names in self.categories), len(self.prices) + 2)

    def encode(self, catalogue: Catalogue) -> Positions:
        """int64 [products, features], the codes of a catalogue's products."""
        brands = [normalise(name or "") for name in catalogue.column("brand").to_list()]
        paths = [levels(path) for path in catalogue.column("category").to_list()]
        columns = [coded(brands, names=self.brands)]
        for level, names in enumerate(self.categories):
            columns.append(coded([path[level] if len(path) > level else "" for path in paths], names=names))
        prices = catalogue.column("price").cast(pl.Float64).fill_null(float("nan")).to_numpy()
        placed = np.searchsorted(np.asarray(self.prices), prices, side="right") + 1
        return np.stack([*columns, np.where(np.isnan(prices), 0, placed)], axis=1).astype(np.int64)

    def save(self, folder: Path) -> None:
        """Write product_codes.json into the folder."""
        (folder / NAME).write_bytes(TypeAdapter(dict[str, object]).dump_json(asdict(self)))

    @classmethod
    def load(cls, folder: Path) -> "ProductCodes":
        """Read what `save` wrote.

        Raises:
            BundleError: the file is missing or damaged.
        """
        try:
            return TypeAdapter(cls).validate_json(read_text(folder / NAME))
        except ValidationError as error:
            raise broken(folder / NAME, expected="brands, categories and prices") from error


def levels(path: str | None) -> list[str]:
    """The normalised paths down to each level of a category path, at most LEVELS; none without a category."""
    parts = [normalise(part) for part in path.split(SEPARATOR)[:LEVELS]] if path else []
    return [SEPARATOR.join(parts[: end + 1]) for end in range(len(parts))]


def common(names: Iterable[str], *, least: int) -> tuple[str, ...]:
    """The names that stand there often enough, sorted."""
    counted = pl.Series(list(names), dtype=pl.String).value_counts()
    return tuple(counted.filter((pl.col("count") >= least) & (pl.nth(0) != "")).to_series(0).sort().to_list())
