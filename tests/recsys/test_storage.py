"""Whole or absent: files, folders, and locks between processes."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from recsys.errors import StorageError, UsageError
from recsys.storage import atomic_file, atomic_folder, claim, locked, refuse_other_files, write_text

ROOT = Path(__file__).parents[2]


def test_a_failed_file_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.json"
    write_text(target, "old")
    with pytest.raises(OSError, match="No space"), atomic_file(target) as partial, Path("/dev/full").open("w") as full:
        shutil.copyfileobj(io.StringIO(partial.name), full)
    assert target.read_text() == "old"
    assert os.listdir(target.parent) == ["a.json"]


@pytest.mark.parametrize(
    ("said", "left", "found"),
    [
        ("An IO error occurred: 'No space left on device (os error 28)'", 1 << 30, StorageError),
        ("parquet: File out of specification: Invalid thrift: transport error", 0, StorageError),
        ("parquet: File out of specification: Invalid thrift: transport error", 1 << 30, ValueError),
    ],
)
def test_a_library_that_fails_on_a_full_disk_is_told_as_such(
    said: str, left: int, found: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "folder"
    with atomic_folder(target) as partial:
        (partial / "old").touch()
    monkeypatch.setattr("os.statvfs", lambda _: SimpleNamespace(f_bavail=left, f_frsize=1))
    with pytest.raises(found), atomic_folder(target):
        raise ValueError(said)
    assert os.listdir(target) == ["old"]
    assert os.listdir(tmp_path) == ["folder"]


def test_a_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    for content in ("old", "new"):
        with atomic_folder(target) as partial:
            (partial / content).write_text(content)
    assert os.listdir(target) == ["new"]
    assert os.listdir(tmp_path) == ["folder"]


KILLED_AT = """
import os, signal, sys
from pathlib import Path
from recsys.storage import atomic_folder

STEPS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree", "ctypes.dlsym", "ctypes.get_errno"}
left = int(sys.argv[2])

def kill(event, _):
    global left
    left -= event in STEPS
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

with atomic_folder(Path(sys.argv[1])) as partial:
    (partial / "new").touch()
    sys.addaudithook(kill)
"""


def test_a_kill_at_any_step_leaves_the_old_folder_or_the_new_one(tmp_path: Path) -> None:
    target, found = tmp_path / "folder", []
    for steps in range(100):
        shutil.rmtree(target, ignore_errors=True)
        write_text(target / "old", "")
        done = subprocess.run([sys.executable, "-c", KILLED_AT, str(target), str(steps)], cwd=ROOT, check=False)
        write_text(tmp_path / "other", "")  # sweeps
        found += os.listdir(target)
        if done.returncode == 0:
            break
    assert found == ["old"] * found.count("old") + ["new"] * found.count("new")
    assert min(found.count("old"), found.count("new")) > 1
    assert sorted(os.listdir(tmp_path)) == ["folder", "other"]


def test_a_disk_that_exchanges_no_folders_takes_two_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.storage.RENAME_EXCHANGE", 1 << 20)  # EINVAL, as such a disk says
    test_a_folder_replaces_the_old_one_whole(tmp_path)


def test_a_folder_goes_where_a_link_points(tmp_path: Path) -> None:
    (tmp_path / "disk" / "folder").mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "disk" / "folder")
    for content in ("old", "new"):
        with atomic_folder(link) as partial:
            (partial / content).touch()
    assert link.is_symlink()
    assert os.listdir(tmp_path / "disk" / "folder") == ["new"]
    assert sorted(os.listdir(tmp_path)) == ["disk", "link"]


def test_a_folder_that_another_job_has_put_there_meanwhile(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with atomic_folder(target) as mine:
        (mine / "mine").touch()
        with atomic_folder(target) as other:
            (other / "other").touch()
    assert os.listdir(target) == ["mine"]


def test_new_empty_and_older_folders_are_taken(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "mark").touch()
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty", "old"):
        refuse_other_files(tmp_path / name, what="thing", older=lambda folder: (folder / "mark").is_file())
    with pytest.raises(UsageError, match="mark holds other files"):
        refuse_other_files(tmp_path / "old" / "mark", what="thing", older=lambda _: True)


def test_a_failed_folder_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with atomic_folder(target) as partial:
        (partial / "old").write_text("old")
    with (
        pytest.raises(OSError, match="No space"),
        atomic_folder(target) as partial,
        Path("/dev/full").open("w") as full,
    ):
        full.write("x")
    assert os.listdir(target) == ["old"]
    assert os.listdir(tmp_path) == ["folder"]


WRITER = """
import sys
from pathlib import Path
from recsys.storage import atomic_file, partial_folder
folder = Path(sys.argv[1])
with partial_folder(folder, "one") as partial, atomic_file(folder / "two") as file:
    (partial / "half").write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
"""


def partials(folder: Path) -> list[str]:
    return sorted(path.name.split("-")[1] for path in folder.glob(".partial-*"))


def test_the_next_writer_removes_what_a_killed_one_left_and_spares_the_living(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as living:
        assert living.stdout is not None
        assert living.stdout.readline() == "writing\n"
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killed:
            assert killed.stdout is not None
            assert killed.stdout.readline() == "writing\n"
            assert partials(tmp_path) == ["one", "one", "two", "two"]
            killed.kill()
        write_text(tmp_path / "three", "")
        assert partials(tmp_path) == ["one", "two"]
        living.kill()
    (tmp_path / ".partial-of-somebody-else").write_text("")
    write_text(tmp_path / "three", "")
    assert partials(tmp_path) == ["of"]


def test_a_path_that_a_sweeper_took_is_made_anew(tmp_path: Path) -> None:
    def make() -> Path:
        path = tmp_path / f".partial-{len(made)}.held"
        made.append(path)
        if len(made) > 1:
            path.write_text("")
        return path

    made: list[Path] = []
    path, handle = claim(make)
    os.close(handle)
    assert (path, len(made)) == (made[1], 2)


def test_files_are_readable_by_others(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "")
    with atomic_folder(tmp_path / "b"):
        pass
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o755


def test_a_lock_held_by_another_process_is_one_line(tmp_path: Path) -> None:
    lock = tmp_path / "locks" / "job.lock"
    code = f"""
import sys
from pathlib import Path
from recsys.storage import locked
with locked(Path({str(lock)!r})):
    print("held", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(StorageError, match="is held by another process"), locked(lock, seconds=0.1):
            pass
        other.kill()
        other.wait()
    with locked(lock, seconds=0.0), pytest.raises(StorageError), locked(lock, seconds=0.0):
        pass
