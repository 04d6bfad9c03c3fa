"""Join bundles with a catalogue: an index, written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recsys.bundle.read import Bundle
    from recsys.catalogue import Catalogue


def build_index(
    catalogue: Catalogue,
    *,
    search: Bundle | None,
    recommender: Bundle | None,
    folder: Path,
    shop: str,
    dense_kind: str = "auto",
    versions: Mapping[str, str] | None = None,
    backbone: str | None = None,
) -> Path:
    """Write the index of a catalogue and give its folder.

    Args:
        catalogue: the products.
        search: the product-search bundle; None takes the stock backbone, or lexical search alone where it is missing.
        recommender: the recommender bundle; None leaves recommendations to nobody, and says so.
        folder: where the index comes to stand; written beside it first, then renamed.
        shop: the shop's name, "" where it has none.
        dense_kind: "flat", "hnsw", "ivf-pq" or "auto".
        versions: by bundle kind, the name people know the version by.
        backbone: the encoder taken where the bundle has none; None is the default backbone, "" is none.
    """
    raise NotImplementedError
