"""Files from stable public addresses: resumed where they stopped, checked, whole or absent.

What has come stands in `FILE.part` beside a note of which version of the file it is (`FILE.part.json`); a second call
asks for the rest (HTTP Range with If-Range), and starts anew where the server has another version or can't resume.
"""

import http.client
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from email.message import Message
from pathlib import Path

from feature_store.sources.public_set import Download
from feature_store.sources.sums import Fetched, check
from recsys.errors import StorageError
from recsys.logs import progress
from recsys.storage import locked, sync_file, sync_folder, write_text

BLOCK = 1 << 20
SECONDS = 60
TRIES = 5
"""How often a broken connection is taken up again without a byte more before it counts as an error."""
SCHEMES = ("https", "http")
IDENTITY = {"User-Agent": "shoprank", "Accept-Encoding": "identity"}


class Unfinished(Exception):
    """The connection ended before the file did."""


def fetch(wanted: Download, folder: Path) -> Fetched:
    """Download one file into a folder; one that is there, with the sum that was noted, is not fetched again.

    Raises:
        StorageError: the server can't be reached or refuses, or what came has another sum than it should.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / wanted.file
    with locked(folder / f".{wanted.file}.lock", seconds=0):
        came = 0
        if not target.is_file():
            came = sum(progress(arriving(wanted.url, target), label=f"Downloading {wanted.file}"))
        return check(wanted, target, came=came)


def arriving(url: str, target: Path) -> Iterator[int]:
    """Bring a file to its place; gives the number of bytes of each block once it is on the disk.

    Raises:
        StorageError: see `fetch`.
    """
    part = target.with_name(f"{target.name}.part")
    tries = TRIES
    while True:
        try:
            for size in once(url, part):
                tries = TRIES
                yield size
            break
        except (Unfinished, http.client.HTTPException, TimeoutError, ConnectionError, urllib.error.URLError) as error:
            refuse(url, error)
            tries -= 1
            if tries <= 0:
                raise StorageError(
                    f"{url} breaks off ({error or type(error).__name__})",
                    expected=f"a connection that lasts; {size_of(part)} bytes are kept",
                    action="run it again: it goes on from there",
                ) from error
    sync_file(part)
    part.replace(target)
    noted(part).unlink(missing_ok=True)
    sync_folder(target.parent)


def refuse(url: str, error: Exception) -> None:
    """Raise what trying again does not cure: a server's final no, an address that is none."""
    if isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code not in (408, 429):
        raise StorageError(
            f"{url} answers {error.code} {error.reason}",
            expected="the file",
            action="get it by hand, see `recsys import --list`",
        ) from error


def once(url: str, part: Path) -> Iterator[int]:
    """Ask once for what is missing, and append it.

    Raises:
        Unfinished: the server closed before the end.
    """
    if urllib.parse.urlsplit(url).scheme not in SCHEMES:
        raise StorageError(f"{url} is no address of the web", expected="http or https", action="correct it")
    have, version = size_of(part), read_note(part)
    headers = dict(IDENTITY)
    if have and version:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the scheme is checked above
    try:
        answer = urllib.request.urlopen(request, timeout=SECONDS)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416:  # nothing lies behind what we have: it is whole, or of another version
            raise
        if whole_size(error.headers) == have:
            return
        part.unlink(missing_ok=True)
        raise Unfinished("the server has another version") from error
    with answer:
        start = have if answer.status == 206 and range_start(answer.headers) == have else 0
        total = whole_size(answer.headers) if answer.status == 206 else length(answer.headers)
        if answer.status == 206 and start != have:
            part.unlink(missing_ok=True)
            raise Unfinished("the server gave another range")
        write_note(part, answer.headers)
        with part.open("r+b" if start else "wb") as file:
            file.seek(start)
            file.truncate()
            while block := answer.read(BLOCK):
                file.write(block)
                file.flush()
                yield len(block)
            if total is not None and file.tell() != total:
                raise Unfinished(f"{file.tell()} of {total} bytes came")


def noted(part: Path) -> Path:
    """Where the version of a part is noted."""
    return part.with_name(f"{part.name}.json")


def write_note(part: Path, headers: Message) -> None:
    """Note the version that a part belongs to: a strong ETag, else the time of the last change."""
    tag = headers.get("ETag") or ""
    version = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified") or ""
    write_text(noted(part), json.dumps({"version": version}))


def read_note(part: Path) -> str:
    """The version that a part belongs to; "" where none was told, and nothing can be resumed."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads(noted(part).read_text(encoding="utf-8"))["version"])
    return ""


def size_of(part: Path) -> int:
    """Bytes of a file, 0 where there is none."""
    return part.stat().st_size if part.is_file() else 0


def length(headers: Message) -> int | None:
    """Content-Length; None where the server does not say."""
    value = headers.get("Content-Length") or ""
    return int(value) if value.isdigit() else None


def range_start(headers: Message) -> int | None:
    """The first byte of `Content-Range: bytes 100-199/200`."""
    found = re.match(r"bytes (\d+)-", headers.get("Content-Range") or "")
    return int(found[1]) if found else None


def whole_size(headers: Message) -> int | None:
    """The size of the whole file in `Content-Range`; None where it is not told."""
    found = re.search(r"/(\d+)\s*$", headers.get("Content-Range") or "")
    return int(found[1]) if found else None
