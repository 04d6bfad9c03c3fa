"""What names the working folder in which a killed training goes on."""

import shutil
from pathlib import Path

import pytest

from feature_store.snapshot import Snapshot
from recsys.settings import load_settings
from training.plan import Request, look_up


def test_files_that_a_setting_names_count_by_their_content(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    """A training that was killed never goes on with other synonyms or other weights than it began with."""
    backbone, synonyms = tmp_path / "backbone", tmp_path / "synonyms.txt"
    shutil.copytree(tiny_backbone, backbone)
    synonyms.write_text("sofa, couch\n", encoding="utf-8")
    settings = (f"backbone={backbone}", f"synonyms_file={synonyms}", "synonyms=0.5")
    request = Request("relevance", small_snapshot.path, settings=settings)

    def key() -> str:
        return look_up(request, settings=load_settings()).key

    first = key()
    assert key() == first
    synonyms.write_text("sofa, settee\n", encoding="utf-8")
    second = key()
    (backbone / "config.json").write_text("{}", encoding="utf-8")
    assert len({first, second, key()}) == 3


def test_another_release_of_the_software_starts_anew(small_snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its networks may have other weights than the checkpoint that a killed training has left."""
    request = Request("popularity", small_snapshot.path)
    keys = {look_up(request, settings=load_settings()).key}
    monkeypatch.setattr("training.plan.library_versions", lambda: {"shoprank": "9.9.9"})
    keys.add(look_up(request, settings=load_settings()).key)
    monkeypatch.setattr("training.plan.git_commit", lambda: "another")
    keys.add(look_up(request, settings=load_settings()).key)
    assert len(keys) == 3
