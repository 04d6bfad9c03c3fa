"""Where the commands write that take a folder: never over files of somebody else."""

from pathlib import Path

import pytest

from feature_store.indexing import IndexOptions, index_shop
from recsys.errors import UsageError
from recsys.settings import load_settings
from training.adapt.command import run as adapt
from training.adapt.config import AdaptConfig
from training.plan import Request, look_up


def test_what_is_no_older_folder_of_its_kind_is_never_replaced(tmp_path: Path) -> None:
    """A folder of the caller's own, named by mistake, is refused before any work begins, and stays."""
    own, settings = tmp_path / "own", load_settings(home=tmp_path / "home")
    (own / "deep").mkdir(parents=True)
    (own / "deep" / "thesis.txt").write_text("years")
    options = IndexOptions(out=own, models={}, dense_kind="auto", backbone="", live=None)
    refused = pytest.raises(UsageError, match="own holds other files; expected a new folder, an empty one or an older")
    with refused:
        look_up(Request(stage="calibration", snapshot=tmp_path / "none", out=own), settings=settings)
    with refused:
        adapt([], config=AdaptConfig(), out=own, fresh=False, settings=settings)
    with refused:
        index_shop(tmp_path / "none", as_of=None, options=options, settings=settings)
    assert (own / "deep" / "thesis.txt").read_text() == "years"
