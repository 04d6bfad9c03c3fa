"""The two-tower recommender over one catalogue: product vectors once, a user vector for each history."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from recsys.catalogue import Catalogue
from recsys.models.clock import NEVER
from recsys.models.two_tower import TwoTower
from recsys.models.two_tower_config import FIRST, UNKNOWN
from recsys.retrieval.each_user import moments
from recsys.retrieval.order import nothing
from recsys.retrieval.product_codes import ProductCodes
from recsys.retrieval.product_vectors import HeldVectors, ProductVectors
from recsys.retrieval.user_codes import UserCodes
from recsys.retrieval.vocabulary import broken, catalogue_rows, read_table
from recsys.types import Candidates, Mask, PositionHistories, Positions, Vectors

CALENDAR = "calendar.parquet"
USERS = 512
"""Users encoded, and looked for, at once."""


class TwoTowerRecommender:
    """The highest inner products of user and product vectors.

    Args:
        network: the trained towers.
        vectors: float32 [catalogue, width], from `product_vectors`, compared with every user; or an index over them.
        known: bool [catalogue], products that are scored at all.
        users: the codes of users' attributes that the network knows; None where it reads none.
    """

    name = "two-tower"

    def __init__(
        self, network: TwoTower, *, vectors: Vectors | ProductVectors, known: Mask, users: UserCodes | None = None
    ) -> None:
        self.network, self.known, self.users = network.eval(), known, users
        self.products = HeldVectors(vectors) if isinstance(vectors, np.ndarray) else vectors

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        catalogue: Catalogue,
        text: Vectors | None = None,
        vectors: Vectors | ProductVectors | None = None,
    ) -> "TwoTowerRecommender":
        """Read the component and number it by the catalogue.

        Args:
            folder: the component.
            catalogue: today's products; those that the network never saw are known by their text alone.
            text: float32 [catalogue, text width] from the bundle's own text encoder; not needed beside `vectors`.
            vectors: the product vectors, or an index over them, where they were computed before.

        Raises:
            BundleError: a file is missing or damaged, or text of another width is given.
        """
        network = TwoTower.load(folder)
        rows = catalogue_rows(folder, catalogue=catalogue)
        if vectors is None:
            vectors = component_vectors(network, folder, catalogue=catalogue, rows=rows, text=text)
        users = UserCodes.load(folder) if network.config.attributes else None
        return cls(network, vectors=vectors, known=(rows >= 0) | (network.config.text_width > 0), users=users)

    def recommend(
        self,
        histories: PositionHistories,
        *,
        k: int,
        allowed: Mask | None = None,
        exclude: Sequence[Positions] | None = None,
    ) -> list[Candidates]:
        """The k products of the highest inner product; see Recommender."""
        passing = self.known if allowed is None else self.known & allowed
        if self.network.config.distinct:
            histories = read_once(histories)
        counts = np.diff(histories.offsets)
        found = [nothing(self.name)] * len(histories)
        # Histories of like length are encoded together, so that little is padded.
        order = np.argsort(counts, kind="stable")
        order = order[counts[order] > 0]
        for start in range(0, len(order), USERS):
            users = order[start : start + USERS]
            lists = self.products.search(
                self.encode_users(histories, users=users),
                k=k,
                allowed=None if passing.all() else passing,
                exclude=None if exclude is None else [exclude[user] for user in users],
                source=self.name,
            )
            for user, one in zip(users, lists, strict=True):
                found[user] = one
        return found

    def encode_users(self, histories: PositionHistories, *, users: NDArray[np.int64]) -> Vectors:
        """User vectors.

        Args:
            histories: what the users did.
            users: int64 [n], rows of `histories`, none of them empty.

        Returns:
            float32 [n, width]; scores are inner products with the product vectors.
        """
        ends = histories.offsets[users + 1]
        lengths = np.minimum(ends - histories.offsets[users], self.network.config.length)
        places = np.arange(int(lengths.max(initial=0)))
        inside = places < lengths[:, None]
        events = np.where(inside, (ends - lengths)[:, None] + places, 0)
        vectors = np.where(inside[..., None], self.products.at(histories.positions[events]), np.float32(0.0))
        event_types = np.where(inside, histories.event_types[events], 0).astype(np.int64)
        times = np.where(inside, histories.timestamps[events], 0)
        with torch.inference_mode():
            encoded = self.network.encode_users(
                torch.from_numpy(vectors),
                torch.from_numpy(event_types),
                torch.from_numpy(lengths),
                torch.from_numpy(times),
                None if self.users is None else torch.from_numpy(self.users.numbers(histories, users=users)),
                moments=torch.from_numpy(asked_at(histories)[users]) if self.network.config.clock else None,
            )
        return encoded.float().numpy()


def asked_at(histories: PositionHistories) -> NDArray[np.int64]:
    """int64 [users], microseconds: when each is answered; NEVER where the caller doesn't say."""
    return moments(histories, until=NEVER) if histories.now is not None else np.full(len(histories), NEVER)


