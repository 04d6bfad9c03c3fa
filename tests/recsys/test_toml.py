"""TOML files that people write: a mark before the text is passed over, and what can't be read is told in words."""

from pathlib import Path

import pytest

from recsys.toml import read_toml


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_mark_and_the_ends_of_lines_do_not_matter(mark: bytes, end: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(mark + end.join([b"a = 1", "b = 'ä'".encode(), b""]))
    assert read_toml(file) == {"a": 1, "b": "ä"}


def test_no_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "table").write_text("")
    assert read_toml(tmp_path / "a.toml") is None
    assert read_toml(tmp_path / "table" / "a.toml") is None


@pytest.mark.parametrize("behind", ["nowhere", "table/nowhere"])
def test_a_link_to_nothing_is_no_missing_file(behind: str, tmp_path: Path) -> None:
    (tmp_path / "table").write_text("")
    (tmp_path / "a.toml").symlink_to(tmp_path / behind)
    with pytest.raises(ValueError, match=rf"^is a link to {tmp_path / behind}, where no file is$"):
        read_toml(tmp_path / "a.toml")
    (tmp_path / "nowhere").write_text("a = 1")
    if behind == "nowhere":
        assert read_toml(tmp_path / "a.toml") == {"a": 1}


def test_links_in_a_circle_and_folders_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.toml").symlink_to(tmp_path / "a.toml")
    with pytest.raises(ValueError, match=r"^can't be read: Too many levels of symbolic links$"):
        read_toml(tmp_path / "a.toml")
    with pytest.raises(ValueError, match=r"^can't be read: Is a directory$"):
        read_toml(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a = ", "is no TOML: Invalid value"),
        (b"a = '\xff'", "is no TOML: 'utf-8' codec can't decode"),
        (b"\xff\xfea\0", "is no TOML: 'utf-8' codec can't decode"),
        (b"a = " + b"9" * 5000, "can't be read: a whole number of more than 4300 digits"),
        (b"a = -" + b"9" * 5000, "can't be read: a whole number of more than 4300 digits"),
        (b"a = " + b"[" * 3000, "can't be read: too many brackets within brackets"),
        (b"a = " + b"{a=" * 3000, "can't be read: too many brackets within brackets"),
    ],
    ids=lambda one: str(one[:16]),
)
def test_what_can_not_be_read_is_told_in_words(content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{words}"):
        read_toml(file)
