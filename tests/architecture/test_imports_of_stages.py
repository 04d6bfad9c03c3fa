"""What a stage's process imports: seconds of each night, and of each night's stages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from feature_store.snapshot import Snapshot

ROOT = Path(__file__).resolve().parents[2]
NETWORKS = ("transformers", "lightning", "peft")
RUN = """
import sys
from recsys.cli.app import main
for stage in {stages!r}:
    try:
        main(["train", stage, {snapshot!r}, "--json"])
    except SystemExit as left:
        if left.code:
            raise
print([name for name in {names!r} if name in sys.modules])
"""


def test_stages_that_count_import_no_network_library(small_snapshot: Snapshot, tmp_path: Path) -> None:
    code = RUN.format(stages=("popularity", "item-knn"), snapshot=str(small_snapshot.path), names=NETWORKS)
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    *reports, imported = shown.stdout.splitlines()
    assert ['"stage": "popularity"' in reports[0], '"stage": "item-knn"' in reports[-1]] == [True, True]
    assert imported == "[]"


@pytest.mark.parametrize("module", ["training.two_tower.train", "training.relevance.stage"])
def test_stages_of_networks_do(module: str) -> None:
    """The names above are those that would be found."""
    code = f"import sys, {module}; print('lightning' in sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ}, capture_output=True, text=True, check=True
    )
    assert shown.stdout.splitlines() == ["True"]
