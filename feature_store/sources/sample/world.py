"""The size and the calendar of one sample shop, and the hidden codes of its products."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from feature_store.sources.sample import draws, words
from feature_store.sources.sample.draws import Keys, Reals

START = datetime(2024, 3, 1, tzinfo=UTC)
DAYS = 300
GROUP_OF = np.array([0, 1, 1, 2, 2, 2, 3, 3, 3, 3])
VARIANT_OF = np.array([0, 0, 1, 0, 1, 2, 0, 1, 2, 3])
CHUNK = 65_536
TIER_FACTORS = np.array([0.62, 1.0, 1.65])
COLOURED = np.array([kind.coloured for kind in words.KINDS])
PRICES = np.array([kind.price for kind in words.KINDS])


@dataclass(frozen=True, slots=True)
class World:
    """One sample shop before anything of it is written.

    Attributes:
        products: how many products.
        users: how many users.
        seed: what decides everything else.
        pictures: whether each product has a picture.
        hidden: share of the coloured products whose words leave the colour out, 0 to 1.
    """

    products: int
    users: int
    seed: int
    pictures: bool = False
    hidden: float = 0.0

    @property
    def kinds(self) -> Keys:
        """int64 [kinds], the kinds that this shop sells: about one for each dozen products, at least four."""
        count = min(len(words.KINDS), max(4, self.products // 12))
        order = draws.uniform(np.arange(len(words.KINDS)), seed=self.seed, stream="kinds")
        return np.sort(np.argsort(order, kind="stable")[:count])

    @property
    def brand_tiers(self) -> Keys:
        """int64 [brands], 0 cheap, 1 usual, 2 dear."""
        return draws.whole(np.arange(len(words.BRANDS)), below=3, seed=self.seed, stream="tiers")


@dataclass(frozen=True, slots=True)
class ProductCodes:
    """What is known of a run of products, as numbers; every array is [products].

    Attributes:
        group: variants of one model share it.
        kind: row of words.KINDS.
        brand: row of words.BRANDS.
        style: row of words.STYLES.
        material: 0 to 3 in the kind's materials.
        size: 0 to 3 in the kind's sizes.
        colour: row of words.COLOURS, -1 where the kind has none.
        tier: 0 cheap, 1 usual, 2 dear.
        price: in the shop's currency.
        quality: about standard normal.
        launch: days after START, negative where it was there before.
    """

    group: NDArray[np.int32]
    kind: NDArray[np.int8]
    brand: NDArray[np.int8]
    style: NDArray[np.int8]
    material: NDArray[np.int8]
    size: NDArray[np.int8]
    colour: NDArray[np.int8]
    tier: NDArray[np.int8]
    price: NDArray[np.float32]
    quality: NDArray[np.float32]
    launch: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, rows: Keys) -> "ProductCodes":
        """The codes of the given rows, in any shape."""
        return ProductCodes(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def product_codes(world: World, rows: Keys) -> ProductCodes:
    """The codes of the products in the given rows; each row depends on the world and its own number alone."""
    seed = world.seed
    group, variant = rows // 10 * 4 + GROUP_OF[rows % 10], VARIANT_OF[rows % 10]
    kinds = world.kinds
    kind = kinds[draws.whole(group, below=len(kinds), seed=seed, stream="kind")]
    brand = draws.whole(group, below=len(words.BRANDS), seed=seed, stream="brand")
    odd = draws.chance(0.2, group, seed=seed, stream="odd style")
    style = np.where(odd, draws.whole(group, below=len(words.STYLES), seed=seed, stream="style"), brand // 4)
    usual = (style + kind) % 4
    material = np.where(
        draws.chance(0.5, group, seed=seed, stream="usual"),
        usual,
        draws.whole(group, below=4, seed=seed, stream="material"),
    )
    coloured = COLOURED[kind]
    colour = (draws.whole(group, below=len(words.COLOURS), seed=seed, stream="colour") + 11 * variant) % len(
        words.COLOURS
    )
    size = (draws.whole(group, below=4, seed=seed, stream="size") + np.where(coloured, 0, variant)) % 4
    tier = world.brand_tiers[brand]
    quality = draws.normal(group, seed=seed, stream="quality") + 0.4 * draws.normal(rows, seed=seed, stream="variant")
    launch = np.where(
        draws.chance(0.25, group, seed=seed, stream="new"),
        DAYS * draws.uniform(group, seed=seed, stream="launch"),
        -900.0 * draws.uniform(group, seed=seed, stream="launch"),
    )
    spread = np.exp(0.22 * draws.normal(group, seed=seed, stream="price"))
    price = PRICES[kind] * TIER_FACTORS[tier] * spread * (0.8 + 0.15 * size)
    return ProductCodes(
        group=group.astype(np.int32),
        kind=kind.astype(np.int8),
        brand=brand.astype(np.int8),
        style=style.astype(np.int8),
        material=material.astype(np.int8),
        size=size.astype(np.int8),
        colour=np.where(coloured, colour, -1).astype(np.int8),
        tier=tier.astype(np.int8),
        price=shelf_price(price).astype(np.float32),
        quality=quality.astype(np.float32),
        launch=np.floor(launch).astype(np.float32),
    )


def shelf_price(price: Reals) -> Reals:
    """Prices as shops write them: whole minus a cent from 20 up, else to five cents."""
    return np.asarray(np.where(price >= 20.0, np.floor(price) + 0.99, np.maximum(np.round(price * 20.0) / 20.0, 0.5)))


def all_codes(world: World) -> ProductCodes:
    """The codes of the whole shop, about 30 bytes a product."""
    chunks = [product_codes(world, rows) for rows in spans(world.products)]
    names = [field.name for field in fields(ProductCodes)]
    return ProductCodes(**{name: np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in names})


def spans(count: int, *, size: int = CHUNK) -> Iterator[Keys]:
    """The numbers 0 to count - 1 in runs of `size`."""
    for first in range(0, count, size):
        yield np.arange(first, min(first + size, count))


def product_ids(world: World, rows: Keys) -> list[str]:
    """Ids that say nothing of the order in which products were made: the row, scattered over a power of ten."""
    width = max(6, len(str(world.products)))
    scattered = (rows * 387_420_489 + world.seed * 7_919) % 10**width
    return [f"P{number:0{width}d}" for number in scattered.tolist()]
