"""What was put on a Redis server, noted on our own disk: a server that loses all of it knows of nothing."""

import json
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys.storage import write_text

if TYPE_CHECKING:
    from redis import Redis


class Note:
    """That something was put on a server, and what is to be known of it should it be lost there.

    Args:
        folder: holds a note for each server; None keeps none.
        client: of the server. Where it is counts, not who logs in to it.
    """

    def __init__(self, folder: Path | None, client: "Redis") -> None:
        asked = client.connection_pool.connection_kwargs
        place = asked.get("path") or f"{asked.get('host', 'localhost')}:{asked.get('port', 6379)}"
        self.server = f"{place}/{asked.get('db', 0)}"
        self.path = folder and folder / f"server-{sha256(self.server.encode()).hexdigest()[:16]}.json"

    def write(self, words: Any = None) -> None:
        """Note it, with words that JSON knows; StorageError where the disk is full."""
        body = {"server": self.server, "words": words}
        if self.path is not None and self._body() != json.loads(json.dumps(body)):
            write_text(self.path, json.dumps(body) + "\n")

    @property
    def stands(self) -> bool:
        """True where something was put on that server."""
        return bool(self._body())

    @property
    def words(self) -> Any:
        """What was noted with it last; None where nothing was."""
        return self._body().get("words")

    def _body(self) -> dict[str, Any]:
        try:
            found = {} if self.path is None else json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}
