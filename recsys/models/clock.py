"""What the hour and the weekday of a moment add to the vector of a user who is answered then."""

import torch
from torch import Tensor, nn

MICROSECONDS_AN_HOUR, HOURS, DAYS = 3_600_000_000, 24, 7
THURSDAY = 3
"""1970-01-01 was one; weeks begin on Monday."""
NEVER = -(2**63)
"""Stands for a moment that is not known."""


class Clock(nn.Module):
    """The sum of an hour's and a weekday's embedding (UTC); nothing where the moment is not known.

    Args:
        width: of the vectors.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hour = nn.Embedding(HOURS + 1, width, padding_idx=0)
        self.weekday = nn.Embedding(DAYS + 1, width, padding_idx=0)
        for embedding in (self.hour, self.weekday):
            nn.init.normal_(embedding.weight, std=0.02)
            with torch.no_grad():
                embedding.weight[0].zero_()

    def forward(self, moments: Tensor) -> Tensor:
        """float [..., width] of int64 [...] microseconds since 1970-01-01 UTC, NEVER where not known."""
        hours = torch.div(moments, MICROSECONDS_AN_HOUR, rounding_mode="floor")
        days = torch.div(hours, HOURS, rounding_mode="floor")
        known = moments != NEVER
        hour = torch.where(known, hours % HOURS + 1, 0)
        weekday = torch.where(known, (days + THURSDAY) % DAYS + 1, 0)
        vectors: Tensor = self.hour(hour) + self.weekday(weekday)
        return vectors
