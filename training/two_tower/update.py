"""Going on from a model: its weights over another vocabulary, and what is new since it; numpy and torch only."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from recsys.errors import NothingToLearnError
from recsys.models.product_tower import shared_rows
from recsys.models.two_tower import TwoTower
from recsys.models.two_tower_config import FIRST, PADDING, UNKNOWN
from training.two_tower.sequences import Float, Int, Sequences

IDENTITY, SHARED = "products.identity.weight", "products.shared"


@dataclass(frozen=True, slots=True)
class Update:
    """What an update begins with.

    Attributes:
        network: with a row for each product of the vocabulary; it is trained in place.
        since: microseconds, the last event that it has learned.
    """

    network: TwoTower
    since: int


def grown(network: TwoTower, *, rows: Int, buckets: Int | None = None) -> TwoTower:
    """The same network over another vocabulary; products that are no longer in it lose their rows.

    A new product's row is that of the unknown product, by which it is served until then: its first update goes on
    from the vector that shoppers met. No noise is added, for every row has a gradient of its own.

    Args:
        network: the trained towers; it stays as it is.
        rows: int64 [vocabulary], each product's place in the network's own vocabulary, -1 for a new product.
        buckets: int64 [vocabulary, hashes], where the products share rows: then a new one has a vector already, and no
            row is added.
    """
    if buckets is None:
        known = torch.from_numpy(np.where(rows >= 0, rows + FIRST, UNKNOWN))
        table = network.products.identity.weight.detach()
        changed = {IDENTITY: table[torch.cat([torch.tensor([PADDING, UNKNOWN]), known])]}
    else:
        changed = {SHARED: shared_rows(torch.from_numpy(buckets))}
    made = TwoTower(replace(network.config, rows=len(rows) + FIRST))
    made.load_state_dict(network.state_dict() | changed)
    return made


def update_weights(weights: Float, sequences: Sequences, *, since: int, replay: float, seed: int) -> Float:
    """float32 [events], how much each event counts as a target of an update: what is new, and some of what is old.

    Args:
        weights: float32 [events], from `target_weights`.
        sequences: the events.
        since: microseconds; later targets are new.
        replay: share of the users of whom the older targets count as well, drawn anew for each `since`.
        seed: of the draw.

    Raises:
        NothingToLearnError: nothing new stands behind an earlier event.
    """
    users = sequences.users()
    later = sequences.timestamps > since
    begun = sequences.timestamps > sequences.timestamps[sequences.offsets[:-1]][users]
    if not (later & begun & (weights > 0)).any():
        moment = np.datetime64(since, "us").astype("datetime64[s]")
        raise NothingToLearnError(
            f"the model to go on from has learned all that known users did until {moment}, and nothing new follows it",
            expected="later events in the part that is learned",
            action="name a newer snapshot, or learn anew: --init stock",
        )
    drawn = np.random.default_rng([seed, abs(since)]).random(len(sequences)) < replay
    return np.where(later | drawn[users], weights, np.float32(0.0))
