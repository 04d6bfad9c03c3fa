"""The environments of the peers, made once under RECSYS_HOME."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recsys.settings import load_settings
from recsys.storage import locked

HERE = Path(__file__).resolve().parent
MADE = "made.json"


def interpreter(name: str) -> Path:
    """The Python of a peer's environment; it is made at the first call, and anew when the requirements change.

    Args:
        name: of a requirements file beside this one, without its ending.

    Raises:
        CalledProcessError: pip could not install it; its own message stands on standard error.
    """
    requirements = HERE / f"{name}.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    folder = load_settings().home / "bench" / "peers" / f"{name}-{digest[:12]}"
    python = folder / "bin" / "python"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_suffix(".lock")):
        if not (folder / MADE).exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*install, "--requirement", str(requirements)], check=True, stdout=sys.stderr)
            (folder / MADE).write_text(json.dumps({"at": time.time()}), encoding="utf-8")
    return python


def answer(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a peer's script says to some settings: the JSON on its last line.

    Args:
        name: of the script and its requirements.
        settings: handed over as JSON.

    Raises:
        CalledProcessError: the script failed.
    """
    command = [str(interpreter(name)), str(HERE / f"{name}.py"), json.dumps(settings)]
    alone = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": ""}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ, **alone})
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
