"""What made something is named truthfully, also where nothing is known."""

import getpass
import shutil
import subprocess
from pathlib import Path

import pytest

from recsys import provenance


@pytest.fixture(autouse=True)
def _forget() -> None:
    provenance.git_commit.cache_clear()


def git(*arguments: str, cwd: Path) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    return subprocess.run(["git", *identity, *arguments], cwd=cwd, check=True, capture_output=True, text=True).stdout


def test_the_commit_of_the_checkout_and_whether_files_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "checkout" / "recsys" / "provenance.py"
    copy.parent.mkdir(parents=True)
    shutil.copy(provenance.__file__, copy)
    monkeypatch.setattr(provenance, "__file__", str(copy))
    checkout = tmp_path / "checkout"
    git("init", "-q", cwd=checkout)
    assert provenance.git_commit() == "unknown"
    git("add", ".", cwd=checkout)
    git("commit", "-qm", "x", cwd=checkout)
    head = git("rev-parse", "HEAD", cwd=checkout).strip()
    provenance.git_commit.cache_clear()
    assert provenance.git_commit() == head
    copy.write_text("changed")
    provenance.git_commit.cache_clear()
    assert provenance.git_commit() == f"{head}-dirty"


def test_a_package_inside_a_foreign_checkout_claims_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git("init", "-q", cwd=tmp_path)
    git("commit", "-q", "--allow-empty", "-m", "x", cwd=tmp_path)
    (tmp_path / "provenance.py").write_text("")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    assert provenance.git_commit() == "unknown"


def test_no_git_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance.git_commit() == "unknown"


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert provenance.user_name().startswith("uid-")


def test_versions_of_what_shapes_the_weights() -> None:
    assert {"shoprank", "torch", "numpy", "polars", "transformers"} <= set(provenance.library_versions())
