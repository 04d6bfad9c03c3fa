"""The record of promotions, and of users forgotten: one JSON line each, chained by hashes.

No line can be changed unnoticed.
"""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from recsys.errors import RegistryError
from recsys.storage import sync_folder

START = "0" * 64
LIVE = ("promote", "rollback", "bootstrap")
"""The actions that make a version the champion."""
FORGET = "forget"
"""The action that is about a user, not a version: who it was stands nowhere."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One step that changed which model is live, refused one, or forgot a user.

    Attributes:
        number: line number, from 1.
        at: when, ISO 8601 with zone.
        action: "promote", "reject", "rollback", "bootstrap" or "forget".
        model: the registered model; of "forget" the shop's name, "" where it has none.
        version: the version that the step is about; of "forget" 0.
        digest: that version's bundle; of "forget" "".
        replaced: the champion before the step, 0 where there was none.
        by: the person or job that took the step.
        approved_by: who answers for it; "bootstrap" where the rule did.
        reason: why, in words.
        step: an id that tells two steps apart.
        previous: the hash of the line before, START for the first.
        hash: sha256 over all other fields.
    """

    number: int
    at: str
    action: str
    model: str
    version: int
    digest: str
    replaced: int
    by: str
    approved_by: str
    reason: str
    step: str
    previous: str = START
    hash: str = ""


def append(path: Path, entry: Entry) -> Entry:
    """Add a line and force it to the disk; the caller holds the lock.

    Args:
        path: the ledger.
        entry: the step; its number, previous and hash are filled in here.

    Raises:
        RegistryError: the ledger is damaged; nothing is added.
    """
    entries = read(path)
    last = entries[-1] if entries else None
    fields = asdict(entry) | {"number": len(entries) + 1, "previous": last.hash if last else START}
    sealed = Entry(**(fields | {"hash": seal(fields)}))
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("ab") as handle:
        handle.write((json.dumps(asdict(sealed), ensure_ascii=False) + "\n").encode())
        handle.flush()
        os.fsync(handle.fileno())
    if new:
        sync_folder(path.parent)
    return sealed


def read(path: Path) -> list[Entry]:
    """All entries in order, the chain checked; none where there is no ledger yet.

    Raises:
        RegistryError: a line is damaged, changed, missing or out of place; the message names it.
    """
    if not path.exists():
        return []
    entries: list[Entry] = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        entries.append(read_line(line, number=number, previous=entries[-1].hash if entries else START, path=path))
    if not path.read_bytes().endswith(b"\n") and path.stat().st_size:
        raise broken(path, len(entries) + 1, "is cut off")
    return entries


def steps(path: Path, *, action: str, model: str) -> set[str]:
    """The steps of one action on one model, out of the lines that can be read; whether the chain holds, `read` tells.

    Args:
        path: the ledger; it may be missing.
        action: as of `Entry`.
        model: likewise.
    """
    found = set()
    for line in path.read_bytes().splitlines() if path.exists() else ():
        with suppress(ValueError, KeyError, TypeError):
            fields = json.loads(line)
            if (fields["action"], fields["model"]) == (action, model):
                found.add(str(fields["step"]))
    return found


def read_line(line: bytes, *, number: int, previous: str, path: Path) -> Entry:
    """One entry, checked against its own hash and the line before."""
    try:
        fields = json.loads(line)
        entry = Entry(**fields)
        datetime.fromisoformat(entry.at)
    except (ValueError, TypeError) as error:
        raise broken(path, number, "is no ledger entry") from error
    if entry.hash != seal(fields):
        raise broken(path, number, "was changed (its hash differs)")
    if entry.number != number or entry.previous != previous:
        raise broken(path, number, "does not follow the line before")
    return entry


def seal(fields: dict[str, object]) -> str:
    """The sha256 of an entry's fields other than `hash`, as sorted compact JSON."""
    body = {name: value for name, value in fields.items() if name != "hash"}
    text = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def broken(path: Path, number: int, found: str) -> RegistryError:
    """The error for a line that can't be trusted."""
    return RegistryError(
        f"line {number} of {path} {found}",
        expected="an unbroken chain of entries",
        action="restore the file from a backup; never edit it",
    )


def drop_torn_line(path: Path) -> bool:
    """Remove a last line that a killed writer left unfinished; True where there was one."""
    content = path.read_bytes() if path.exists() else b""
    whole = content.rfind(b"\n") + 1
    if whole == len(content):
        return False
    with path.open("r+b") as handle:
        handle.truncate(whole)
        os.fsync(handle.fileno())
    return True