def read_once(histories: PositionHistories) -> PositionHistories:
    """The histories with each product where it first occurs alone."""
    kept, offsets = first_occurrences(histories.offsets, histories.positions)
    return PositionHistories(
        offsets=offsets,
        positions=histories.positions[kept],
        timestamps=histories.timestamps[kept],
        event_types=histories.event_types[kept],
        segments=histories.segments,
        attributes=histories.attributes,
        now=histories.now,
    )


def first_occurrences(
    offsets: NDArray[np.int64], products: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Events whose product stands nowhere before in the same history.

    Args:
        offsets: int64 [users + 1].
        products: int64 [events], any numbering from 0.

    Returns:
        int64 [kept] ascending events, and the offsets among them, int64 [users + 1].
    """
    users = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    pairs = users * (int(products.max(initial=0)) + 1) + products
    kept = np.sort(np.unique(pairs, return_index=True)[1])
    return kept, np.searchsorted(kept, offsets).astype(np.int64)


def component_vectors(
    network: TwoTower, folder: Path, *, catalogue: Catalogue, rows: NDArray[np.int64], text: Vectors | None
) -> Vectors:
    """float32 [catalogue, width + values], as of `product_vectors`, with what the component keeps of the products.

    Args:
        network: of the component.
        folder: the component.
        catalogue: today's products.
        rows: int64 [catalogue], each product's row in the component's vocabulary, -1 for a new one.
        text: float32 [catalogue, text width]; read where the network reads text.

    Raises:
        BundleError: a file is missing or damaged, or there is no text of the network's width.
    """
    wide = network.config.text_width
    if wide and (text is None or text.shape != (len(catalogue), wide)):
        shape = "no text vectors" if text is None else f"text vectors {text.shape}"
        raise broken(folder, expected=f"{len(catalogue)} x {wide} instead of {shape}")
    return product_vectors(
        network,
        rows=rows,
        text=text if wide else None,
        codes=ProductCodes.load(folder).encode(catalogue) if network.config.codes else None,
        calendar=read_calendar(folder, catalogue=catalogue) if network.config.calendar else None,
    )


def product_vectors(
    network: TwoTower,
    *,
    rows: NDArray[np.int64],
    text: Vectors | None,
    codes: Positions | None = None,
    calendar: Vectors | None = None,
) -> Vectors:
    """The product tower's vectors of a whole catalogue.

    Args:
        network: the trained towers.
        rows: int64 [catalogue], each product's row in the vocabulary, -1 for one that the network never saw.
        text: float32 [catalogue, text width], None where the network reads no text.
        codes: int64 [catalogue, features], None where the network reads none.
        calendar: float32 [catalogue, values], None where the network reads none.

    Returns:
        float32 [catalogue, width + values].
    """
    numbers = torch.from_numpy(np.where(rows >= 0, rows + FIRST, UNKNOWN))
    tables = (None if table is None else torch.from_numpy(table) for table in (text, codes, calendar))
    with torch.inference_mode():
        vectors = network.encode_products(numbers, *tables)
    return vectors.float().numpy()


def write_calendar(folder: Path, *, product_ids: pl.Series, names: Sequence[str], values: Vectors) -> None:
    """Write calendar.parquet: what the calendar says of each product, float32 [products, names], when training ends."""
    frame = pl.DataFrame({"product_id": product_ids} | {name: values[:, row] for row, name in enumerate(names)})
    frame.write_parquet(folder / CALENDAR)


def read_calendar(folder: Path, *, catalogue: Catalogue) -> Vectors:
    """float32 [catalogue, values] from `write_calendar`; a product that it does not know sold nothing and is new.

    Raises:
        BundleError: the table is missing or damaged.
    """
    frame = read_table(folder / CALENDAR)
    names = [name for name in frame.columns if name != "product_id"]
    values = np.zeros((len(catalogue), len(names)), dtype=np.float32)
    values[:, -1] = 1.0
    positions = catalogue.positions(frame["product_id"])
    known = positions >= 0
    values[positions[known]] = frame.select(names).to_numpy()[known]
    return values
