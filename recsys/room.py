"""Whether a place can be written, and whether a failure means that its disk is full.

Every library says the latter in words of its own, and some in wrong ones.
"""

import errno
import os
import re
import tempfile
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# as Polars, tantivy, FAISS, safetensors and SQLite hand these three on
SAID = re.compile(r"os error (27|28|122)\b|No space left on device|File too large|Disk quota exceeded|disk is full")
LEAST = 64 * 1024
"""Bytes below which a disk counts as full: writers that hold back less than that fail in other words."""


def says_full(error: Exception) -> bool:
    """True where an error says that a disk is full."""
    return (isinstance(error, OSError) and error.errno in FULL) or SAID.search(str(error)) is not None


def is_full(place: Path) -> bool:
    """True where hardly a byte is left on the disk of a place that exists."""
    try:
        disk = os.statvfs(place)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < LEAST


def check_writable(folder: Path) -> None:
    """Raise now what making the folder and writing a file into it would raise after hours of work; leaves no trace.

    Raises:
        OSError: it, or the nearest folder above it that exists, takes no file.
    """
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(nearest)) from error
