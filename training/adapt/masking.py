"""Whole-word masking: which pieces make a word, and which words a network must fill in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys.errors import BundleError
from recsys.text.tokenizer import TextTokenizer

IGNORED = -100  # the label of a piece that need not be filled in
MASKED, RANDOM = 0.8, 0.1  # of the chosen pieces; the others stay as they are


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What masking knows of a tokenizer.

    Attributes:
        continues: bool [vocabulary], True where a piece goes on with the word before it.
        special: bool [vocabulary], True for [CLS], [SEP], [PAD] and the like, which are never masked.
        mask_id: the id of [MASK].
    """

    continues: NDArray[np.bool_]
    special: NDArray[np.bool_]
    mask_id: int

    @classmethod
    def of(cls, tokenizer: TextTokenizer) -> Self:
        """The vocabulary of a WordPiece, byte-level BPE or SentencePiece tokenizer.

        Raises:
            BundleError: the tokenizer has no piece that hides others.
        """
        if tokenizer.mask_id is None:
            raise BundleError(
                "a tokenizer without [MASK]", expected="one of a BERT-family backbone", action="name another backbone"
            )
        special = np.zeros(tokenizer.vocabulary_size, dtype=np.bool_)
        special[list(tokenizer.special_ids)] = True
        return cls(word_continues(tokenizer.pieces) & ~special, special, tokenizer.mask_id)

    @property
    def ordinary(self) -> NDArray[np.int64]:
        """The ids that may stand in for a piece."""
        return np.flatnonzero(~self.special)

    def words(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number of each piece's word in its row, from 0.

        Args:
            ids: int64 [batch, length], padded with a special id.

        Returns:
            int64 [batch, length], -1 at special pieces.
        """
        special = self.special[ids]
        after = np.concatenate([np.ones((len(ids), 1), dtype=np.bool_), special[:, :-1]], axis=1)
        begins = ~special & (after | ~self.continues[ids])
        return np.where(special, -1, np.cumsum(begins, axis=1) - 1)


def word_continues(pieces: Sequence[str]) -> NDArray[np.bool_]:
    """bool [vocabulary]: which pieces don't begin a word, by the marks that the kinds of tokenizers use.

    WordPiece marks what goes on ("##ing"), byte-level BPE and SentencePiece mark what begins ("Ġsofa", "▁sofa").
    """
    for mark, goes_on in (("##", True), ("Ġ", False), ("▁", False)):
        marked = np.fromiter((piece.startswith(mark) for piece in pieces), dtype=np.bool_, count=len(pieces))
        if marked.any():
            return marked if goes_on else ~marked
    return np.zeros(len(pieces), dtype=np.bool_)


def mask_words(
    ids: Tensor,
    words: Tensor,
    *,
    share: float,
    mask_id: int,
    ordinary: Tensor,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Hide whole words: each is chosen with the probability `share`, all its pieces or none.

    Of the chosen pieces 80 % become [MASK], 10 % any other piece and 10 % stay as they are.

    Args:
        ids: int64 [batch, length].
        words: int64 [batch, length], the number of the piece's word in its row, -1 at special pieces and padding.
        share: 0..1.
        mask_id: of [MASK].
        ordinary: int64 [pieces], ids that a piece may be replaced with.
        generator: of the draws, on the tensors' device; None takes torch's own.

    Returns:
        The ids to show, int64 [batch, length], and the labels: the true id where a piece was chosen, else IGNORED.

    Source: Devlin et al. 2019 (arXiv 1810.04805), section 3.1; whole words as in the authors' later release.
    """
    draws = torch.rand(ids.shape, generator=generator, device=ids.device)
    chosen = (words >= 0) & (draws.gather(1, words.clamp(min=0)) < share)
    kind = torch.rand(ids.shape, generator=generator, device=ids.device)
    others = ordinary[torch.randint(len(ordinary), ids.shape, generator=generator, device=ids.device)]
    shown = torch.where(chosen & (kind < MASKED), mask_id, ids)
    shown = torch.where(chosen & (kind >= MASKED) & (kind < MASKED + RANDOM), others, shown)
    return shown, torch.where(chosen, ids, IGNORED)
