"""Which index is live: one small file, swapped in a single step."""

import json
from pathlib import Path

from recsys.engine.manifest import MANIFEST, read_manifest
from recsys.errors import IndexMismatchError
from recsys.storage import write_text

CURRENT = "current.json"


def set_current(indexes: Path, index: Path) -> None:
    """Make an index the live one of the folder `indexes`; a broken index is refused and the last one stays.

    Raises IndexMismatchError where `index` is no index.
    """
    manifest = read_manifest(index)
    body = {"path": str(index.resolve()), "digest": manifest.digest, "created_at": manifest.created_at.isoformat()}
    write_text(indexes / CURRENT, json.dumps(body) + "\n")


def current_index(indexes: Path) -> Path:
    """The live index of the folder `indexes`; IndexMismatchError where there is none."""
    pointer = indexes / CURRENT
    try:
        path = Path(json.loads(pointer.read_text(encoding="utf-8"))["path"])
    except (OSError, ValueError, KeyError, TypeError):
        raise IndexMismatchError(
            f"no live index in {indexes}", expected=f"{CURRENT} naming one", action="run `recsys index SHOP`"
        ) from None
    if not (path / MANIFEST).is_file():
        raise IndexMismatchError(
            f"{pointer} names {path}, which is gone", expected="an index folder", action="run `recsys index SHOP`"
        )
    return path
