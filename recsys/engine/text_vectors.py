"""Text vectors of a catalogue: a text that an encoder has seen before is not encoded again."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.digest import file_sha256
from recsys.models.encode import encode_texts, prepare
from recsys.models.text_encoder import TextEncoder
from recsys.storage import atomic_folder
from recsys.text.tokenizer import TextTokenizer
from recsys.types import Positions, Vectors

Keys = NDArray[np.uint64]
Rows = Positions
KEYS, VECTORS, SUMS = "keys.npy", "vectors.npy", "sha256.txt"


class Known(NamedTuple):
    """Vectors by text: keys uint64 [n] ascending, vectors float32 [n, width] in their order."""

    keys: Keys
    vectors: Vectors


def text_vectors(texts: list[str], encoder: Path, *, cache: Path | None) -> Vectors:
    """float32 [texts, width]: the vector of each text.

    Args:
        texts: of a whole catalogue, in the order of positions.
        encoder: folder of a text encoder or stock backbone.
        cache: folder that keeps the vectors of the latest catalogue of each encoder; None keeps none. A damaged
            entry is passed over and written anew.
    """
    network = prepare(TextEncoder.load(encoder))

    def encode(rows: Rows) -> Vectors:
        chosen = [texts[row] for row in rows]
        return encode_texts(network, TextTokenizer.load(encoder), chosen, label="text vectors")

    folder = None if cache is None else cache / encoder_digest(encoder)[:16]
    return kept_vectors(text_keys(texts), encode, width=network.width, folder=folder)


def kept_vectors(keys: Keys, encode: Callable[[Rows], Vectors], *, width: int, folder: Path | None) -> Vectors:
    """float32 [keys, width]: vectors by key, computed where they are not kept.

    Args:
        keys: uint64 [n]; equal keys stand for equal vectors.
        encode: float32 [rows, width] for int64 rows of `keys`, those of new keys, each once.
        width: size of a vector.
        folder: keeps the vectors of the latest keys; None keeps none. A damaged one is passed over and written anew.
    """
    distinct, first, place = np.unique(keys, return_index=True, return_inverse=True)
    known = None if folder is None else read_known(folder)
    old = np.full(len(distinct), -1, dtype=np.int64)
    if known is not None and len(known.keys):
        row = np.minimum(np.searchsorted(known.keys, distinct), len(known.keys) - 1)
        old = np.where(known.keys[row] == distinct, row, -1)
    fresh = np.flatnonzero(old < 0)
    vectors = np.empty((len(distinct), width), dtype=np.float32)
    if known is not None:
        vectors[old >= 0] = known.vectors[old[old >= 0]]
    vectors[fresh] = encode(first[fresh])
    if folder is not None and len(fresh):
        with atomic_folder(folder) as partial:
            np.save(partial / KEYS, distinct, allow_pickle=False)
            np.save(partial / VECTORS, vectors, allow_pickle=False)
            (partial / SUMS).write_text(checksums(partial))
    return vectors[place]


def text_keys(texts: list[str]) -> Keys:
    """uint64 [texts]: 64 bits of each text's hash; among a million texts two meet with a chance of 3 in 10^8."""
    digests = (hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def read_known(folder: Path) -> Known | None:
    """What the cache holds for an encoder; None where there is nothing or a byte of it has changed."""
    try:
        if (folder / SUMS).read_text() != checksums(folder):
            return None
        keys = np.load(folder / KEYS, allow_pickle=False)
        vectors = np.load(folder / VECTORS, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return Known(keys, vectors) if len(keys) == len(vectors) and vectors.ndim == 2 else None


def checksums(folder: Path) -> str:
    """sha256 of both files of an entry: a changed byte would go into every index from now on."""
    return " ".join(file_sha256(folder / name) for name in (KEYS, VECTORS))


def encoder_digest(folder: Path) -> str:
    """sha256 over the names and contents of an encoder's files."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        total.update(path.name.encode())
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()
