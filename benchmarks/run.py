"""Run or resume one measured job: `python -m benchmarks.run NAME`, one JSON for each fold and seed."""

import argparse
import dataclasses
import hashlib
import importlib
import json
import os
import pkgutil
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from benchmarks import jobs
from benchmarks.job import Job, Place, Unit
from recsys.logs import progress
from recsys.settings import load_settings

ROOT = Path(__file__).resolve().parent
RESULTS = ROOT / "results"
LIBRARIES = ("torch", "transformers", "polars", "faiss-cpu", "tantivy", "implicit", "lightning", "numpy")


def names() -> list[str]:
    """The jobs there are."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(jobs.__path__))


def load(name: str) -> Job:
    """The module of a job."""
    return cast(Job, importlib.import_module(f"benchmarks.jobs.{name.replace('-', '_')}"))


def real_data() -> Path:
    """The folder with the real shops: RECSYS_REAL_DATA, else ../shared/data."""
    return Path(os.environ.get("RECSYS_REAL_DATA", "../shared/data")).resolve()


def run(name: str, *, only: str | None = None, again: bool = False) -> list[Path]:
    """Measure the job's units that have no result yet; give the files written."""
    job = load(name)
    data = real_data()
    work = load_settings().home / "bench" / name
    work.mkdir(parents=True, exist_ok=True)
    digest = data_digest([data / shop for shop in job.SHOPS])
    units = [unit for unit in job.UNITS if only is None or only in unit.stem]
    due = [unit for unit in units if again or not target(name, unit).exists()]
    return [measure(name, job, unit, Place(data, work), digest) for unit in progress(due, label=name)]


def measure(name: str, job: Job, unit: Unit, place: Place, digest: str) -> Path:
    """Measure one unit and write its JSON in one step."""
    begun = time.perf_counter()
    measured = job.measure(unit, place)
    result = {
        "job": name,
        "protocol": job.PROTOCOL,
        **dataclasses.asdict(unit),
        **dataclasses.asdict(measured),
        "seconds": round(time.perf_counter() - begun, 1),
        "commit": commit(),
        "data": digest,
        "machine": machine(),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    path = target(name, unit)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(rounded(result), indent=1, sort_keys=True, default=str) + "\n")
    draft.replace(path)
    sys.stderr.write(f"{path.name}: {json.dumps(rounded(measured.metrics))}\n")
    return path


def rounded(value: Any) -> Any:
    """Floats with six digits, so that files stay small and differences readable."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, list | tuple) else value


def target(name: str, unit: Unit) -> Path:
    """Where a unit's result stands."""
    return RESULTS / name / f"{unit.stem}.json"


def data_digest(folders: list[Path]) -> str:
    """The sha256 of all files of the shops, by name and content."""
    total = hashlib.sha256()
    for folder in folders:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            total.update(f"{folder.name}/{file.relative_to(folder)}".encode())
            total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def commit() -> str:
    """The commit that was measured, marked where the tree differs from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--", "recsys", "feature_store", "training", "serving", "benchmarks/jobs")
    return git("rev-parse", "HEAD") + ("+changes" if changed else "")


def machine() -> dict[str, Any]:
    """The machine and the libraries."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("name", choices=names())
    parser.add_argument("--only", help="measure only units whose file name contains this")
    parser.add_argument("--again", action="store_true", help="measure units that have a result, too")
    given = parser.parse_args()
    written = run(given.name, only=given.only, again=given.again)
    sys.stderr.write(f"{given.name}: {len(written)} units measured; `make report` renews BENCHMARKS.md\n")


if __name__ == "__main__":
    main()
