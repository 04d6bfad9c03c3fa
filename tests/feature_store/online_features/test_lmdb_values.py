"""Packed values in LMDB: the conformance suite, many processes, kill -9, a full map and a full disk."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from feature_store.online.conformance import check_value_store
from feature_store.online.lmdb_files import write_base
from feature_store.online.lmdb_values import LmdbValues
from recsys.errors import StorageError

DAY = 86_400.0
READER = """
import sys
from pathlib import Path
from feature_store.online.lmdb_values import LmdbValues
store = LmdbValues(Path(sys.argv[1]))
keys = [f"k{number}" for number in range(200)]
print("ready", flush=True)
looks = 0
for line in sys.stdin:
    seen = set(store.read(keys))
    assert len(seen) == 1, seen
    print(next(iter(seen)).decode(), flush=True)
"""
WRITER = """
import os, signal, sys
from pathlib import Path
from feature_store.online import lmdb_values
from feature_store.online.lmdb_values import LmdbValues
store, stage = LmdbValues(Path(sys.argv[1])), sys.argv[2]
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
def half():
    yield from ((f"k{number}", b"half") for number in range(20_500))
    die()
if stage == "values":
    store.publish(half(), ttl_s=1000)
elif stage == "update":
    store.update(["k0"], lambda _: [die()])
else:
    setattr(lmdb_values, stage, die)
    store.publish([(f"k{number}", b"new") for number in range(200)], ttl_s=1000)
"""


def all_of(value: bytes) -> list[tuple[str, bytes]]:
    return [(f"k{number}", value) for number in range(200)]


def child(program: str, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_conformance(tmp_path: Path) -> None:
    check_value_store(lambda clock: LmdbValues(tmp_path / "store", clock=clock))


def test_many_processes_read_one_generation_or_the_other(tmp_path: Path) -> None:
    store = LmdbValues(tmp_path / "store")
    store.publish(all_of(b"0"), ttl_s=DAY)
    readers = [child(READER, tmp_path / "store") for _ in range(3)]
    try:
        for reader in readers:
            assert reader.stdout
            assert reader.stdout.readline() == "ready\n"
        for number in range(1, 9):
            step = str(number).encode()
            if number % 2:
                store.publish(all_of(step), ttl_s=DAY)
            else:
                store.update([], lambda _, step=step: dict(all_of(step)))  # type: ignore[misc]
            for reader in readers:
                assert reader.stdin
                assert reader.stdout
                reader.stdin.write("look\n")
                reader.stdin.flush()
                assert reader.stdout.readline() == f"{number}\n"
    finally:
        for reader in readers:
            reader.communicate()
    assert [reader.returncode for reader in readers] == [0, 0, 0]
    assert len(list((tmp_path / "store").glob("generation-*"))) == 2


@pytest.mark.parametrize("stage", ["values", "write_text", "lmdb", "update"])
def test_a_process_that_is_killed_leaves_the_last_good_generation(stage: str, tmp_path: Path) -> None:
    store = LmdbValues(tmp_path / "store")
    name = store.publish(all_of(b"good"), ttl_s=DAY)
    store.update([], lambda _: {"k1": b"newer"})
    killed = child(WRITER, tmp_path / "store", "file_sha256" if stage == "lmdb" else stage)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert (store.generation(), store.read(["k0", "k1", "k300"])) == (name, [b"good", b"newer", None])
    assert store.update(["k1"], lambda _: {"k1": b"newest"}), "the lock of the killed one is free"
    store.publish(all_of(b"next"), ttl_s=DAY)
    assert store.read(["k1"]) == [b"next"]
    assert not list((tmp_path / "store").glob(".partial-*"))


def test_a_reader_goes_on_with_the_generation_that_it_has_open(tmp_path: Path) -> None:
    """What is removed while it is read stays mapped; threads share what is open."""
    store, wrong = LmdbValues(tmp_path / "store"), []
    store.publish(all_of(b"0"), ttl_s=DAY)
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            if len(set(store.read([f"k{number}" for number in range(200)]))) != 1:
                wrong.append(1)

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    other = LmdbValues(tmp_path / "store")
    for number in range(6):
        other.publish(all_of(str(number).encode()), ttl_s=DAY)
    done.set()
    for reader in readers:
        reader.join()
    assert not wrong


def test_a_full_map_of_updates_is_one_line_and_keeps_what_was_there(tmp_path: Path) -> None:
    store = LmdbValues(tmp_path / "store", room=1 << 16)
    store.publish(all_of(b"good"), ttl_s=DAY)
    store.update([], lambda _: {"k1": b"newer"})
    with pytest.raises(StorageError, match=r"fill the 65,536 bytes.*recsys table publish SHOP; until then"):
        store.update([], lambda _: {"k2": b"x" * 100_000})
    assert store.read(["k1", "k2"]) == [b"newer", b"good"]
    store.update([], lambda _: {"k2": b"small"})
    store.publish([("k1", b"x" * 3_000_000)] * 1 + [(f"n{n}", b"y" * 1_000_000) for n in range(80)], ttl_s=DAY)
    assert store.read(["k2"]) == [None], "what is published may take what it needs"


def test_a_full_disk_is_one_line_and_keeps_what_was_there(tmp_path: Path, full_disk: Callable[[int], None]) -> None:
    store = LmdbValues(tmp_path / "store")
    name = store.publish(all_of(b"good"), ttl_s=DAY)
    with full_disk(1 << 20), pytest.raises(StorageError, match="free space"):  # type: ignore[attr-defined]
        store.publish(((f"k{number}", b"x" * 10_000) for number in range(2_000)), ttl_s=DAY)
    assert (store.generation(), store.read(["k0"])) == (name, [b"good"])
    with full_disk(1 << 20), pytest.raises(StorageError, match="free space"):  # type: ignore[attr-defined]
        store.update([], lambda _: {"k0": b"x" * 3_000_000})
    assert store.read(["k0"]) == [b"good"]
    assert store.update([], lambda _: {"k0": b"better"})


def test_what_is_deleted_is_in_no_file(tmp_path: Path) -> None:
    store = LmdbValues(tmp_path / "store")
    store.publish([("keep", b"1"), ("ann", b"SECRET")], ttl_s=DAY)
    store.update([], lambda _: {"ann": b"SECRET again"})
    assert store.delete(["ann"]) == 1
    files = [file for file in (tmp_path / "store").rglob("*") if file.is_file()]
    assert files
    assert not any(b"SECRET" in file.read_bytes() for file in files)
    assert store.read(["keep", "ann"]) == [b"1", None]


def test_a_damaged_store_is_one_line(tmp_path: Path) -> None:
    name = LmdbValues(tmp_path / "store").publish(all_of(b"good"), ttl_s=DAY)
    data = tmp_path / "store" / f"generation-{name}" / "data.mdb"
    os.truncate(data, data.stat().st_size // 2)
    with pytest.raises(StorageError, match="publish again: recsys table publish SHOP"):
        LmdbValues(tmp_path / "store").read(["k0"])
    LmdbValues(tmp_path / "store").publish(all_of(b"next"), ttl_s=DAY)
    assert LmdbValues(tmp_path / "store").read(["k0"]) == [b"next"]


def test_a_base_grows_as_it_must(tmp_path: Path) -> None:
    write_base(tmp_path, ((str(number).encode(), b"x" * 100_000) for number in range(1_500)))
    assert (tmp_path / "data.mdb").stat().st_size > 1 << 27
