"""Networks that turn a picture into features: any vision checkpoint, or a small one that is learned from scratch."""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = (12, 16, 24)


class ImageEncoder(Protocol):
    """A vision network; SmallImageEncoder and VisionBackbone are two."""

    @property
    def width(self) -> int:
        """Size of a picture's features."""
        ...

    @property
    def size(self) -> int:
        """Height and width of the pictures that it reads, in pixels."""
        ...

    def __call__(self, pixels: Tensor) -> Tensor:
        """float32 [batch, width] for uint8 [batch, size, size, 3]; a row does not hang on its company."""
        ...


class SmallImageEncoder(nn.Module):
    """Three convolutions of stride 2; the mean and the maximum of what they find, 5,600 weights in all.

    No layer mixes the pictures of a batch, so single equals batch of one.

    Args:
        size: height and width of the pictures, in pixels, at least 8.
    """

    width = 2 * CHANNELS[-1]

    def __init__(self, size: int = 32) -> None:
        super().__init__()
        self.size = size
        sizes = (3, *CHANNELS)
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in zip(sizes, CHANNELS, strict=False)
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """See ImageEncoder. White is 0, so that the ground around a product says nothing."""
        states = pixels.permute(0, 3, 1, 2).float() / 255 - 1
        for layer in self.layers:
            states = functional.relu(layer(states))
        places = states.flatten(2)
        return torch.cat([places.mean(dim=2), places.amax(dim=2)], dim=1)
