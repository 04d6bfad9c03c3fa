"""The gate of a night: what is new is measured, and where no model is live the bootstrap rule may make one so."""

from dataclasses import dataclass
from typing import Any

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import RECOMMENDER
from recsys.errors import LowParityError
from recsys.promotion import BOOTSTRAP, Promotions
from recsys.registry.version import Version
from serving.learning import TASKS, gain, gain_name, is_baseline, newest_baseline, standing
from serving.stages import Stages


@dataclass(frozen=True, slots=True)
class Gate:
    """The way of a challenger.

    Attributes:
        stages: runs the measurements.
        promotions: the registry's steps.
        bootstrap: `promotion.bootstrap` of shop.toml; without it the first champion is left to a person.
    """

    stages: Stages
    promotions: Promotions
    bootstrap: bool

    def pass_through(self, kind: str, snapshot: Snapshot, *, trained: bool) -> dict[str, Any]:
        """Measure what is new and say who is live; where nobody is, see `first`.

        Args:
            kind: of the model.
            snapshot: the night's; new versions are measured on its test part.
            trained: whether this night has made a version of that kind.
        """
        champion, challenger = standing(self.promotions, kind=kind, shop=snapshot.manifest.shop)
        fresh = challenger is not None and (champion is None or trained)
        told: dict[str, Any] = {"champion": champion and champion.uri, "challenger": challenger and challenger.uri}
        if challenger is None or not fresh:
            return told | {"step": "none"}
        if champion is None:
            try:
                return told | self.first(challenger, snapshot)
            except LowParityError as error:
                return told | {"step": f"not promoted, {error}"}
        told["measured"] = {"challenger": self.evaluate(challenger, snapshot, against=champion)}
        return told | {"step": f"the champion stays; see `recsys review {challenger.uri}`"}

    def first(self, challenger: Version, snapshot: Snapshot) -> dict[str, Any]:
        """Who goes live where nobody is: a challenger that beats its baseline, else the baseline where it is a version.

        Raises:
            RegistryError: the shop leaves its first champion to a person.
        """
        kind, allowed = challenger.kind, self.bootstrap
        if allowed and is_baseline(challenger):
            return self.start(challenger) | {"challenger": None}
        measured = self.evaluate(challenger, snapshot)
        low = gain(measured, kind=kind)
        told = {"measured": {"challenger": measured}, "gain_low": low}
        if low is not None:
            self.promotions.registry.measure(challenger, {gain_name(kind): low})
        if not allowed or (low is not None and low > 0):
            self.promotions.bootstrap(kind, shop=challenger.shop, allowed=allowed)
            return told | {"champion": challenger.uri, "challenger": None, "step": "bootstrap"}
        if (baseline := newest_baseline(self.promotions, challenger)) is not None:
            return told | self.start(baseline)
        stock = (
            "no recommender answers but by the products' texts" if kind == RECOMMENDER else "the stock models answer"
        )
        return told | {"step": f"not promoted, {stock}; see `recsys review {challenger.uri}`"}

    def start(self, baseline: Version) -> dict[str, Any]:
        """Let the baseline itself go live; it is recorded as what it is."""
        self.promotions.registry.measure(baseline, {gain_name(baseline.kind): 0.0})
        reason = "it is the baseline itself: gain 0"
        self.promotions.promote(baseline, by="recsys", reason=reason, approved_by=BOOTSTRAP)
        return {"champion": baseline.uri, "step": f"bootstrap, {reason}"}

    def evaluate(self, challenger: Version, snapshot: Snapshot, *, against: Version | None = None) -> dict[str, Any]:
        """Measure a version on the test part of the snapshot, in pairs with the champion where there is one."""
        beside = () if against is None else ("--against", against.uri)
        return self.stages.run(
            f"evaluate-{challenger.kind}-challenger",
            "evaluate",
            challenger.uri,
            str(snapshot.path),
            *("--split", "test", "--task", TASKS[challenger.kind], "--repeats", "excluded", *beside),
            inputs={
                "snapshot": snapshot.manifest.snapshot_id,
                "bundle": challenger.digest,
                "against": against.digest if against else "",
            },
        )
