"""Teachers: models whose logits are learned, computed once and kept beside the run."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import PRODUCT_SEARCH
from recsys.digest import folder_digest
from recsys.errors import UsageError
from recsys.logs import progress
from recsys.models.cross_encoder import SETTINGS
from recsys.models.encode import Precision, score_pairs
from recsys.models.ensemble import SETTINGS as ENSEMBLE
from recsys.models.ensemble import load_cross_encoder
from recsys.registry.client import Registry
from recsys.storage import atomic_file
from recsys.text.tokenizer import TextTokenizer
from training.relevance.data import product_texts

CHUNK = 16384  # pairs that are scored, and kept, at a time


@dataclass(frozen=True)
class Teachers:
    """Cross-encoders, each one network or an ensemble, whose logits are averaged.

    Attributes:
        folders: of their components, one or more.
        cache: folder of the logits already computed; a run that was killed goes on with them.
        precision: of the computation.
    """

    folders: tuple[Path, ...]
    cache: Path
    precision: Precision = "auto"

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """What each is, by its files."""
        return tuple(folder_digest(folder) for folder in self.folders)

    def logits(self, snapshot: Snapshot, judgments: pl.DataFrame) -> NDArray[np.float32]:
        """float32 [pairs]: the mean logit of each row's query and product, each teacher reading its own fields."""
        found = [self.of_one(number, snapshot, judgments) for number in range(len(self.folders))]
        return np.asarray(np.mean(found, axis=0, dtype=np.float64), dtype=np.float32)

    def of_one(self, number: int, snapshot: Snapshot, judgments: pl.DataFrame) -> NDArray[np.float32]:
        """float32 [pairs]: the logits of one teacher."""
        folder = self.folders[number]
        network, tokenizer = load_cross_encoder(folder), TextTokenizer.load(folder)
        self.cache.mkdir(parents=True, exist_ok=True)
        logits = np.empty(len(judgments), dtype=np.float32)
        for start in progress(range(0, len(judgments), CHUNK), label="teacher"):
            rows = judgments.slice(start, CHUNK)
            queries, texts = rows["query"].to_list(), product_texts(snapshot, rows, fields=network.fields)
            kept = self.cache / f"{self.name(number, queries, texts)}.npy"
            if not kept.is_file():
                scores = score_pairs(network, tokenizer, queries, texts, precision=self.precision)
                with atomic_file(kept) as draft, draft.open("wb") as file:
                    np.save(file, scores, allow_pickle=False)
            logits[start : start + len(rows)] = np.load(kept, allow_pickle=False)
        return logits

    def name(self, number: int, queries: Sequence[str], texts: Sequence[str]) -> str:
        """Of the file that keeps one teacher's logits of some pairs; another teacher, text or precision has another."""
        total = hashlib.sha256(f"{self.digests[number]} {self.precision}".encode())
        for text in (*queries, *texts):
            said = text.encode("utf-8", "surrogatepass")
            total.update(len(said).to_bytes(8, "little") + said)
        return total.hexdigest()


def find_teacher(address: str, *, registry: Registry) -> Path:
    """The cross-encoder's folder of a component folder, a bundle or a registered model.

    Raises:
        UsageError: the model has no cross-encoder.
        RegistryError: there is no such model.
    """
    folder = Path(address).expanduser()
    if any((folder / name).is_file() for name in (SETTINGS, ENSEMBLE)):
        return folder
    bundle = registry.open(address)[0]
    found = bundle.component("cross_encoder") if bundle.kind == PRODUCT_SEARCH else None
    if found is None:
        raise UsageError(
            f"teacher {address} has no cross_encoder", expected="a model that has one", action="name another teacher"
        )
    return found
