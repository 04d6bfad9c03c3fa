"""The lists as they are served: held to what the shop and the model ask of them, variety, caps, prices and stock."""

import logging
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from feature_store.config import load_config
from feature_store.snapshot import Snapshot
from recsys.engine.engine import Engine
from recsys.engine.ladder import Filled, take
from recsys.engine.policy import ListRules
from recsys.errors import UsageError
from recsys.types import Rung
from training.counted import until
from training.evaluate.trial import BEFORE, Ask, Trial

log = logging.getLogger(__name__)

SERVED = "engine, lists as served"


def shop_lists(snapshot: Snapshot) -> ListRules:
    """What the snapshot's shop asks of all lists today; nothing where its folder is gone."""
    folder = snapshot.pictures
    return ListRules() if folder is None else load_config(folder).lists


def as_served(engine: Engine, trial: Trial, *, snapshot: Snapshot, split: str, repeats: bool, k: int) -> dict[str, Ask]:
    """The engine's lists of k as users get them, a system of its own; none where they are the engine's plain ones.

    What returns after a time, and what users own, is told by their purchases before the part, as when it is served.

    Args:
        engine: whose policy says what lists hold to.
        trial: the users.
        snapshot: the events.
        split: "validation" or "test".
        repeats: whether bought products may come back.
        k: length of the lists, whatever is asked for: how a shaped list begins depends on how long it is.
    """
    shape = engine.recommendations.policy.shape
    if shape.plain and not shape.available and (repeats or not shape.returns):
        return {}
    histories = trial.histories
    if histories.now is None and snapshot.manifest.timestamps == "calendar":
        histories = replace(histories, now=until(snapshot, parts=BEFORE[split]))

    def ask(users: NDArray[np.int64], _: int) -> Iterable[Filled]:
        return engine.recommendations.lists(
            take(histories, users),
            [trial.segments[user] for user in users],
            k=k,
            allowed=None,
            repeats=repeats,
            wishes=None,
            rung=Rung.PERSONAL,
        )

    try:
        ask(np.zeros(0, dtype=np.int64), k)
    except UsageError as error:
        log.warning("lists as they are served are not measured: %s", error)
        return {}
    return {SERVED: ask}
