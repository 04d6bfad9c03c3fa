"""The thread that logs a sample of answers: drawn by a seed, never waited for, and told once where it fails."""

import logging
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from feature_store.online_features.reading import Read
from feature_store.served_log import writer as writing
from feature_store.served_log.log import ServedLog
from feature_store.served_log.writer import ServedWriter
from recsys.errors import StorageError
from tests.feature_store.served_log.reads import read
from tests.feature_store.served_log.test_log import everything


def drawn(file: Path, *, share: float, seed: int, reads: int = 400) -> list[int]:
    """Which answers are in the log."""
    writer = ServedWriter(ServedLog(file), share=share, seed=seed)
    writer.start()
    for number in range(reads):
        writer.note(read(str(number)))
    writer.close()
    return [int(key[0]) for key, _ in everything(ServedLog(file))] if file.exists() else []


def test_the_sample_is_that_of_its_seed(tmp_path: Path) -> None:
    found = drawn(tmp_path / "a.db", share=0.25, seed=3)
    assert 60 < len(found) < 140
    assert drawn(tmp_path / "b.db", share=0.25, seed=3) == found
    assert drawn(tmp_path / "c.db", share=0.25, seed=4) != found
    assert drawn(tmp_path / "d.db", share=1.0, seed=0) == list(range(400))
    assert drawn(tmp_path / "e.db", share=0.0, seed=0) == []


def test_without_a_share_of_its_own_it_takes_the_publication_s(tmp_path: Path) -> None:
    writer = ServedWriter(ServedLog(tmp_path / "a.db"), share=None, seed=0)
    writer.start()
    for number, share in enumerate((0.0, 1.0, 0.0, 1.0)):
        taken = read(str(number))
        writer.note(taken._replace(about=replace(taken.about, log_share=share)))
    writer.close()
    assert [key for key, _ in everything(writer.served)] == [["1"], ["3"]]


class Failing:
    """A log that fails until it is mended."""

    def __init__(self) -> None:
        self.whole = False
        self.kept: list[Read] = []
        self.tried = threading.Semaphore(0)

    def append(self, reads: list[Read], *, forgotten: object) -> int:
        try:
            if not self.whole:
                raise StorageError("the disk is full", expected="room", action="free space")
            self.kept += reads
            return len(reads)
        finally:
            self.tried.release()

    def close(self) -> None:
        pass


def test_a_log_that_fails_is_told_once_and_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "GATHER_SECONDS", 0.0)
    failing, became = Failing(), Counter[str]()
    observe = lambda result, rows: became.update({result: rows})  # noqa: E731
    writer = ServedWriter(failing, share=1.0, seed=0, observe=observe)  # type: ignore[arg-type]
    writer.start()
    with caplog.at_level(logging.WARNING, logger=writing.__name__):
        for number in range(3):
            writer.note(read(str(number), "more"))
            assert failing.tried.acquire(timeout=30)
        failing.whole = True
        writer.note(read("late"))
        assert failing.tried.acquire(timeout=30)
        writer.close()
    assert became == {"failed": 6, "kept": 1}
    assert [record.getMessage() for record in caplog.records] == [
        "served features are not logged: the disk is full; expected room; free space",
        "served features are logged again",
    ]


def test_what_too_many_bring_is_dropped_and_counted() -> None:
    became = Counter[str]()
    observe = lambda result, rows: became.update({result: rows})  # noqa: E731
    failing = Failing()
    failing.whole = True
    writer = ServedWriter(failing, share=1.0, seed=0, observe=observe, most_waiting=3)  # type: ignore[arg-type]
    writer.note(read("a", "b"))
    writer.note(read("c", "d"))
    writer.note(read("e"))
    writer.note(read())
    writer.start()
    writer.close()
    writer.note(read("after the end"))
    assert became == {"dropped": 3, "kept": 2}
    assert [one.keys[0][0] for one in failing.kept] == ["a", "e"]
