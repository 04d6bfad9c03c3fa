"""The packed wheel is the one that the build tool makes, from a checkout and from an installed distribution alike."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from recsys.registry.wheel import pack_wheel

ROOT = Path(__file__).parents[3]
CHANGED = {"RECORD", "WHEEL", "SOURCES.txt"}


def content(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel that both ways must make alike."""
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist() if Path(name).name not in CHANGED}


def test_the_same_code_gives_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    first, second = pack_wheel(tmp_path), pack_wheel(tmp_path / "again")
    assert first.read_bytes() == second.read_bytes()
    assert not [name for name in content(first) if "__pycache__" in name or name.endswith(".pyc")]


def test_pip_installs_it_and_it_packs_itself_again(tmp_path: Path) -> None:
    wheel = pack_wheel(tmp_path)
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True, capture_output=True)
    again = tmp_path / "again"
    again.mkdir()
    code = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(target)!r})
from recsys.registry.wheel import pack_wheel
print(pack_wheel(Path({str(again)!r})))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert content(Path(done.stdout.strip())) == content(wheel)


@pytest.mark.slow
def test_it_holds_what_the_build_tool_packs(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("recsys", "feature_store", "training", "serving"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout / name)
    build = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path / "dist"),
        str(checkout),
    ]
    subprocess.run(build, check=True, capture_output=True)
    built = content(next((tmp_path / "dist").glob("*.whl")))
    packed = content(pack_wheel(tmp_path))
    # pip wrote the metadata when the project was installed; the checkout may be newer.
    of_code = {name for name in built if ".dist-info/" not in name} | {"shoprank-0.1.0.dist-info/entry_points.txt"}
    assert {name for name in packed if ".dist-info/" not in name} <= of_code
    assert {name: packed.get(name) for name in of_code} == {name: built[name] for name in of_code}
