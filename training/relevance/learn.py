"""Learning a cross-encoder: where its weights start, epochs chosen on the validation part, then the refit."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsys.models.backbone import Backbone, load_backbone, resolve_backbone
from recsys.models.cross_encoder import SETTINGS, CrossEncoder
from recsys.models.layers import keep_layers
from recsys.text.tokenizer import TextTokenizer
from training.fit import FitResult, fit, seed_all
from training.metric_log import MetricLog
from training.relevance.config import RelevanceConfig
from training.relevance.lora import add_adapters
from training.relevance.module import Pairs, RelevanceModule, loaders
from training.relevance.redraw import new_redraw


@dataclass(frozen=True, slots=True)
class Learned:
    """A trained network, its tokenizer and how the run went."""

    network: CrossEncoder
    tokenizer: TextTokenizer
    result: FitResult

    def save(self, folder: Path) -> None:
        """Write network and tokenizer as a component."""
        self.network.save(folder)
        self.tokenizer.save(folder)


def start_folder(config: RelevanceConfig, start: Path | None) -> Path:
    """The folder whose weights and tokenizer a run starts from: `start`, else the configured backbone."""
    return resolve_backbone(config.backbone) if start is None else start


def new_network(config: RelevanceConfig, folder: Path) -> CrossEncoder:
    """The network before training: a whole cross-encoder's weights, or a backbone's under a new head.

    Of a cross-encoder with more layers than the settings keep, the layers that stay are chosen as of a backbone.
    """
    if (folder / SETTINGS).is_file():
        network = CrossEncoder.load(folder)
        if config.layers is not None and config.layers < network.backbone.layers:
            keep_layers(network.backbone, config.layers, choice=config.layer_choice)
        network.max_length = config.max_length
        network.fields = config.fields
        network.dropout.p = config.dropout
        return network
    return CrossEncoder(
        cut_backbone(folder, config),
        seed=config.seed,
        pooling=config.pooling,
        dropout=config.dropout,
        max_length=config.max_length,
        fields=config.fields,
    )


def cut_backbone(folder: Path, config: RelevanceConfig) -> Backbone:
    """The backbone of a folder with the layers that the settings keep."""
    if config.layers is None or config.layer_choice == "first":
        return load_backbone(folder, layers=config.layers)
    return keep_layers(load_backbone(folder), config.layers, choice=config.layer_choice)


def learn(
    train: Pairs,
    judged: Pairs | None,
    *,
    config: RelevanceConfig,
    start: Path,
    work: Path,
    run: MetricLog | None = None,
    stop_after: int = 0,
    head: int | None = None,
) -> Learned:
    """One run from the start's weights.

    Args:
        train: the pairs to learn from.
        judged: the pairs whose by-query NDCG@10 chooses the epoch; None keeps the last epoch.
        config: of the run.
        start: see `start_folder`.
        work: folder of this run's checkpoints.
        run: receives the metrics of each epoch.
        stop_after: end after so many epochs of the schedule; 0 runs all.
        head: seed of a new head's weights; None takes the run's.
    """
    seed_all(config.seed)
    tokenizer = TextTokenizer.load(start)
    network = new_network(config if head is None else config.model_copy(update={"seed": head}), start)
    grades = np.where(train.weights > 0, train.grades, np.float32(np.nan))
    redraw = new_redraw(
        train.tokens, texts=train.texts, grades=grades, network=network, tokenizer=tokenizer, config=config
    )
    first, second, steps = loaders(train, judged, tokenizer=tokenizer, config=config, redraw=redraw)
    merge = adapters(network, config=config)
    module = RelevanceModule(network, config=config, steps=steps, judged=judged, scales=train.best_grades)
    result = fit(
        module,
        train=first,
        validation=second,
        config=config,
        folder=work,
        log=run,
        monitor="validation/ndcg@10" if judged is not None else "",
        stop_after=stop_after,
    )
    merge()
    return Learned(network.eval(), tokenizer, result)


def adapters(network: CrossEncoder, *, config: RelevanceConfig) -> Callable[[], None]:
    """What ends the training of low-rank adapters; nothing where the backbone's own weights are learned."""
    if not config.lora:
        return lambda: None
    return add_adapters(network, rank=config.lora, alpha=config.lora_alpha, targets=config.lora_targets)
