"""Zip archives of raw files."""

import zipfile
from pathlib import Path

from recsys.errors import StorageError
from recsys.storage import atomic_file

BLOCK = 1 << 20


def unpack(archive: Path) -> list[Path]:
    """Unpack a zip archive's files beside it, each whole or absent.

    Raises:
        StorageError: it is damaged, or holds a name that leads out of the folder.
    """
    made = []
    try:
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                if entry.is_dir():
                    continue
                target = archive.parent / entry.filename
                if not target.resolve().is_relative_to(archive.parent.resolve()):
                    raise StorageError(
                        f"{archive} holds {entry.filename}", expected="names inside the folder", action="unpack by hand"
                    )
                if not target.is_file() or target.stat().st_size != entry.file_size:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with opened.open(entry) as source, atomic_file(target) as partial, partial.open("wb") as sink:
                        while block := source.read(BLOCK):
                            sink.write(block)
                made.append(target)
    except zipfile.BadZipFile as error:
        raise StorageError(
            f"{archive} is damaged ({error})", expected="a whole zip archive", action="remove it and run it again"
        ) from error
    return made
