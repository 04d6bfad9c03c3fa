"""The stages of a base bundle on a snapshot's catalogue, as a search would run them."""

from pathlib import Path

from feature_store.snapshot import Snapshot
from recsys.bundle.read import Bundle
from recsys.engine.build import build_index
from recsys.engine.engine import Engine
from recsys.engine.manifest import is_whole


def open_engine(snapshot: Snapshot, *, base: Bundle | None, index: Path, vectors: Path | None) -> Engine:
    """The engine over the snapshot's catalogue.

    Args:
        snapshot: whose catalogue is searched.
        base: the product-search bundle; None takes what there is without one.
        index: folder of the index; built where it is not whole.
        vectors: folder of text and image vectors that are kept from index to index; None keeps none.
    """
    if not is_whole(index):
        build_index(
            snapshot.catalogue(),
            search=base,
            recommender=None,
            folder=index,
            shop=snapshot.manifest.shop,
            cache=vectors,
            pictures=snapshot.pictures,
        )
    return Engine.open(index)
