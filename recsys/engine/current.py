"""Which index is live: one small file, swapped in a single step."""

import json
from datetime import datetime
from pathlib import Path

from recsys.engine.manifest import MANIFEST, read_manifest
from recsys.errors import IndexMismatchError
from recsys.storage import write_text

CURRENT = "current.json"


def set_current(indexes: Path, index: Path, *, until: datetime | None = None) -> None:
    """Make an index the live one of the folder `indexes`; a broken index is refused and the last one stays.

    Args:
        indexes: the folder of a shop's indexes.
        index: one of them.
        until: the last moment that its shop knew of, None where the shop has no calendar.

    Raises:
        IndexMismatchError: `index` is no index.
    """
    manifest = read_manifest(index)
    body = {
        "path": str(index.resolve()),
        "digest": manifest.digest,
        "created_at": manifest.created_at.isoformat(),
        "until": until and until.isoformat(),
    }
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


def current_until(indexes: Path) -> datetime | None:
    """The last moment that the shop of the live index knew of; None where none is live or nothing is known of it."""
    try:
        return datetime.fromisoformat(json.loads((indexes / CURRENT).read_text(encoding="utf-8"))["until"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
