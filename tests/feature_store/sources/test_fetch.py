"""Downloads against a server that breaks off, redirects, forgets and changes its mind."""

import hashlib
import re
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from feature_store.sources import fetch as fetching
from feature_store.sources.archive import unpack
from feature_store.sources.fetch import fetch
from feature_store.sources.public_set import Download
from feature_store.sources.registry import PUBLIC_SETS
from recsys.errors import StorageError
from tests.command import recsys

CONTENT = bytes(number * 7 % 251 for number in range(50_000))
SUM = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Site:
    """What the server does; `asked` holds the Range of each request.

    Attributes:
        content: the file.
        tag: its ETag.
        ranges: whether parts are given.
        breaks: for each request in turn, after how many bytes the connection is closed; none once it is empty.
        codes: for each request in turn, a status that is no success.
        asked: the Range header of each request for the file.
    """

    content: bytes = CONTENT
    tag: str = '"v1"'
    ranges: bool = True
    breaks: list[int] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    asked: list[str | None] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    """Serves /file, /moved (a redirect to it), /file.md5."""

    site: Site

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/file")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/file.md5":
            self.send_body(f"MD5 (file) = {hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}\n".encode())
        else:
            self.send_file()

    def send_body(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_file(self) -> None:
        site = self.site
        wanted = self.headers.get("Range")
        site.asked.append(wanted)
        if site.codes and (code := site.codes.pop(0)) != 200:
            self.send_error(code)
            return
        fresh = self.headers.get("If-Range") in (None, site.tag)
        found = re.match(r"bytes=(\d+)-", wanted or "") if site.ranges and fresh else None
        start = int(found[1]) if found else 0
        if found and start >= len(site.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(site.content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = site.content[start:]
        self.send_response(206 if found else 200)
        if found:
            self.send_header("Content-Range", f"bytes {start}-{len(site.content) - 1}/{len(site.content)}")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", site.tag)
        self.end_headers()
        self.wfile.write(body[: site.breaks.pop(0)] if site.breaks else body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    handler = type("Bound", (Handler,), {"site": made})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield made
        server.shutdown()
        thread.join()


def wanted(site: Site, *, at: str = "file", **more: str) -> Download:
    return Download(url=f"{site.url}/{at}", file="file.bin", **more)


def leftovers(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"file.bin", "file.bin.sha256", ".file.bin.lock"}


def test_a_file_comes_whole_and_once(site: Site, tmp_path: Path) -> None:
    first = fetch(wanted(site, sha256=SUM), tmp_path)
    assert (first.file.read_bytes(), first.sha256, first.checked, first.came) == (CONTENT, SUM, "sha256", len(CONTENT))
    assert (tmp_path / "file.bin.sha256").read_text() == f"{SUM}  file.bin\n"
    again = fetch(wanted(site, sha256=SUM), tmp_path)
    assert (again.came, len(site.asked)) == (0, 1)
    assert leftovers(tmp_path) == set()


def test_redirects_are_followed(site: Site, tmp_path: Path) -> None:
    assert fetch(wanted(site, at="moved", sha256=SUM), tmp_path).sha256 == SUM


def test_short_reads_are_taken_up_where_they_ended(site: Site, tmp_path: Path) -> None:
    site.breaks = [10_000, 0, 25_000]
    found = fetch(wanted(site, sha256=SUM), tmp_path)
    assert found.file.read_bytes() == CONTENT
    assert site.asked == [None, "bytes=10000-", "bytes=10000-", "bytes=35000-"]
    assert leftovers(tmp_path) == set()


def test_a_server_that_gives_no_parts_starts_anew(site: Site, tmp_path: Path) -> None:
    site.ranges, site.breaks = False, [10_000]
    assert fetch(wanted(site, sha256=SUM), tmp_path).file.read_bytes() == CONTENT


def test_a_version_that_changed_meanwhile_is_never_mixed(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "TRIES", 1)
    site.breaks = [10_000]
    with pytest.raises(StorageError, match=r"10000 bytes are kept; run it again"):
        fetch(wanted(site), tmp_path)
    other = CONTENT[::-1]
    site.content, site.tag = other, '"v2"'
    assert fetch(wanted(site), tmp_path).file.read_bytes() == other
    assert site.asked == [None, "bytes=10000-"]


def test_a_part_that_is_the_whole_file_is_put_into_place(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    (tmp_path / "file.bin.part.json").write_text('{"version": "\\"v1\\""}')
    assert fetch(wanted(site, sha256=SUM), tmp_path).came == 0
    assert leftovers(tmp_path) == set()


def test_a_part_longer_than_the_file_starts_anew(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT + b"more")
    (tmp_path / "file.bin.part.json").write_text('{"version": "\\"v1\\""}')
    assert fetch(wanted(site, sha256=SUM), tmp_path).file.read_bytes() == CONTENT


@pytest.mark.parametrize("note", ["", "{", '{"version": ""}', '{"version": "\\"v0\\""}'])
def test_a_part_of_no_known_version_starts_anew(note: str, site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(b"something else")
    if note:
        (tmp_path / "file.bin.part.json").write_text(note)
    assert fetch(wanted(site, sha256=SUM), tmp_path).file.read_bytes() == CONTENT


def test_a_busy_server_is_asked_again_and_a_final_no_is_not(site: Site, tmp_path: Path) -> None:
    site.codes = [503, 429]
    assert fetch(wanted(site, sha256=SUM), tmp_path).sha256 == SUM
    site.codes = [404]
    with pytest.raises(StorageError, match="answers 404 Not Found; expected the file; get it by hand"):
        fetch(replace(wanted(site), file="other.bin"), tmp_path)
    assert len(site.asked) == 4


def test_another_sum_is_refused_and_fetched_anew(site: Site, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"it stands as file\.bin\.wrong"):
        fetch(wanted(site, sha256="0" * 64), tmp_path)
    assert not (tmp_path / "file.bin").exists()
    assert fetch(wanted(site, sha256=SUM), tmp_path).came == len(CONTENT)


def test_without_a_known_sum_that_of_the_first_download_counts(site: Site, tmp_path: Path) -> None:
    first = fetch(wanted(site), tmp_path)
    assert (first.checked, first.sha256) == ("nothing", SUM)
    assert fetch(wanted(site), tmp_path).checked == "the sum of the first download"
    (tmp_path / "file.bin").write_bytes(CONTENT[:-1])
    with pytest.raises(StorageError, match=f"expected sha256 {SUM}"):
        fetch(wanted(site), tmp_path)


def test_a_published_md5_is_asked_for(site: Site, tmp_path: Path) -> None:
    assert fetch(wanted(site, md5_url=f"{site.url}/file.md5"), tmp_path).checked == "md5"
    site.content = CONTENT[::-1]
    with pytest.raises(StorageError, match="has md5"):
        fetch(replace(wanted(site, md5_url=f"{site.url}/file.md5"), file="other.bin"), tmp_path)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://example.org/x"])
def test_only_addresses_of_the_web_are_asked(url: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is no address of the web"):
        fetch(Download(url=url, file="file.bin"), tmp_path)


KILLED = """
import os, signal, sys
from pathlib import Path
from feature_store.sources import fetch
fetch.BLOCK = 4096
came = 0
for size in fetch.arriving(sys.argv[1], Path(sys.argv[2])):
    came += size
    if came >= 20_000:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_download_goes_on_from_its_last_byte(site: Site, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, f"{site.url}/file", str(tmp_path / "file.bin")]
    done = subprocess.run(command, check=False, capture_output=True, cwd=Path(__file__).parents[3])
    assert done.returncode == -signal.SIGKILL, done.stderr
    part = (tmp_path / "file.bin.part").read_bytes()
    assert part == CONTENT[: len(part)]
    assert 20_000 <= len(part) < len(CONTENT)
    found = fetch(wanted(site, sha256=SUM), tmp_path)
    assert (found.file.read_bytes(), found.came) == (CONTENT, len(CONTENT) - len(part))
    assert site.asked == [None, f"bytes={len(part)}-"]


def test_two_downloads_of_one_file_do_not_meet(site: Site, tmp_path: Path) -> None:
    from recsys.storage import locked

    with locked(tmp_path / ".file.bin.lock"), pytest.raises(StorageError, match="is held by another process"):
        fetch(wanted(site), tmp_path)


def zipped(path: Path, files: dict[str, str]) -> bytes:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path.read_bytes()


def test_archives_are_unpacked_and_lead_nowhere_else(tmp_path: Path) -> None:
    archive = tmp_path / "raw" / "set.zip"
    archive.parent.mkdir()
    zipped(archive, {"ml/movies.csv": "movieId\n", "ml/README": "x"})
    assert {path.relative_to(archive.parent).as_posix() for path in unpack(archive)} == {"ml/movies.csv", "ml/README"}
    zipped(archive, {"../outside.txt": "x"})
    with pytest.raises(StorageError, match=r"holds \.\./outside\.txt"):
        unpack(archive)
    assert not (tmp_path / "outside.txt").exists()
    archive.write_bytes(archive.read_bytes()[:40])
    with pytest.raises(StorageError, match="is damaged"):
        unpack(archive)


def test_the_command_downloads_unpacks_and_imports(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    films = {
        "ml-25m/movies.csv": "movieId,title,genres\n1,Toy Story (1995),Adventure\n",
        "ml-25m/ratings.csv": "userId,movieId,rating,timestamp\n1,1,4.5,1147880044\n",
    }
    site.content = zipped(tmp_path / "made.zip", films)
    site.breaks = [50]
    source = replace(PUBLIC_SETS["movielens"], downloads=(Download(url=f"{site.url}/file", file="ml-25m.zip"),))
    monkeypatch.setitem(PUBLIC_SETS, "movielens", source)
    raw, shop = tmp_path / "raw", tmp_path / "shop"
    only = recsys(capsys, "import", "movielens", "--download", raw)
    assert only.code == 0, only.err
    assert "that of this download now stands beside it" in " ".join(only.out.split())
    assert not shop.exists()
    done = recsys(capsys, "import", "movielens", raw, shop, "--download", "--json")
    assert done.code == 0, done.err
    assert done.report["rows"] == {"products": 1, "events": 1}
    assert done.report["downloaded"][0]["came"] == 0
    assert len(site.asked) == 2


def test_addresses_are_https_and_sums_are_sums() -> None:
    files = [file for one in PUBLIC_SETS.values() for file in one.downloads]
    assert all(file.url.startswith("https://") for file in files)
    assert all(not file.sha256 or re.fullmatch(r"[0-9a-f]{64}", file.sha256) for file in files)
    assert all(Path(file.file).name == file.file for file in files)
