"""One step of a release, taken whole: written down, taken in the registry, entered in the ledger.

A step is written down first, then taken in the registry, then entered in the ledger; a process killed in between leaves
the note, and the next step finishes it. Steps of one home folder are taken one at a time.
"""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from recsys import ledger
from recsys.ledger import FORGET, Entry
from recsys.registry.client import Registry
from recsys.registry.version import CHALLENGER, CHAMPION, Version
from recsys.settings import Settings
from recsys.storage import locked, write_text

APPROVED, REJECTED, RETIRED, ROLLED_BACK = "approved", "rejected", "retired", "rolled back"
WAIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Steps:
    """Takes them.

    Attributes:
        registry: where versions and aliases stand.
        settings: where ledger, lock and note stand.
    """

    registry: Registry
    settings: Settings

    @property
    def note(self) -> Path:
        """The file of the step that is under way."""
        return self.settings.home / "promotion-under-way.json"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One step at a time; one that was cut off before is finished first."""
        with locked(self.settings.locks / "promotion.lock", seconds=WAIT_SECONDS):
            if self.note.exists():
                ledger.drop_torn_line(self.settings.ledger)
            # A damaged ledger must be found before the registry is touched.
            ledger.read(self.settings.ledger)
            if self.note.exists():
                self.finish(Entry(**json.loads(self.note.read_text(encoding="utf-8"))))
            yield

    def take(self, entry: Entry) -> Entry:
        """Take a step; the ledger's entry of it."""
        write_text(self.note, json.dumps(asdict(entry)))
        return self.finish(entry)

    def finish(self, entry: Entry) -> Entry:
        """Bring registry and ledger to where the note says; doing it twice changes nothing."""
        self.apply(entry)
        entered = next((line for line in ledger.read(self.settings.ledger) if line.step == entry.step), None)
        if entered is None:
            entered = ledger.append(self.settings.ledger, entry)
        self.note.unlink()
        return entered

    def apply(self, entry: Entry) -> None:
        """The registry's part of a step."""
        if entry.action == FORGET:
            return  # the registry has no part in it
        version = self.registry.version(entry.model, entry.version)
        if CHALLENGER in version.aliases:
            self.registry.drop_alias(entry.model, CHALLENGER)
        record = {"approved_by": entry.approved_by, "approved_at": entry.at, "reason": entry.reason}
        if entry.action == "reject":
            self.registry.tag(version, {"status": REJECTED, "rejected_by": entry.by, "reason": entry.reason})
            return
        if entry.action != "rollback":
            record["replaced"] = str(entry.replaced)
        self.registry.tag(version, {"status": APPROVED, **record})
        self.registry.set_alias(version, CHAMPION)
        if entry.replaced:
            left = self.registry.version(entry.model, entry.replaced)
            self.registry.tag(left, {"status": ROLLED_BACK if entry.action == "rollback" else RETIRED})


def step_entry(version: Version, *, action: str, replaced: int, by: str, approved_by: str, reason: str) -> Entry:
    """A step about a version as a ledger entry; the ledger numbers and seals it."""
    return Entry(
        number=0,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        action=action,
        model=version.name,
        version=version.version,
        digest=version.digest,
        replaced=replaced,
        by=by,
        approved_by=approved_by,
        reason=reason,
        step=uuid.uuid4().hex,
    )
