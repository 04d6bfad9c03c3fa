"""Cutting a network down to fewer layers: the first ones, or evenly spaced ones."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from torch import nn

from recsys.errors import BundleError
from recsys.models.backbone import Backbone

LayerChoice = Literal["first", "spaced"]


def kept_layers(there: int, wanted: int, *, choice: LayerChoice) -> list[int]:
    """The numbers of the layers that stay, rising from 0.

    Args:
        there: layers of the network.
        wanted: how many stay, 1 to `there`.
        choice: "first" takes the lowest; "spaced" spreads them evenly from the lowest to the highest, 0 2 5 of six and
            0 2 4 7 9 11 of twelve.

    Source: Sanh et al. 2019 (arXiv 1910.01108), section 3 and their code: one layer out of two.
    """
    if choice == "first" or wanted == 1:
        return list(range(wanted))
    return [int(number) for number in np.round(np.linspace(0, there - 1, wanted))]


def keep_layers(backbone: Backbone, layers: int, *, choice: LayerChoice) -> Backbone:
    """The backbone with so many of its layers; changed in place.

    Args:
        backbone: any whose transformer layers stand in one list.
        layers: how many stay.
        choice: which; see `kept_layers`.

    Raises:
        BundleError: there are not so many layers, or no list of them is found.
    """
    there = backbone.layers
    if not 1 <= layers <= there:
        raise BundleError(f"{layers} layers of {there}", expected=f"1 to {there}", action="set layers within that")
    owner, name, stack = layer_list(backbone)
    setattr(owner, name, nn.ModuleList(stack[number] for number in kept_layers(there, layers, choice=choice)))
    backbone.network.config.num_hidden_layers = layers
    return backbone


def layer_list(backbone: Backbone) -> tuple[nn.Module, str, Sequence[nn.Module]]:
    """The module that owns the list of layers, the list's name in it, and the list."""
    for owner in backbone.network.modules():
        for name, child in owner.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == backbone.layers:
                return owner, name, list(child)
    raise BundleError(
        f"no list of {backbone.layers} layers in {type(backbone.network).__name__}",
        expected="a BERT-family network",
        action="name another backbone, or leave its layers as they are",
    )
