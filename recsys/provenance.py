"""Which code made something: the commit of the checkout and the versions of the libraries."""

import getpass
import os
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = ("shoprank", "torch", "transformers", "numpy", "polars", "mlflow", "lightning", "implicit", "safetensors")
UNKNOWN = "unknown"


@cache
def git_commit() -> str:
    """The 40 hex digits of the checkout's commit, "-dirty" after it where files differ; "unknown" outside a checkout.

    A package installed inside someone else's repository (a .venv in a checkout) must not report that commit, so the
    answer counts only where git tracks this very file.
    """
    here = Path(__file__).resolve()
    tracked = run_git("ls-files", "--error-unmatch", here.name, folder=here.parent)
    if not tracked:
        return UNKNOWN
    return run_git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*", folder=here.parent) or UNKNOWN


def run_git(*arguments: str, folder: Path) -> str:
    """What git prints, stripped; "" where it fails or is missing."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def user_name() -> str:
    """Who runs this: the login name, or the user's number where the machine knows no name for it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid-{os.getuid()}"


@cache
def library_versions() -> dict[str, str]:
    """The installed versions of the libraries that shape what is learned; absent ones are left out."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
