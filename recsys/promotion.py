"""Which version is live, and how that is changed: promote, reject, roll back, each one step with one ledger line.

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
from recsys.audit import audit
from recsys.errors import RegistryError
from recsys.ledger import FORGET, LIVE, Entry
from recsys.parity import read_parity, refuse_low
from recsys.registry.client import Registry
from recsys.registry.version import CHALLENGER, CHAMPION, Version, model_name
from recsys.settings import Settings
from recsys.storage import locked, write_text

BOOTSTRAP = "bootstrap"
BASELINES = {"product-search": "bm25", "recommender": "popularity"}
GAIN = "gain_over_{baseline}_low"
APPROVED, REJECTED, RETIRED, ROLLED_BACK = "approved", "rejected", "retired", "rolled back"

WAIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Promotions:
    """Takes the steps.

    Attributes:
        registry: where versions and aliases stand.
        settings: where ledger, lock and note stand.
    """

    registry: Registry
    settings: Settings

    def promote(
        self, version: Version, *, by: str, reason: str = "", approved_by: str = "", no_parity: str = ""
    ) -> Entry:
        """Make a version the champion; its artefact is fetched and checked first.

        Args:
            version: the new champion.
            by: who takes the step.
            reason: why, in words.
            approved_by: who answers for it; `by` where left empty.
            no_parity: why the step is taken however the shop's features were served; the ledger keeps that.

        Raises:
            LowParityError: features of the shop were not served as training knew them.
            RegistryError: it was rejected, or is the champion already.
            BundleError: its artefact is damaged.
        """
        if no_parity:
            reason = f"{reason}; without parity: {no_parity}" if reason else f"without parity: {no_parity}"
        else:
            self._refuse_low_parity(version.shop)
        return self._make_champion(version, action="promote", by=by, reason=reason, approved_by=approved_by or by)

    def reject(self, version: Version, *, by: str, reason: str) -> Entry:
        """Refuse a version; the challenger alias leaves it, and it can't be promoted any more.

        Raises:
            RegistryError: no reason is given, or it is the champion.
        """
        if not reason.strip():
            raise RegistryError("a rejection without a reason", expected="one sentence", action="add --reason")
        with self._steps():
            current = self.registry.version(version.name, version.version)
            if CHAMPION in current.aliases:
                raise RegistryError(
                    f"{current.uri} is the champion",
                    expected="a version that is not live",
                    action=f"run `recsys rollback {current.name}` first",
                )
            return self._take(step_entry(current, action="reject", replaced=0, by=by, approved_by=by, reason=reason))

    def rollback(self, name: str, *, by: str, reason: str = "") -> Entry:
        """Make the champion before the current one the champion again.

        Works from any machine, for each promoted version carries the number of the one that it replaced.

        Args:
            name: the registered model.
            by: who takes the step.
            reason: why, in words.

        Raises:
            RegistryError: there is no champion, or none before it.
        """
        with self._steps():
            current = self.registry.resolve(f"models:/{name}@{CHAMPION}")
            target = self._before(current)
            self.registry.fetch(target)
            return self._take(
                step_entry(target, action="rollback", replaced=current.version, by=by, approved_by=by, reason=reason)
            )

    def bootstrap(self, kind: str, *, shop: str, allowed: bool) -> Entry | None:
        """Promote the first challenger of a model that has no champion at all, if it beats its baseline.

        Args:
            kind: "product-search" or "recommender".
            shop: the shop's name.
            allowed: `promotion.bootstrap` of shop.toml.

        Returns:
            The step; None where there is a champion already, which is never replaced this way.

        Raises:
            LowParityError: no champion, and features of the shop were not served as training knew them.
            RegistryError: no champion, and the rule may not or can't make one; the message holds the command to run.
        """
        if self.registry.find(kind, shop=shop) is not None:
            return None
        address = f"models:/{model_name(kind, shop=shop)}@{CHALLENGER}"
        challenger = self.registry.resolve(address, shop=shop)
        gain = GAIN.format(baseline=BASELINES[kind])
        if not allowed:
            reason = "promotion.bootstrap is false"
        elif gain not in challenger.metrics:
            reason = f"{challenger.uri} was not measured against {BASELINES[kind]}"
        elif challenger.metrics[gain] <= 0.0:
            reason = (
                f"{challenger.uri} does not beat {BASELINES[kind]} (interval starts at {challenger.metrics[gain]:.4f})"
            )
        else:
            self._refuse_low_parity(shop)
            note = f"95 % interval over {BASELINES[kind]} starts at {challenger.metrics[gain]:.4f}"
            return self._make_champion(challenger, action=BOOTSTRAP, by="recsys", reason=note, approved_by=BOOTSTRAP)
        raise RegistryError(
            f"no champion of model `{challenger.name}`, and {reason}",
            expected="a champion",
            action=f"run `recsys promote {challenger.uri}`",
        )

    def forget(self, shop: str, *, step: str, by: str, at: str) -> Entry:
        """Enter that a user was forgotten; who it was stands nowhere. The same step is entered once.

        Args:
            shop: the shop's name.
            step: its id.
            by: who asked for it.
            at: when, ISO 8601 with zone.

        Raises:
            RegistryError: the ledger is damaged.
        """
        with self._steps():
            entered = next((line for line in self.history() if line.step == step), None)
            return entered or self._take(
                Entry(
                    number=0,
                    at=at,
                    action=FORGET,
                    model=shop,
                    version=0,
                    digest="",
                    replaced=0,
                    by=by,
                    approved_by=by,
                    reason="",
                    step=step,
                )
            )

    def history(self, name: str | None = None) -> list[Entry]:
        """The ledger's entries, oldest first; of one model where named.

        Raises:
            RegistryError: the ledger is damaged.
        """
        return [entry for entry in ledger.read(self.settings.ledger) if name in (None, entry.model)]

    def verify(self, *, shop: str | None = None) -> list[Entry]:
        """Check the ledger's chain, and that it made every champion of the registry and every decision on a version.

        Args:
            shop: only this shop's models; all if None.

        Raises:
            RegistryError: the first thing that does not fit.
        """
        with self._steps():
            entries = ledger.read(self.settings.ledger)
            audit(entries, registry=self.registry, shop=shop)
            return entries

    def _make_champion(self, version: Version, *, action: str, by: str, reason: str, approved_by: str) -> Entry:
        self.registry.fetch(version)
        with self._steps():
            fresh = self.registry.version(version.name, version.version)
            champion = self.registry.find(fresh.kind, shop=fresh.shop)
            recorded = self._recorded(fresh.name)
            if fresh.tags.get("status") == REJECTED:
                raise RegistryError(
                    f"{fresh.uri} was rejected ({fresh.tags.get('reason', '')})",
                    expected="a version that was not",
                    action="train a new one",
                )
            if champion is not None and (action == BOOTSTRAP or champion.version == fresh.version == recorded):
                raise RegistryError(
                    f"{champion.uri} is the champion already", expected="another version", action="leave it as it is"
                )
            replaced = champion.version if champion and champion.version != fresh.version else recorded
            return self._take(
                step_entry(fresh, action=action, replaced=replaced, by=by, approved_by=approved_by, reason=reason)
            )

    def _refuse_low_parity(self, shop: str) -> None:
        refuse_low(read_parity(self.settings, shop=shop))

    def _recorded(self, name: str) -> int:
        """The champion that the ledger knows of, 0 where it knows none."""
        made = [entry.version for entry in self.history(name) if entry.action in LIVE]
        return made[-1] if made else 0

    def _before(self, version: Version) -> Version:
        """The newest earlier champion that was not rejected since."""
        seen = {version.version}
        earlier = version
        while (number := int(earlier.tags.get("replaced", "0"))) not in (0, *seen):
            seen.add(number)
            earlier = self.registry.version(version.name, number)
            if earlier.tags.get("status") != REJECTED:
                return earlier
        raise RegistryError(
            f"{version.uri} has no champion before it",
            expected="one to go back to",
            action=f"run `recsys promote models:/{version.name}/VERSION` with the version you want",
        )

    @property
    def _note(self) -> Path:
        return self.settings.home / "promotion-under-way.json"

    @contextmanager
    def _steps(self) -> Iterator[None]:
        """One step at a time; one that was cut off before is finished first."""
        with locked(self.settings.locks / "promotion.lock", seconds=WAIT_SECONDS):
            if self._note.exists():
                ledger.drop_torn_line(self.settings.ledger)
            # A damaged ledger must be found before the registry is touched.
            ledger.read(self.settings.ledger)
            if self._note.exists():
                self._finish(Entry(**json.loads(self._note.read_text(encoding="utf-8"))))
            yield

    def _take(self, entry: Entry) -> Entry:
        write_text(self._note, json.dumps(asdict(entry)))
        return self._finish(entry)

    def _finish(self, entry: Entry) -> Entry:
        """Bring registry and ledger to where the note says; doing it twice changes nothing."""
        self._apply(entry)
        entered = next((line for line in self.history() if line.step == entry.step), None)
        if entered is None:
            entered = ledger.append(self.settings.ledger, entry)
        self._note.unlink()
        return entered

    def _apply(self, entry: Entry) -> None:
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
