"""The project as a wheel, packed from whatever is running: a checkout, or an installed distribution.

A wheel is a zip of the packages and of the metadata that pip has already written, so neither a build tool nor a
network is needed, and the same code gives the same bytes.

Source: the binary distribution format, https://packaging.python.org/specifications/binary-distribution-format/
"""

import base64
import hashlib
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from recsys.errors import RegistryError

DISTRIBUTION = "shoprank"
PACKAGES = ("recsys", "feature_store", "training", "serving")
METADATA = ("METADATA", "PKG-INFO")
EPOCH = (1980, 1, 1, 0, 0, 0)
WHEEL = "Wheel-Version: 1.0\nGenerator: recsys\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def pack_wheel(folder: Path) -> Path:
    """Write shoprank-VERSION-py3-none-any.whl into a folder and give its path.

    Raises:
        RegistryError: the project runs from bare files, without metadata that pip has written.
    """
    installed = find_distribution()
    stem = f"{DISTRIBUTION}-{installed.version}"
    target = folder / f"{stem}-py3-none-any.whl"
    record: list[str] = []
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (*package_files(), *metadata_files(installed, stem=stem)):
            write_entry(archive, name, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(content)}")
        record.append(f"{stem}.dist-info/RECORD,,")
        write_entry(archive, f"{stem}.dist-info/RECORD", "\n".join([*record, ""]).encode())
    return target


def find_distribution() -> Distribution:
    """The installed distribution, editable or not."""
    try:
        return distribution(DISTRIBUTION)
    except PackageNotFoundError as error:
        raise RegistryError(
            f"{DISTRIBUTION} is not installed",
            expected="the installed project, whose wheel travels with each version",
            action="run `pip install -e .` in the checkout",
        ) from error


def package_files() -> Iterator[tuple[str, bytes]]:
    """Name and content of every file of the packages, in sorted order, without compiled leftovers."""
    for package in PACKAGES:
        spec = find_spec(package)
        for place in () if spec is None else spec.submodule_search_locations or ():
            root = Path(place)
            for path in sorted(root.rglob("*")):
                inside = path.relative_to(root)
                if path.is_file() and path.suffix != ".pyc" and not any(part.startswith(".") for part in inside.parts):
                    yield f"{package}/{inside.as_posix()}", path.read_bytes()


def metadata_files(installed: Distribution, *, stem: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of the files of the dist-info folder, RECORD aside."""
    text = next((found for name in METADATA if (found := installed.read_text(name))), "")
    yield f"{stem}.dist-info/METADATA", text.encode()
    yield f"{stem}.dist-info/WHEEL", WHEEL.encode()
    yield f"{stem}.dist-info/entry_points.txt", (installed.read_text("entry_points.txt") or "").encode()
    yield f"{stem}.dist-info/top_level.txt", "".join(f"{package}\n" for package in sorted(PACKAGES)).encode()
    for file in installed.files or ():
        if ".dist-info/licenses/" in file.as_posix():
            yield f"{stem}.dist-info/licenses/{file.name}", Path(str(file.locate())).read_bytes()


def write_entry(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Add a file with a fixed time and plain permissions."""
    entry = zipfile.ZipInfo(name, date_time=EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)
