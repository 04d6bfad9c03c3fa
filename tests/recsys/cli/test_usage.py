"""Wrong usage is one line and exit code 2, whoever finds it; a place that can't be written is one line too."""

import errno
import os
from pathlib import Path

import pytest

from tests.command import recsys


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["search"],
            "missing argument 'query'; expected what the shopper types, as \"blue velvet sofa\"; see `recsys s",
        ),
        (["search", "a", "b"], "got unexpected extra argument(s) (b); expected what the help lists"),
        (["search", "a", "--k"], "option '--k' requires an argument"),
        (["search", "a", "--k", "x"], "a wrong value for '--k' / '-k'; expected a valid integer"),
        (["search", "a", "--k", "0"], "expected a value greater than or equal to 1; see `recsys search --help`"),
        (["search", "a", "--kk", "1"], "no such option: --kk; expected --k; see `recsys search --help`"),
        (["index", "shop", "--dense", "x"], "expected one of 'auto', 'flat', 'hnsw', 'ivf-pq'"),
        (["ledger"], "missing command; expected one of verify"),
        (["ledger", "mend"], "no such command 'mend'; expected one of verify; see `recsys ledger --help`"),
        (["ledger", "verify", "--x"], "no such option: --x; expected what the help lists; see `recsys ledger verify"),
        (["nothing"], "no command `nothing`"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    done = recsys(capsys, *arguments)
    assert (done.code, done.out, len(done.lines)) == (2, "", 1)
    assert done.err.startswith("error: ")
    assert said in done.err
    done = recsys(capsys, *arguments, "--json")
    assert done.report["error"]["type"] == "UsageError"


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    done = recsys(capsys, "search", "--help")
    assert (done.code, done.err) == (0, "")
    assert "--k" in done.out


def test_a_place_that_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shop").write_text("a file")
    done = recsys(capsys, "sample", tmp_path / "shop" / "deeper", "--products", 60, "--users", 20)
    assert (done.code, len(done.lines)) == (1, 1)
    assert "nothing can be written at" in done.err
    assert "internal error" not in done.err


def test_a_value_that_a_model_refuses(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.opening.open_live", lambda settings, *, shop: None)
    done = recsys(capsys, "recommend", "--viewed", "")
    assert (done.code, len(done.lines)) == (2, 1)
    assert "product_id ''; expected at least 1 character; see `recsys recommend --help`" in done.err


def test_a_full_disk_is_one_line_in_whichever_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("Error in write: fwrite failed: No space left on device")

    monkeypatch.setattr("serving.opening.open_live", full)
    done = recsys(capsys, "similar", "p1")
    assert (done.code, done.lines) == (
        1, ["error: the disk is full; expected room to write; free space and run it again"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOENT, "/shop/a.csv is not there, or no longer; expected a file that stays; check the path and"),
        (errno.EIO, "/shop/a.csv can't be read or written (input/output error); expected a sound disk; check the disk"),
        (errno.EBUSY, "nothing can be written at /shop/a.csv (device or resource busy); expected a place below a"),
    ],
)
def test_what_a_disk_says_is_one_line(
    number: int, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "/shop/a.csv")

    monkeypatch.setattr("serving.opening.open_live", fail)
    done = recsys(capsys, "similar", "p1")
    assert (done.code, len(done.lines)) == (1, 1)
    assert said in done.err
