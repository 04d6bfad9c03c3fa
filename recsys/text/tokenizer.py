"""Word pieces for the networks: a text is tokenised once, unpadded, and padded when its batch is known.

transformers is imported on first use, for it takes four seconds.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from recsys.errors import BundleError
from recsys.text.normalise import well_formed

MAX_LENGTH = 128
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids of many texts as one ragged array; special tokens are in, padding is not.

    Attributes:
        ids: int32 [tokens].
        types: int8 [tokens], 0 in the first text of a pair, 1 in the second.
        offsets: int64 [rows + 1]; row i owns offsets[i] to offsets[i + 1].
    """

    ids: NDArray[np.int32]
    types: NDArray[np.int8]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64 [rows], tokens of each row."""
        return np.diff(self.offsets)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> "Tokens":
        """The rows asked for, in the order asked."""
        chosen = np.asarray(rows, dtype=np.int64)
        lengths = self.lengths[chosen]
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        source = np.repeat(self.offsets[chosen] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Tokens(ids=self.ids[source], types=self.types[source], offsets=offsets)

    def join(self, other: "Tokens") -> "Tokens":
        """The rows of both, one behind the other."""
        return Tokens(
            ids=np.concatenate([self.ids, other.ids]),
            types=np.concatenate([self.types, other.types]),
            offsets=np.concatenate([self.offsets, self.offsets[-1] + other.offsets[1:]]),
        )


class Place(NamedTuple):
    """Where a token stands: in the first or second text (0, 1), in which word, from which character to which.

    Special tokens stand nowhere: `side` and `word` are None.
    """

    side: int | None
    word: int | None
    start: int
    end: int


class TextTokenizer:
    """A fast tokenizer of one backbone.

    Args:
        tokenizer: a loaded fast tokenizer of transformers.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._whole = tokenizer
        self._fast = tokenizer.backend_tokenizer
        self._fast.no_padding()
        self._fast.no_truncation()
        self._lock = threading.Lock()
        self.pad_id: int = tokenizer.pad_token_id
        self.longest: int = min(tokenizer.model_max_length, 512)

    @classmethod
    def load(cls, folder: Path) -> "TextTokenizer":
        """The tokenizer of a backbone, text encoder or cross-encoder folder.

        Raises:
            BundleError: the folder holds no tokenizer that can be read.
        """
        from transformers import AutoTokenizer

        try:
            loaded = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(
                f"{folder} holds no readable tokenizer ({' '.join(str(error).split())[:200]})",
                expected="tokenizer.json or vocab.txt",
                action="name a complete backbone folder",
            ) from error
        return cls(loaded)

    @classmethod
    def of_words(cls, words: Iterable[str], folder: Path, *, max_length: int = 512) -> "TextTokenizer":
        """A new lower-casing WordPiece tokenizer; words outside the vocabulary are spelt by their characters.

        Args:
            words: the vocabulary, whole words; letters, digits and punctuation are added.
            folder: where vocab.txt is written first.
            max_length: the longest row in tokens.
        """
        from transformers import BertTokenizer

        letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
        pieces = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters if letter.isalnum()), *words]
        folder.mkdir(parents=True, exist_ok=True)
        vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
        (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
        return cls(BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=max_length))

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids, added ones too."""
        return int(self._fast.get_vocab_size(with_added_tokens=True))

    @property
    def pieces(self) -> list[str]:
        """The pieces in the order of their ids, with the marks that say which begin or go on with a word."""
        return list(self._whole.convert_ids_to_tokens(list(range(self.vocabulary_size))))

    @property
    def special_ids(self) -> list[int]:
        """Ids of [CLS], [SEP], [PAD], [UNK], [MASK] and the like."""
        return list(self._whole.all_special_ids)

    @property
    def mask_id(self) -> int | None:
        """The id of [MASK]; None where the tokenizer has none."""
        found: int | None = self._whole.mask_token_id
        return found

    def encode(
        self, texts: Sequence[str], *, pairs: Sequence[str] | None = None, max_length: int = MAX_LENGTH
    ) -> Tokens:
        """Token ids of texts, or of pairs (texts[i], pairs[i]), cut to the length and unpadded.

        Args:
            texts: the first texts.
            pairs: the second texts, as many as the first; of a pair that is too long the longer text is cut.
            max_length: at most so many tokens a row, special ones included, 8 to the network's limit.
        """
        batch = [well_formed(text) for text in texts]
        rows: list[Any] = batch if pairs is None else list(zip(batch, map(well_formed, pairs), strict=True))
        with self._lock:  # the truncation is state of the tokenizer, and threads share it
            self._fast.enable_truncation(min(max_length, self.longest), strategy="longest_first")
            encodings = self._fast.encode_batch_fast(rows)
        lengths = np.fromiter(map(len, encodings), dtype=np.int64, count=len(encodings))
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        count = int(offsets[-1])
        return Tokens(
            ids=np.fromiter(chain.from_iterable(row.ids for row in encodings), dtype=np.int32, count=count),
            types=np.fromiter(chain.from_iterable(row.type_ids for row in encodings), dtype=np.int8, count=count),
            offsets=offsets,
        )

    def places(self, texts: Sequence[str], *, pairs: Sequence[str], max_length: int = MAX_LENGTH) -> list[list[Place]]:
        """Where each token of `encode` stands in its text, one list for each pair; arguments as there."""
        rows = list(zip(map(well_formed, texts), map(well_formed, pairs), strict=True))
        with self._lock:
            self._fast.enable_truncation(min(max_length, self.longest), strategy="longest_first")
            encodings = self._fast.encode_batch(rows)
        return [
            [
                Place(side, word, start, end)
                for side, word, (start, end) in zip(row.sequence_ids, row.word_ids, row.offsets, strict=True)
            ]
            for row in encodings
        ]

    def pad(self, batch: Tokens, *, length: int | None = None) -> dict[str, torch.Tensor]:
        """One batch as the networks take it.

        Args:
            batch: the rows of the batch.
            length: pad to so many tokens; the longest row where not given.

        Returns:
            input_ids, attention_mask and token_type_ids, each int64 [rows, length].
        """
        lengths = batch.lengths
        width = int(lengths.max(initial=1)) if length is None else length
        mask = np.arange(width)[None, :] < lengths[:, None]
        ids = np.full(mask.shape, self.pad_id, dtype=np.int64)
        types = np.zeros(mask.shape, dtype=np.int64)
        ids[mask] = batch.ids
        types[mask] = batch.types
        return {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(mask.astype(np.int64)),
            "token_type_ids": torch.from_numpy(types),
        }

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and tokenizer_config.json into the folder."""
        with self._lock:
            self._fast.no_truncation()
            self._whole.save_pretrained(folder)
