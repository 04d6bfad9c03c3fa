"""Downloaded files held against the sums that are known of them."""

import hashlib
import http.client
import re
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from feature_store.sources.public_set import Download
from recsys.digest import file_sha256
from recsys.errors import StorageError
from recsys.storage import write_text

SECONDS = 60


@dataclass(frozen=True)
class Fetched:
    """One file that is there.

    Attributes:
        file: its place.
        sha256: of its bytes (hex).
        checked: what it was held against: "sha256", "md5", or "nothing": then the sum of this first download stands
            beside it from now on.
        came: bytes that came over the network this time.
    """

    file: Path
    sha256: str
    checked: str
    came: int


def check(wanted: Download, target: Path, *, came: int) -> Fetched:
    """Hold a file against the sum that is known of it; where none is, note the one it has.

    Raises:
        StorageError: it is another one. The file then stands as `FILE.wrong`.
    """
    sha256, note = file_sha256(target), target.with_name(f"{target.name}.sha256")
    known, checked = wanted.sha256, "sha256"
    if not known and note.is_file():
        known, checked = note.read_text(encoding="utf-8").split()[0], "the sum of the first download"
    if known and known != sha256:
        raise wrong_sum(target, found=f"sha256 {sha256}", expected=f"sha256 {known}")
    if not known and wanted.md5_url:
        known, checked = published_md5(wanted.md5_url), "md5"
        if (found := file_md5(target)) != known:
            raise wrong_sum(target, found=f"md5 {found}", expected=f"md5 {known}")
    if not note.is_file():
        write_text(note, f"{sha256}  {target.name}\n")
    return Fetched(file=target, sha256=sha256, checked=checked if known else "nothing", came=came)


def wrong_sum(target: Path, *, found: str, expected: str) -> StorageError:
    """The error for a file with another sum; it is moved aside so that the next call fetches it anew."""
    aside = target.with_name(f"{target.name}.wrong")
    target.replace(aside)
    return StorageError(
        f"{target} has {found}", expected=expected, action=f"run it again to fetch it anew; it stands as {aside.name}"
    )


def published_md5(url: str) -> str:
    """The md5 (hex) that a publisher keeps beside a file.

    Raises:
        StorageError: it can't be read there.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "shoprank"})  # noqa: S310 - addresses of the registry
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
            found = re.search(r"\b[0-9a-f]{32}\b", answer.read(4096).decode("ascii", "replace"))
    except (OSError, http.client.HTTPException) as error:
        raise StorageError(
            f"{url} can't be read ({error})", expected="the file's md5", action="run it again"
        ) from error
    if found is None:
        raise StorageError(f"{url} holds no md5", expected="32 hex digits", action="get the file by hand")
    return found[0]


def file_md5(path: Path) -> str:
    """md5 (hex) of a file's bytes, against damage on the way alone."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
