"""Low-rank adapters: a backbone learns through small matrices beside its own, which are merged into them at the end."""

from collections.abc import Callable, Sequence

from torch import nn

from recsys.errors import MissingDependencyError, UsageError
from recsys.models.cross_encoder import CrossEncoder


def add_adapters(network: CrossEncoder, *, rank: int, alpha: float, targets: Sequence[str]) -> Callable[[], None]:
    """Put an adapter beside each target layer; the backbone's own weights are frozen, the head's are not.

    An adapter changes nothing until it has learned; its weights are drawn from torch's generator.

    Args:
        network: changed in place.
        rank: of the adapters, 1 or more.
        alpha: the adapters' output counts alpha / rank.
        targets: the layers, by the end of their names.

    Returns:
        What merges the adapters into the layers' weights and takes them away: the network is a plain one again.

    Raises:
        UsageError: the backbone has no such layers.
        MissingDependencyError: peft is not installed.

    Source: Hu et al. 2022 (arXiv 2106.09685).
    """
    try:
        from peft import LoraConfig, LoraModel
    except ImportError as error:
        raise MissingDependencyError(
            "peft is not installed", expected="peft, for lora", action="pip install 'shoprank[train]'"
        ) from error
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets), bias="none")
    backbone = network.backbone
    try:
        tuner = LoraModel(backbone.network, config, "default")
    except ValueError as error:
        parts = backbone.network.named_modules()
        names = sorted({name.rpartition(".")[2] for name, part in parts if isinstance(part, nn.Linear)})
        raise UsageError(
            f"lora_targets = {', '.join(targets)}", expected=f"some of {', '.join(names)}", action="correct the names"
        ) from error

    def merge() -> None:
        backbone.network = tuner.merge_and_unload()

    return merge
