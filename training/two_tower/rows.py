"""How a table of which a step reads few rows learns: those rows alone are read and written."""

from dataclasses import dataclass

import torch
from torch import Tensor

DECAY, LEAST = 0.999, 1e-8


@dataclass(slots=True)
class RowAdam:
    """Adam without momentum, with one second moment to a row, made up for the steps in which a row had no gradient.

    A row that is left alone in dense Adam (beta_1 = 0) stays, and its second moment fades; so both may wait until the
    row is met again, and the weights are those of the dense rule. Beside the weights a row takes 8 bytes.
    Source: Kingma and Ba, arXiv 1412.6980, algorithm 1; a moment to a row as in Shazeer and Stern, arXiv 1804.04235,
    section 3; decoupled decay as in Loshchilov and Hutter, arXiv 1711.05101.

    Attributes:
        moments: float32 [rows], means of the squared gradients, as of the row's last step.
        met: int32 [rows], the last step that met the row; 0 for none.
        steps: so many were made.
        weight_decay: share of the weights, times the rate, that a step takes away.
    """

    moments: Tensor
    met: Tensor
    steps: int
    weight_decay: float

    @classmethod
    def new(cls, rows: int, *, weight_decay: float) -> "RowAdam":
        """Before the first step."""
        return cls(torch.zeros(rows), torch.zeros(rows, dtype=torch.int32), 0, weight_decay)

    @torch.no_grad()
    def step(self, table: Tensor, gradient: Tensor, *, rate: float) -> None:
        """Move the rows that have a gradient.

        The decay of the steps that a row missed is made up at today's rate.

        Args:
            table: float32 [rows, width], changed in place.
            gradient: sparse [rows, width], of some rows.
            rate: of learning, above 0.
        """
        self.steps += 1
        if self.moments.device != table.device:
            self.moments, self.met = self.moments.to(table.device), self.met.to(table.device)
        gradient = gradient.coalesce()
        rows, values = gradient.indices()[0], gradient.values()
        missed = (self.steps - self.met[rows]).float()
        moments = self.moments[rows] * DECAY**missed + (1 - DECAY) * values.square().mean(dim=1)
        self.moments[rows], self.met[rows] = moments, self.steps
        scale = (moments / (1 - DECAY**self.steps)).sqrt_().add_(LEAST)
        kept = (1 - rate * self.weight_decay) ** missed
        table[rows] = table[rows] * kept[:, None] - rate * values / scale[:, None]

    def state(self) -> dict[str, Tensor | int]:
        """What a checkpoint holds."""
        return {"moments": self.moments, "met": self.met, "steps": self.steps}

    def restore(self, state: dict[str, Tensor | int]) -> None:
        """Go on from a checkpoint's `state`."""
        self.moments, self.met = torch.as_tensor(state["moments"]), torch.as_tensor(state["met"])
        self.steps = int(state["steps"])
