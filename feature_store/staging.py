"""A folder for working files that goes when the work ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from feature_store.faults import writable
from recsys.settings import Settings
from recsys.storage import partial_folder


@contextmanager
def staging_folder(settings: Settings) -> Iterator[Path]:
    """Give an empty folder below RECSYS_HOME, where there is room for a shop's tables; it is removed in any case."""
    with partial_folder(settings.home, "staging") as folder, writable(folder.parent):
        yield folder
