"""Notes of what was put on which server: by its place, whoever logs in, and never with a password."""

from pathlib import Path

import pytest
from redis import Redis

from feature_store.online.notes import Note


@pytest.mark.parametrize(
    ("address", "server"),
    [
        ("redis://shop:6380/2", "shop:6380/2"),
        ("rediss://ann:secret@shop:6380/2", "shop:6380/2"),
        ("redis://", "localhost:6379/0"),
        ("unix://ann:secret@/run/redis.sock?db=3", "/run/redis.sock/3"),
    ],
)
def test_a_server_is_known_by_its_place(address: str, server: str, tmp_path: Path) -> None:
    client = Redis.from_url(address)
    note = Note(tmp_path / "notes", client)
    assert (note.server, note.stands, note.words) == (server, False, None)
    note.write(("a", 7))
    assert (Note(tmp_path / "notes", client).stands, note.words) == (True, ["a", 7])
    assert note.path is not None
    assert "secret" not in note.path.read_text() + note.path.name
    before = note.path.stat().st_ino
    note.write(("a", 7))
    assert note.path.stat().st_ino == before, "the same is written once"
    note.write()
    assert (note.stands, note.words) == (True, None)
    note.path.write_text("{")
    assert (note.stands, note.words) == (False, None)
    client.close()


def test_without_a_folder_nothing_is_noted() -> None:
    client = Redis.from_url("redis://shop")
    note = Note(None, client)
    note.write("words")
    assert (note.stands, note.words) == (False, None)
    client.close()
