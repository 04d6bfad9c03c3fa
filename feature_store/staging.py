"""A folder for working files that goes when the work ends."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from feature_store.faults import writable
from recsys.settings import Settings
from recsys.storage import PARTIAL


@contextmanager
def staging_folder(settings: Settings) -> Iterator[Path]:
    """Give an empty folder below RECSYS_HOME, where there is room for a shop's tables; it is removed in any case."""
    settings.home.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{PARTIAL}staging-", dir=settings.home))
    try:
        with writable(folder.parent):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
