"""Where the grades of each shop begin on the common scale of the scores, learned together with the network."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

Scales = Mapping[int, float]
RATE = 0.01
"""Learning rate of the cut-points, which are few, start anywhere and would hardly move at the network's."""


class CutPoints(nn.Module):
    """Ordered cut-points, a row for each shop: a product of score s reaches grade k with sigmoid(s - cut k).

    They stay in order whatever is learned: each is the one before and a gap, softplus of what is learned. They start
    at logit((k - 1/2) / levels). Those of the first shop keep a mean of 0, so that a score of 0 stays in the middle of
    its scale, and with a single grade the cut is 0 and sigmoid(s) its probability; other shops may judge more or less
    strictly. They serve learning alone: use reads the scores, and what they mean is told by the calibration.

    Args:
        scales: by the shop's number, its best grade; a shop has so many cut-points, rounded up, and one at least.

    Source: McCullagh 1980, "Regression models for ordinal data" (cumulative link); ordered as in Cao, Mirjalili and
    Raschka 2020 (arXiv 1901.07884), whose independent thresholds need a theorem for it.
    """

    tops: Tensor

    def __init__(self, scales: Scales) -> None:
        super().__init__()
        self.first = min(scales)
        tops = [max(1.0, scales.get(number, 1.0)) for number in range(max(scales) + 1)]
        self.register_buffer("tops", torch.tensor(tops), persistent=False)
        self.learned = nn.ParameterList(start(math.ceil(top)) for top in tops)

    def rows(self) -> list[Tensor]:
        """By the shop's number float32 [levels], ascending."""
        found = [torch.cat([row[:1], row[:1] + functional.softplus(row[1:]).cumsum(0)]) for row in self.learned]
        found[self.first] = found[self.first] - found[self.first].mean()
        return found

    def forward(self, shops: Tensor) -> Tensor:
        """float32 [batch, levels]: the cut-points of each pair's shop, int64 [batch]; inf beyond the shop's own."""
        rows = self.rows()
        most = max(len(row) for row in rows)
        table = torch.stack([functional.pad(row, (0, most - len(row)), value=math.inf) for row in rows])
        return table[shops]

    def grades(self, targets: Tensor, shops: Tensor) -> Tensor:
        """float32 [batch]: shares of the best grade, float [batch] in 0..1, on the scales of int64 [batch] shops."""
        return targets * self.tops[shops]


def start(levels: int) -> nn.Parameter:
    """float32 [levels]: what `CutPoints` turns into logit((k - 1/2) / levels)."""
    cuts = torch.logit((torch.arange(levels, dtype=torch.float64) + 0.5) / levels)
    return nn.Parameter(torch.cat([cuts[:1], cuts.diff().expm1().log()]).float())
