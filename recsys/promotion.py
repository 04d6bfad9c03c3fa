"""Which version is live, and how that is changed: promote, reject, roll back, each one step with one ledger line.

These are the rules; how a step is taken whole stands in `recsys.steps`.
"""

from dataclasses import dataclass

from recsys import ledger
from recsys.audit import audit
from recsys.errors import RegistryError
from recsys.ledger import FORGET, LIVE, Entry
from recsys.parity import read_parity, refuse_low
from recsys.registry.client import Registry
from recsys.registry.version import CHALLENGER, CHAMPION, Version, model_name
from recsys.settings import Settings
from recsys.steps import REJECTED, Steps, step_entry

BOOTSTRAP = "bootstrap"
BASELINES = {"product-search": "bm25", "recommender": "popularity"}
GAIN = "gain_over_{baseline}_low"


@dataclass(frozen=True, slots=True)
class Promotions:
    """Takes the steps.

    Attributes:
        registry: where versions and aliases stand.
        settings: where ledger, lock and note stand.
    """

    registry: Registry
    settings: Settings

    @property
    def _steps(self) -> Steps:
        return Steps(registry=self.registry, settings=self.settings)

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
        with self._steps.alone():
            current = self.registry.version(version.name, version.version)
            if CHAMPION in current.aliases:
                raise RegistryError(
                    f"{current.uri} is the champion",
                    expected="a version that is not live",
                    action=f"run `recsys rollback {current.name}` first",
                )
            return self._steps.take(
                step_entry(current, action="reject", replaced=0, by=by, approved_by=by, reason=reason)
            )

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
        with self._steps.alone():
            current = self.registry.resolve(f"models:/{name}@{CHAMPION}")
            target = self._before(current)
            self.registry.fetch(target)
            return self._steps.take(
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
        with self._steps.alone():
            entered = next((line for line in self.history() if line.step == step), None)
            return entered or self._steps.take(
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
        with self._steps.alone():
            entries = ledger.read(self.settings.ledger)
            audit(entries, registry=self.registry, shop=shop)
            return entries

    def _make_champion(self, version: Version, *, action: str, by: str, reason: str, approved_by: str) -> Entry:
        self.registry.fetch(version)
        with self._steps.alone():
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
            return self._steps.take(
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
