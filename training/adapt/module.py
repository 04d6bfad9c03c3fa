"""How a backbone is adapted: fill in masked words, drawn anew in each epoch."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.nn import functional

from recsys.models.backbone import Backbone
from recsys.models.masked_language import MaskedLanguageHead, word_vectors
from recsys.text.tokenizer import TextTokenizer, Tokens
from training.adapt.config import AdaptConfig
from training.adapt.masking import IGNORED, Vocabulary, mask_words
from training.batches import Loader, Rows, length_batches, scoring_batches
from training.fit import adamw, schedule_steps

Batch = dict[str, Tensor]


class AdaptModule(LightningModule):
    """A backbone and its masked-language-model head in training.

    Args:
        backbone: what is adapted.
        head: fills in the masked pieces.
        vocabulary: of the tokenizer.
        config: of the run.
        steps: optimiser steps of the whole schedule.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: MaskedLanguageHead,
        *,
        vocabulary: Vocabulary,
        config: AdaptConfig,
        steps: int,
    ) -> None:
        super().__init__()
        self.backbone = backbone.train()
        self.head = head.train()
        self.mask_id = vocabulary.mask_id
        self.register_buffer("ordinary", torch.from_numpy(vocabulary.ordinary), persistent=False)
        self.config = config
        self.steps = steps

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The mean loss of a masked piece; the masks are drawn from torch's seed, which the place in the run sets."""
        return self.loss(batch)[0]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the mean loss of a masked piece, nats, under the same masks in every epoch."""
        generator = torch.Generator(self.device).manual_seed(self.config.seed * 1_000_003 + batch_idx)
        loss, count = self.loss(batch, generator=generator)
        self.log("validation/loss", loss, on_epoch=True, batch_size=max(count, 1), sync_dist=True)

    def loss(self, batch: Batch, *, generator: torch.Generator | None = None) -> tuple[Tensor, int]:
        """The mean cross-entropy of the masked pieces, 0 where there are none, and how many there are."""
        ordinary = self.ordinary
        assert isinstance(ordinary, Tensor)  # noqa: S101 - buffers are typed as modules, too
        shown, labels = mask_words(
            batch["input_ids"],
            batch["words"],
            share=self.config.mask_share,
            mask_id=self.mask_id,
            ordinary=ordinary,
            generator=generator,
        )
        masked = labels != IGNORED
        hidden = self.backbone(shown, batch["attention_mask"], batch["token_type_ids"])[masked]
        logits = self.head(hidden, word_vectors(self.backbone)).float()
        count = len(logits)
        return functional.cross_entropy(logits, labels[masked], reduction="sum") / max(count, 1), count

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW with warm-up and linear decay."""
        return adamw(self, config=self.config, steps=self.steps)


def loaders(
    tokens: Tokens,
    train: Rows,
    held_out: Rows,
    *,
    tokenizer: TextTokenizer,
    vocabulary: Vocabulary,
    config: AdaptConfig,
) -> tuple[Loader, Loader | None, int]:
    """Batches of texts of like length, those whose loss is measured, and the optimiser steps of the whole schedule.

    Args:
        tokens: of all texts; read from the disk batch by batch.
        train: int64, the rows to learn from.
        held_out: int64, the rows whose loss is measured; none gives no loader.
        tokenizer: pads the batches.
        vocabulary: says which pieces make a word.
        config: of the run.
    """

    def batches(epoch: int) -> list[Rows]:
        lengths = tokens.lengths[train]
        found = length_batches(lengths, batch_size=config.batch_size, seed=config.seed, epoch=epoch)
        return [train[rows] for rows in found]

    def shown(rows: Rows) -> Batch:
        return collate(tokens, rows, tokenizer=tokenizer, vocabulary=vocabulary)

    first = Loader(batches, shown)
    steps = schedule_steps(first, config)
    if not len(held_out):
        return first, None, steps
    fixed = scoring_batches(tokens.lengths[held_out], batch_size=config.batch_size, processes=config.devices)
    measured = [held_out[rows] for rows in fixed]
    return first, Loader(lambda epoch: measured, shown), steps


def collate(tokens: Tokens, rows: Rows, *, tokenizer: TextTokenizer, vocabulary: Vocabulary) -> Batch:
    """Some texts, padded to the longest, with the number of each piece's word."""
    batch = tokenizer.pad(tokens.take(rows))
    return {**batch, "words": torch.from_numpy(vocabulary.words(batch["input_ids"].numpy()))}
