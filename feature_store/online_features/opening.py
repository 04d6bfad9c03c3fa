"""Open what is published of a shop, for one question."""

from collections.abc import Sequence

from feature_store.forgetting.opening import names_behind
from feature_store.online.opening import value_store
from feature_store.online_features.state import ABOUT, About
from feature_store.online_features.store import OnlineFeatures
from feature_store.point_in_time.definitions import ENTITIES, Entity
from recsys.errors import UsageError
from recsys.settings import Settings


def open_features(settings: Settings, *, shop: str) -> OnlineFeatures:
    """The online features of a shop, read with plain user ids.

    Raises:
        UsageError: they are masked, and the key is missing.
        StorageError: the store does not answer.
    """
    store = value_store(settings, shop=shop)
    (about,) = store.read([ABOUT])
    mask = "" if about is None else About.of(about).mask
    return OnlineFeatures(store, mask=names_behind(mask, settings=settings, shop=shop))


def parts_of(entity: Entity, words: Sequence[str]) -> list[tuple[str, ...]]:
    """Words of a command line as keys; UsageError where they are no whole number of them."""
    size = len(ENTITIES[entity])
    if len(words) % size:
        raise UsageError(
            f"{len(words)} words for keys of {' and '.join(ENTITIES[entity])}",
            expected=f"{size} for each key",
            action="give both parts of each pair, one after the other",
        )
    return [tuple(words[start : start + size]) for start in range(0, len(words), size)]
