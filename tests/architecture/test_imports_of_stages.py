"""What a stage's process imports: seconds of every night, once for each of its stages."""

import subprocess
import sys
from pathlib import Path

from feature_store.snapshot import Snapshot

ROOT = Path(__file__).resolve().parents[2]
RUN = """
import sys
from recsys.cli.app import main

for stage in ("popularity", "item-knn"):
    try:
        main(["train", stage, sys.argv[1], "--json"])
    except SystemExit as left:
        assert not left.code
networks = ("transformers", "lightning", "peft")
print([name for name in networks if name in sys.modules])
import training.fit
print([name for name in networks if name in sys.modules])
"""


def test_stages_that_count_import_no_network_library(small_snapshot: Snapshot) -> None:
    command = [sys.executable, "-c", RUN, str(small_snapshot.path)]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    *reports, counted, learned = shown.stdout.splitlines()
    assert ['"stage": "popularity"' in reports[0], '"stage": "item-knn"' in reports[-1]] == [True, True]
    assert counted == "[]"
    assert "lightning" in learned
