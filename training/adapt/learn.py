"""Adapting a backbone to the texts of shops: from their snapshots to a checkpoint that any stage can start from."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from feature_store.snapshot import Snapshot
from recsys.errors import SnapshotError
from recsys.models.backbone import load_backbone, resolve_backbone
from recsys.models.masked_language import MaskedLanguageHead
from recsys.storage import atomic_folder
from recsys.text.tokenizer import TextTokenizer
from training.adapt.config import AdaptConfig
from training.adapt.masking import Vocabulary
from training.adapt.module import AdaptModule, loaders
from training.adapt.texts import shop_texts, stored_tokens
from training.batches import Rows
from training.fit import FitResult, fit, seed_all
from training.metric_log import MetricLog
from training.processes import main_process


def adapt(
    snapshots: Sequence[Snapshot], *, config: AdaptConfig, out: Path, work: Path, run: MetricLog | None = None
) -> FitResult:
    """Write the adapted backbone, its head and its tokenizer; the first process of a run writes.

    Args:
        snapshots: of the shops whose products, all of them, are read. No judgment is; of the queries only those of
            the training part, where the settings ask for them.
        config: of the run.
        out: the folder of the adapted backbone; one that stands there is replaced.
        work: of the tokens and the resume checkpoint; the same call goes on where it was killed.
        run: receives the metrics of each epoch.

    Raises:
        BundleError: the backbone can't be read.
        SnapshotError: the shops have no texts.
    """
    seed_all(config.seed)
    source = resolve_backbone(config.backbone)
    tokenizer = TextTokenizer.load(source)
    vocabulary = Vocabulary.of(tokenizer)
    texts = shop_texts(snapshots, fields=config.fields, queries=config.queries)
    tokens = stored_tokens(texts, work / "texts", tokenizer=tokenizer, max_length=config.max_length)
    if not len(tokens):
        raise SnapshotError(
            f"no product of {', '.join(str(snapshot.path) for snapshot in snapshots)} has any text",
            expected=f"products with {', '.join(config.fields)}",
            action="set fields to columns that are filled",
        )
    parts = parted(len(tokens), share=config.held_out, seed=config.seed)
    backbone = load_backbone(source, layers=config.layers)
    head = MaskedLanguageHead.load(source, backbone, seed=config.seed)
    first, second, steps = loaders(tokens, *parts, tokenizer=tokenizer, vocabulary=vocabulary, config=config)
    module = AdaptModule(backbone, head, vocabulary=vocabulary, config=config, steps=steps)
    result = fit(module, train=first, validation=second, config=config, folder=work, log=run)
    if main_process():
        with atomic_folder(out) as folder:
            backbone.save(folder)
            head.save(folder)
            tokenizer.save(folder)
    return result


def parted(texts: int, *, share: float, seed: int) -> tuple[Rows, Rows]:
    """The rows to learn from, and a seeded share of the texts whose loss is measured; both ascending."""
    count = int(share * texts)
    order = np.random.default_rng(seed).permutation(texts)
    return np.sort(order[count:]), np.sort(order[:count])
