"""The product tower of search: text vectors joined with what an image tower sees; computed once for each picture."""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from recsys.bundle.read import Bundle
from recsys.catalogue import Catalogue
from recsys.engine.product_images import (
    find_pictures,
    given_vectors,
    picture_stamp,
    problems_of,
    read_batches,
    told,
)
from recsys.engine.text_vectors import encoder_digest, kept_vectors
from recsys.models.image_tower import CHECKPOINT, ImageTower, read_config
from recsys.models.pictures import Picture, picture_keys
from recsys.models.text_encoder import SETTINGS
from recsys.retrieval.images import ImageVectors
from recsys.types import Mask, Positions, Vectors

log = logging.getLogger(__name__)
COMPONENT = "image_tower"
ROWS = 8192  # products joined at a time


def weights_digest(folder: Path) -> str:
    """sha256 over weights and settings in a text encoder's folder: equal where its vectors mean the same."""
    total = hashlib.sha256()
    for path in sorted((*folder.glob("*.safetensors"), *folder.glob(SETTINGS))):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def open_tower(bundle: Bundle | None, *, text_encoder: Path) -> tuple[ImageTower | None, str]:
    """The image tower of a bundle, or None and why it is left out; "" where the bundle has none.

    A tower that was learned for another text encoder's space stays out: its vectors mean nothing there.
    """
    folder = None if bundle is None else bundle.component(COMPONENT)
    if folder is None:
        return None, ""
    tower = ImageTower.load(folder)
    if tower.config.text != weights_digest(text_encoder):
        return None, "it was learned for another text encoder; run `recsys train images`"
    return tower, ""


def look(
    catalogue: Catalogue, tower: ImageTower, *, pictures: Path | None, cache: Path | None = None
) -> tuple[Vectors, Mask, str]:
    """What a tower sees of a catalogue.

    Args:
        catalogue: the products.
        tower: the image tower.
        pictures: the shop folder, in which relative paths of `image_url` are looked up; None where it is not known.
        cache: folder that keeps the vectors of the latest catalogue; None keeps none.

    Returns:
        Unit vectors float32 [products, width], bool [products] where there is a picture, and in words which pictures
        could not be read.

    Raises:
        IndexMismatchError: the shop's image vectors have another width than the tower reads.
        MissingDependencyError: there are pictures to read and Pillow is not installed.
    """
    if tower.config.encoder == "vectors":
        given, seen = given_vectors(catalogue, width=tower.config.features)
        vectors = np.zeros((len(catalogue), tower.config.width), dtype=np.float32)
        for start in range(0, len(catalogue), ROWS):
            rows = start + np.flatnonzero(seen[start : start + ROWS])
            vectors[rows] = seen_by(tower, given[rows])
        return vectors, seen, ""
    found = find_pictures(catalogue, pictures)
    rows = np.flatnonzero([picture.path is not None for picture in found])
    keys = picture_keys([found[row] for row in rows])
    kept = kept_vectors(keys, lambda new: read_all(tower, found, rows[new]), width=tower.config.width, folder=cache)
    vectors = np.zeros((len(catalogue), tower.config.width), dtype=np.float32)
    vectors[rows] = np.nan_to_num(kept, nan=0.0)
    seen = np.asarray(vectors.any(axis=1))
    return vectors, seen, told(problems_of(catalogue, found, seen))


def read_all(tower: ImageTower, pictures: Sequence[Picture], rows: Positions) -> Vectors:
    """float32 [rows, width]: the vectors of some pictures, NaN for those that are damaged."""
    vectors = np.full((len(rows), tower.config.width), np.nan, dtype=np.float32)
    place = {int(row): number for number, row in enumerate(rows)}
    for good, pixels in read_batches(pictures, rows, size=tower.config.size):
        vectors[[place[int(row)] for row in good]] = seen_by(tower, pixels)
    return vectors


def seen_by(tower: ImageTower, inputs: np.ndarray) -> Vectors:
    """float32 [batch, width]: the unit vectors of pixels or image vectors."""
    with torch.inference_mode():
        vectors: Vectors = tower(torch.from_numpy(inputs)).float().numpy()
    return vectors


def joined(tower: ImageTower, text: Vectors, images: Vectors, seen: Mask) -> tuple[Vectors, ImageVectors]:
    """The vectors of products, float32 [products, width], and what pictures add to them; text alone stays as it is."""
    vectors = np.array(text, dtype=np.float32)
    shares = np.zeros(len(text), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(text), ROWS):
            rows = start + np.flatnonzero(seen[start : start + ROWS])
            parts = tower.join(
                torch.from_numpy(vectors[rows]),
                torch.from_numpy(images[rows]),
                torch.ones(len(rows), dtype=torch.bool),
            )
            vectors[rows], shares[rows] = parts.vectors.numpy(), parts.shares.numpy()
    rows = np.where(seen, np.cumsum(seen) - 1, -1)
    return vectors, ImageVectors(vectors=images[seen], rows=rows.astype(np.int64), shares=shares[seen])


def build_images(
    catalogue: Catalogue,
    text: Vectors,
    folder: Path,
    *,
    bundle: Bundle | None,
    text_encoder: Path,
    pictures: Path | None,
    cache: Path | None,
) -> tuple[Vectors, str, str]:
    """Join the text vectors with a bundle's image tower, and store what pictures add.

    Args:
        catalogue: the products.
        text: float32 [products, width].
        folder: where the pictures' side goes; not made where no product has a picture.
        bundle: the product-search bundle.
        text_encoder: folder of the encoder that made `text`.
        pictures: the shop folder.
        cache: see `look`.

    Returns:
        The vectors to index, what there is in words, and why there is nothing; each "" where the other is told, both
        where the bundle has no tower.
    """
    tower, why = open_tower(bundle, text_encoder=text_encoder)
    if tower is None or bundle is None:
        return text, "", why
    own = bundle.path / COMPONENT
    digest = encoder_digest(own) + (encoder_digest(own / CHECKPOINT) if (own / CHECKPOINT).is_dir() else "")
    kept = None if cache is None else cache / f"images-{hashlib.sha256(digest.encode()).hexdigest()[:16]}"
    images, seen, problems = look(catalogue, tower, pictures=pictures, cache=kept)
    if problems:
        log.warning("pictures that can't be read: %s", problems)
    unread = f"; not read: {problems}" if problems else ""
    if not seen.any():
        return text, "", f"no product has a picture{unread}"
    vectors, sides = joined(tower, text, images, seen)
    sides.save(folder)
    return vectors, f"{int(seen.sum())} of {len(catalogue)} products have a picture{unread}", ""


def images_stamp(bundle: Bundle | None, catalogue: Catalogue, pictures: Path | None) -> str:
    """What tells an index from another of the same bundle and catalogue: its pictures; "" where it reads none."""
    folder = None if bundle is None else bundle.component(COMPONENT)
    if folder is None or read_config(folder).encoder == "vectors":
        return ""
    return picture_stamp(catalogue, pictures)
