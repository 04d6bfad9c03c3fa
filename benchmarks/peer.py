"""The peer of the cross-encoder's training: sentence-transformers' CrossEncoder with its own trainer and loss."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from recsys.types import Scores


@contextmanager
def peer_trainer(
    judgments: pl.DataFrame,
    *,
    texts: Sequence[str],
    best: float,
    start: Path,
    work: Path,
    seed: int = 0,
    max_length: int | None = None,
    **settings: Any,
) -> Iterator[Any]:
    """The peer's trainer on judged pairs, which tokenises as it goes; `train()` trains its `model`.

    Args:
        judgments: columns query and grade.
        texts: of each judgment's product.
        best: the highest grade; the target is grade / best.
        start: folder of the weights that it starts from, under a new head.
        work: folder that it may write to.
        seed: of head, order and dropout.
        max_length: tokens of a pair; None leaves it to the tokenizer.
        settings: of the trainer, where they aren't its defaults.
    """
    from datasets import Dataset
    from sentence_transformers.cross_encoder import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

    targets = (judgments["grade"] / best).to_list()
    rows = Dataset.from_dict({"query": judgments["query"].to_list(), "product": list(texts), "label": targets})
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = CrossEncoder(str(start), num_labels=1, max_length=max_length, device="cpu", local_files_only=True)
        arguments = CrossEncoderTrainingArguments(
            output_dir=str(work),
            seed=seed,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            **settings,
        )
        yield CrossEncoderTrainer(model=model, args=arguments, train_dataset=rows, loss=BinaryCrossEntropyLoss(model))


def peer_scores(model: Any, judgments: pl.DataFrame, *, texts: Sequence[str]) -> Scores:
    """float32 [pairs], 0..1: what a trained peer says of judged pairs."""
    pairs = list(zip(judgments["query"].to_list(), texts, strict=True))
    return np.asarray(model.predict(pairs, show_progress_bar=False), dtype=np.float32)
