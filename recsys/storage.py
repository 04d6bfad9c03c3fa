"""Writing that is whole or absent: temporary neighbour, fsync, rename; and locks between processes."""

import ctypes
import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recsys.errors import RecsysError, StorageError, UsageError
from recsys.room import is_full, says_full

PARTIAL, HELD = ".partial-", ".held"
AT_FDCWD, RENAME_EXCHANGE = -100, 2
TAKEN = (errno.ENOTEMPTY, errno.EEXIST)
UNABLE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder beside `target`; on success it becomes `target`, otherwise nothing stays.

    A folder that already stands at `target` is replaced, so that readers find the old one or the new one. A link is
    followed.
    """
    target = target.resolve()
    with partial_folder(target.parent, target.name) as partial:
        yield partial
        sync_tree(partial)
        swap(partial, target)
        sync_folder(target.parent)


def refuse_other_files(target: Path, *, what: str, older: Callable[[Path], bool]) -> None:
    """Refuse to write a folder where something else stands, which `atomic_folder` would remove.

    Args:
        target: where the folder is to go.
        what: of which kind it is, as in "an older WHAT".
        older: True for a folder of that kind, which may be replaced.

    Raises:
        UsageError: it is a file, or a folder that holds other files.
    """
    if target.is_file() or (target.is_dir() and any(target.iterdir()) and not older(target)):
        raise UsageError(
            f"{target} holds other files",
            expected=f"a new folder, an empty one or an older {what}",
            action="choose another folder",
        )


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Give a path beside `target` to write; on success it becomes `target`, otherwise nothing stays."""
    with held(lambda: make_file(target), parent=target.parent) as partial:
        partial.chmod(0o644)
        yield partial
        sync_file(partial)
        partial.replace(target)
        sync_folder(target.parent)


@contextmanager
def partial_folder(parent: Path, name: str) -> Iterator[Path]:
    """Give an empty folder in `parent` that no reader looks at; it is removed in any case, unless it was renamed."""

    def make() -> Path:
        return Path(tempfile.mkdtemp(prefix=f"{PARTIAL}{name}-", suffix=HELD, dir=parent))

    with held(make, parent=parent) as partial:
        partial.chmod(0o755)
        yield partial


@contextmanager
def held(make: Callable[[], Path], *, parent: Path) -> Iterator[Path]:
    """Make a file or folder in `parent` and hold its lock until the end; then it is removed.

    The lock ends with the process, so that the next writer in `parent` can tell what a killed one has left.

    Raises:
        StorageError: a library failed because the disk is full; an OSError says so itself.
    """
    parent.mkdir(parents=True, exist_ok=True)
    sweep(parent)
    partial, handle = claim(make)
    try:
        yield partial
    except (RecsysError, OSError):
        raise
    except Exception as error:
        if says_full(error) or is_full(parent):
            raise StorageError(
                f"the disk is full while writing in {parent}",
                expected="room to write",
                action="free space and run it again",
            ) from error
        raise
    finally:
        remove(partial)
        os.close(handle)


def make_file(target: Path) -> Path:
    """An empty file beside `target`."""
    handle, name = tempfile.mkstemp(prefix=f"{PARTIAL}{target.name}-", suffix=HELD, dir=target.parent)
    os.close(handle)
    return Path(name)


def claim(make: Callable[[], Path]) -> tuple[Path, int]:
    """Make a path and lock it; a sweeper that came in between may have taken it for a dead one's, then make another."""
    while True:
        path = make()
        with suppress(FileNotFoundError):
            handle = os.open(path, os.O_RDONLY)
            with suppress(OSError):  # a file system without locks: nobody can sweep there either
                fcntl.flock(handle, fcntl.LOCK_EX)
            if path.exists():
                return path, handle
            os.close(handle)


def sweep(parent: Path) -> None:
    """Remove what killed processes left half written in a folder; a living one holds the lock of what it writes."""
    for path in parent.glob(f"{PARTIAL}*{HELD}"):
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(path)
            finally:
                os.close(handle)


def remove(path: Path) -> None:
    """Remove a file or folder; it may be gone already."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write a whole text file, or leave the old one."""
    with atomic_file(target) as partial:
        partial.write_text(text, encoding="utf-8")


def swap(partial: Path, target: Path) -> None:
    """Rename a finished folder into place in one step; what stood there is removed afterwards.

    A disk that can't exchange two folders (some network file systems) takes two steps, and has none in between.
    """
    try:
        partial.rename(target)  # where there is none, or an empty one
    except OSError as error:
        if error.errno not in TAKEN:
            raise
        if not exchanged(partial, target):
            with partial_folder(target.parent, target.name) as old:
                target.rename(old / "old")
                partial.rename(target)
        remove(partial)


def exchanged(one: Path, other: Path) -> bool:
    """Let two folders take each other's place in one step; False where the system or the disk can't.

    Source: renameat2(2), RENAME_EXCHANGE.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None or rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0:
        return rename is not None
    number = ctypes.get_errno()
    if number not in UNABLE:
        raise OSError(number, os.strerror(number), str(other))
    return False


def sync_tree(folder: Path) -> None:
    """Force every file and folder below `folder` to the disk."""
    for root, _, names in os.walk(folder):
        for name in names:
            sync_file(Path(root) / name)
        sync_folder(Path(root))


def sync_file(path: Path) -> None:
    """Force a file's content to the disk."""
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


def sync_folder(path: Path) -> None:
    """Force a folder's names to the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(path: Path, *, seconds: float | None = None) -> Iterator[None]:
    """Hold an exclusive lock between processes; it ends with the process that holds it.

    Args:
        path: the lock file, made where it is missing.
        seconds: how long to wait; None waits as long as it takes.

    Raises:
        StorageError: another process held the lock all the time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as handle:
        take(handle.fileno(), path, seconds=seconds)
        try:
            yield
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)


def take(handle: int, path: Path, *, seconds: float | None) -> None:
    """Take the lock of an open file, waiting at most `seconds`."""
    if seconds is None:
        fcntl.flock(handle, fcntl.LOCK_EX)
        return
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= end:
                raise StorageError(
                    f"{path} is held by another process",
                    expected=f"it to be free within {seconds:g} s",
                    action="wait until the other job has ended and run it again",
                ) from error
            time.sleep(0.05)
        else:
            return
