"""Pictures of products: where they lie and how they are read; nothing is ever fetched from a network.

A picture that can't be read is a problem with a name, never an end: the product is then without picture.
"""

import hashlib
import re
import struct
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from recsys.errors import MissingDependencyError

Pixels = NDArray[np.uint8]
SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:")
ELSEWHERE, NOWHERE, MISSING, DAMAGED = "not on this disk", "without a folder to look in", "missing", "damaged"
LARGEST = 64_000_000  # pixels; more is an accident or an attack
UNREADABLE = (OSError, ValueError, TypeError, KeyError, IndexError, RuntimeError, SyntaxError, EOFError, struct.error)


class Picture(NamedTuple):
    """Where a product's picture lies.

    Attributes:
        path: the file; None where there is none to read.
        problem: why there is none although the product names one; "" where it names none.
    """

    path: Path | None
    problem: str = ""


def find_picture(url: str | None, folder: Path | None) -> Picture:
    """The file behind an `image_url`: a path inside the shop folder, an absolute path or a file: URL.

    Args:
        url: as the shop writes it; http(s) and other schemes are a problem, not a download.
        folder: the shop folder; None where it is not known.
    """
    text = (url or "").strip()
    if not text:
        return Picture(None)
    if SCHEME.match(text) and not text.startswith("file:"):
        return Picture(None, ELSEWHERE)
    try:
        path = Path(unquote(urlsplit(text).path) if text.startswith("file:") else text)
        if not path.is_absolute() and folder is None:
            return Picture(None, NOWHERE)
        path = path if folder is None else folder / path
        return Picture(path) if path.is_file() else Picture(None, MISSING)
    except (OSError, ValueError):  # no URL, a name that no disk can hold, or a folder that is closed to us
        return Picture(None, MISSING)


def picture_keys(pictures: Sequence[Picture]) -> NDArray[np.uint64]:
    """uint64 [pictures]: 64 bits over path, size and time of change of each file; 0 where there is none (any more)."""
    keys = np.zeros(len(pictures), dtype=np.uint64)
    for row, (path, _) in enumerate(pictures):
        if path is None:
            continue
        with suppress(OSError):  # a shop's export may take it away meanwhile; then it can't be read either
            stat = path.stat()
            told = f"{path}\n{stat.st_size}\n{stat.st_mtime_ns}".encode("utf-8", "surrogateescape")
            keys[row] = int.from_bytes(hashlib.blake2b(told, digest_size=8).digest(), "little")
    return keys


def read_picture(path: Path, *, size: int) -> Pixels | None:
    """uint8 [size, size, 3], red green blue: the whole picture, centred on white where it is not square.

    None where the file is no picture, is torn, or has more than 64 million pixels.

    Raises:
        MissingDependencyError: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise MissingDependencyError(
            "product pictures, but Pillow is not installed", expected="Pillow", action="pip install 'shoprank[images]'"
        ) from error
    try:
        with warnings.catch_warnings(action="error"), Image.open(path) as image:
            if image.width * image.height > LARGEST:
                return None
            image.draft("RGB", (size, size))  # a JPEG is decoded no larger than needed
            upright = ImageOps.exif_transpose(image).convert("RGBA")
            white = Image.new("RGBA", upright.size, "white")
            flat = Image.alpha_composite(white, upright).convert("RGB")
            return np.asarray(ImageOps.pad(flat, (size, size), color="white"), dtype=np.uint8)
    except (*UNREADABLE, Warning, Image.DecompressionBombError):
        return None
