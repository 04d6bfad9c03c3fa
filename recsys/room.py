"""Whether a failure means that a disk is full: every library says so in words of its own, and some in wrong ones."""

import errno
import os
import re
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
