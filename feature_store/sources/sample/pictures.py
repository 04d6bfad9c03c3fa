"""Small pictures of the sample's products: an outline for each kind, filled with the product's colour, on white."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from feature_store.sources.sample import draws
from feature_store.sources.sample.draws import Keys
from feature_store.sources.sample.world import World, product_codes, product_ids, spans
from recsys.errors import MissingDependencyError
from recsys.logs import progress

if TYPE_CHECKING:
    from PIL.Image import Image

FOLDER, SIZE, FINE = "pictures", 32, 4
CHUNK = 1024
PLAIN = (205, 208, 205)
LINE = (60, 60, 60)
Corners = list[tuple[float, float]]

# In the order of words.COLOURS, four shades of each family.
SHADES: tuple[tuple[int, int, int], ...] = (
    *((25, 40, 105), (20, 120, 165), (25, 45, 85), (95, 140, 230)),
    *((25, 85, 45), (125, 160, 115), (95, 120, 45), (10, 100, 75)),
    *((205, 20, 50), (160, 55, 40), (220, 15, 75), (110, 15, 45)),
    *((215, 170, 35), (245, 195, 45), (235, 165, 20), (250, 235, 70)),
    *((130, 65, 40), (95, 55, 35), (110, 80, 50), (95, 75, 65)),
    *((225, 210, 175), (215, 190, 150), (230, 220, 190), (235, 215, 190)),
    *((240, 185, 195), (235, 135, 170), (250, 110, 150), (245, 170, 185)),
    *((105, 115, 125), (165, 170, 170), (130, 135, 140), (190, 195, 200)),
    *((20, 20, 22), (10, 10, 10), (35, 30, 40), (30, 32, 30)),
    *((242, 242, 238), (252, 252, 255), (250, 248, 235), (240, 238, 232)),
)


def picture_paths(world: World, rows: Keys) -> list[str | None]:
    """Where the pictures of some products lie in the shop folder; None in a shop without pictures."""
    if not world.pictures:
        return [None] * len(rows)
    return [f"{FOLDER}/{name[-2:]}/{name}.png" for name in product_ids(world, rows)]


def write_pictures(world: World, folder: Path) -> int:
    """Draw every product's picture below `folder`; give how many there are.

    Raises:
        MissingDependencyError: Pillow is not installed.
    """
    runs = spans(world.products, size=CHUNK)
    for rows in progress(runs, label="pictures", total=-(-world.products // CHUNK)):
        codes = product_codes(world, rows)
        scale = 0.75 + 0.2 * draws.uniform(rows, seed=world.seed, stream="picture size")
        turn = 0.3 * (draws.uniform(rows, seed=world.seed, stream="picture turn") - 0.5)
        for place, path in enumerate(picture_paths(world, rows)):
            shade = SHADES[codes.colour[place]] if codes.colour[place] >= 0 else PLAIN
            image = draw(int(codes.kind[place]), shade, scale=float(scale[place]), turn=float(turn[place]))
            target = folder / str(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            image.save(target)
    return world.products


def draw(kind: int, shade: tuple[int, int, int], *, scale: float, turn: float) -> "Image":
    """One picture, 32 by 32 pixels.

    Args:
        kind: row of words.KINDS; decides the outline.
        shade: red, green, blue.
        scale: share of the picture's half that the outline reaches to, above 0 to 1.
        turn: in radians.
    """
    try:
        from PIL import Image, ImageDraw
    except ImportError as error:
        raise MissingDependencyError(
            "pictures for the sample shop, but Pillow is not installed",
            expected="Pillow",
            action="pip install 'shoprank[images]', or leave --images out",
        ) from error
    side = SIZE * FINE
    image = Image.new("RGB", (side, side), "white")
    corners = [
        (side / 2 * (1 + scale * (x * math.cos(turn) - y * math.sin(turn))),
         side / 2 * (1 + scale * (x * math.sin(turn) + y * math.cos(turn))))
        for x, y in outline(kind)
    ]  # fmt: skip
    ImageDraw.Draw(image).polygon(corners, fill=shade, outline=LINE, width=FINE)
    return image.resize((SIZE, SIZE), Image.Resampling.BOX)


def outline(kind: int) -> Corners:
    """The corners of a kind's outline, each from -1 to 1: a star or polygon, stretched; no two kinds share one."""
    points, deep, wide = 3 + kind % 5, (1.0, 0.75, 0.5)[kind // 5 % 3], (1.0, 0.6, 0.35, 0.8)[kind // 15 % 4]
    angles = np.arange(2 * points) * math.pi / points - math.pi / 2
    reach = np.where(np.arange(2 * points) % 2 == 0, 1.0, deep)
    x, y = np.cos(angles) * reach, np.sin(angles) * reach
    if kind // 60:
        x, y = y, x
    return list(zip(x.tolist(), (wide * y).tolist(), strict=True))
