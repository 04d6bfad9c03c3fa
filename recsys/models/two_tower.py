"""A two-tower recommender: one tower reads a user's history, the other a product; they meet in an inner product.

The user tower is causal over the product vectors of the history, so the state behind each event depends on that event
and on earlier ones alone.
"""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from recsys.errors import BundleError
from recsys.models.clock import Clock
from recsys.models.product_tower import ProductTower
from recsys.models.two_tower_config import TwoTowerConfig
from recsys.models.user_tower import UserTower

OLDER = {"users.segment.weight": "users.attributes.0.weight"}
"""Weights that had another name when the segment was all that was read of a user."""


class TwoTower(nn.Module):
    """Both towers; a user likes a product as much as their vectors' inner product says."""

    def __init__(self, config: TwoTowerConfig) -> None:
        super().__init__()
        self.config = config
        self.products = ProductTower(config)
        self.users = UserTower(config)
        self.calendar = nn.Linear(config.width, config.calendar) if config.calendar else None
        learned = config.similarity == "cosine" and config.learned_temperature
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.temperature))) if learned else None
        self.clock = Clock(config.width) if config.clock else None

    def encode_products(
        self,
        rows: Tensor,
        text: Tensor | None = None,
        codes: Tensor | None = None,
        calendar: Tensor | None = None,
    ) -> Tensor:
        """Product vectors, of unit length where cosine is asked, and behind them what the calendar says.

        Args:
            rows: int64 [n], embedding rows.
            text: float [n, text_width]; None where the network reads no text.
            codes: int64 [n, features]; None where the network reads none.
            calendar: float [n, calendar]; None leaves the vectors without it, as in training, where it depends on the
                state that asks.

        Returns:
            float [n, width], or [n, width + calendar].
        """
        vectors = cast(Tensor, self.products(rows, text, codes))
        vectors = vectors if self.config.similarity == "inner" else functional.normalize(vectors.float(), dim=-1)
        return vectors if calendar is None else torch.cat([vectors, calendar.to(vectors.dtype)], dim=-1)

    def encode_states(
        self,
        vectors: Tensor,
        event_types: Tensor,
        times: Tensor | None = None,
        attributes: Tensor | None = None,
        *,
        moments: Tensor | None = None,
    ) -> Tensor:
        """The user vector behind every event.

        Args:
            vectors: float [batch, length, width or more] from `encode_products`, zeros at padded places behind.
            event_types: int64 [batch, length].
            times: int64 [batch, length], microseconds; None where the network knows no time.
            attributes: int64 [batch, attributes], the users' codes; None where the network reads none.
            moments: int64 [batch, length or 1], microseconds, when what follows each event is asked for, NEVER where
                that is not known; None where it is known of none.

        Returns:
            float [batch, length, width + calendar], to be multiplied with product vectors; the temperature is applied.
        """
        states = cast(Tensor, self.users(vectors[..., : self.config.width], event_types, times, attributes))
        states = states if self.clock is None or moments is None else states + self.clock(moments)
        heard = None if self.calendar is None else self.calendar(states)
        if self.config.similarity == "cosine":
            states = functional.normalize(states.float(), dim=-1) / self.temperature()
        return states if heard is None else torch.cat([states, heard.to(states.dtype)], dim=-1)

    def temperature(self) -> Tensor | float:
        """The divisor of the cosine, between a hundredth and 1 where it is learned.

        Source: Radford et al., arXiv 2103.00020, section 2.3 (learned on a log scale, and held above .01).
        """
        if self.log_temperature is None:
            return self.config.temperature
        return self.log_temperature.clamp(min=math.log(0.01), max=0.0).exp()

    def encode_users(
        self,
        vectors: Tensor,
        event_types: Tensor,
        lengths: Tensor,
        times: Tensor | None = None,
        attributes: Tensor | None = None,
        *,
        moments: Tensor | None = None,
    ) -> Tensor:
        """The user vector behind the latest event; see `encode_states`.

        Args:
            vectors: float [batch, length, width or more].
            event_types: int64 [batch, length].
            lengths: int64 [batch], events of each history, at least 1.
            times: int64 [batch, length], microseconds; None where the network knows no time.
            attributes: int64 [batch, attributes], the users' codes; None where the network reads none.
            moments: int64 [batch], microseconds, when each user is answered, NEVER where not known; None for none.

        Returns:
            float [batch, width + calendar].
        """
        asked = None if moments is None else moments[:, None]
        states = self.encode_states(vectors, event_types, times, attributes, moments=asked)
        return states[torch.arange(len(states), device=states.device), lengths - 1]

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors into the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(asdict(self.config), indent=2) + "\n", encoding="utf-8")
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        save_file(weights, folder / "model.safetensors")

    @classmethod
    def load(cls, folder: Path) -> "TwoTower":
        """Read what `save` wrote, ready to answer.

        Raises:
            BundleError: a file is missing or does not fit the other.
        """
        try:
            told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            network = cls(known_config(told))
            weights = load_file(folder / "model.safetensors")
            network.load_state_dict({OLDER.get(name, name): tensor for name, tensor in weights.items()})
        except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
            raise BundleError(
                f"{folder}: {' '.join(str(error).split())[:200]}",
                expected="config.json and model.safetensors of one two-tower network",
                action="train the stage again with `recsys train two-tower`",
            ) from error
        return network.eval()


def known_config(told: dict[str, Any]) -> TwoTowerConfig:
    """The configuration in a config.json, also one from when the segment was all that was read of a user."""
    segments = told.pop("segments", 0)
    older = {"attributes": [segments]} if segments else {}
    lists = {name: tuple(value) for name, value in (older | told).items() if isinstance(value, list)}
    return TwoTowerConfig(**told | lists)
