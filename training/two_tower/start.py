"""The model that an update goes on from: whether it fits, its settings, and its network over today's products."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import ComponentInfo
from recsys.bundle.read import Bundle
from recsys.bundle.recommenders import MACHINE
from recsys.catalogue import Catalogue
from recsys.errors import UsageError
from recsys.models.two_tower import TwoTower
from recsys.models.two_tower_config import TwoTowerConfig
from recsys.retrieval.vocabulary import catalogue_rows, id_buckets
from recsys.types import Positions
from training.two_tower.config import TwoTowerSettings
from training.two_tower.update import Update, grown

UNTIL, ANEW = "learned_until", "learned_anew"
"""Entries of a component's configuration: its last learned event, and "now" of the shop when it last learned anew."""

READS = ("text", "features", "user_attributes", "clock", "calendar")
OLDER = {"segments": "user_attributes"}
"""Settings that had another name when the segment was all that was read of a user; a model reads what it read."""
EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
ANEW_ACTION = "learn anew: --init stock"


@dataclass(frozen=True, slots=True)
class Start:
    """A trained component.

    Attributes:
        folder: its files.
        info: what its bundle says about it.
    """

    folder: Path
    info: ComponentInfo

    @classmethod
    def open(cls, folder: Path, *, snapshot: Snapshot) -> "Start":
        """The component in a folder of a bundle.

        Raises:
            UsageError: it is another shop's.
            BundleError: the bundle around it is damaged.
        """
        bundle = Bundle.open(folder.parent, verify=False)
        if bundle.shop != snapshot.manifest.shop:
            raise UsageError(
                f"a two-tower of the shop {bundle.shop!r} for a snapshot of {snapshot.manifest.shop!r}",
                expected="a model of the same shop: it knows products by their ids",
                action=f"name another --init, or {ANEW_ACTION}",
            )
        return cls(folder, bundle.manifest.components[folder.name])

    @property
    def until(self) -> datetime:
        """The last event that it has learned."""
        return datetime.fromisoformat(str(self.info.config[UNTIL]))

    def check(self, snapshot: Snapshot) -> None:
        """Refuse a snapshot or a model where it can't be told what is new.

        Raises:
            UsageError: the snapshot is not split by time, or the model does not say what it has learned.
        """
        kind = snapshot.manifest.split.kind
        if snapshot.manifest.timestamps == "order" or kind != "time":
            found = "whose timestamps are an order" if snapshot.manifest.timestamps == "order" else f"split by {kind}"
            raise UsageError(
                f"an update on a snapshot {found}",
                expected="a snapshot split by time, which tells what is new",
                action=ANEW_ACTION,
            )
        if not self.info.config.get(UNTIL):
            raise UsageError(
                "a two-tower that does not say until when it has learned",
                expected="one that this release has trained on a shop with a calendar",
                action=ANEW_ACTION,
            )

    def check_encoder(self, base: Bundle | None) -> None:
        """Refuse a base with another text encoder than the one whose vectors the network has learned to read.

        Raises:
            UsageError: they differ, or the base has none.
        """
        own = Bundle.open(self.folder.parent, verify=False).manifest.components.get("text_encoder")
        other = None if base is None else base.manifest.components.get("text_encoder")
        if own is None or other is None or own.digest != other.digest:
            raise UsageError(
                f"a base with {'no' if other is None else 'another'} text encoder than the model to go on from has",
                expected="the text encoder that it was trained with",
                action=f"name that model as --base, or {ANEW_ACTION}",
            )

    def settings(self, given: TwoTowerSettings) -> TwoTowerSettings:
        """The model's own settings, with those that were set and do not contradict its shape.

        Raises:
            UsageError: one contradicts it.
        """
        told = {OLDER.get(name, name): value for name, value in self.info.config.items()}
        stored = {name: value for name, value in told.items() if name in type(given).model_fields}
        wanted = {name: getattr(given, name) for name in given.model_fields_set}
        if wanted.get("profile") == "auto":
            del wanted["profile"]
        for name in ("profile", *READS, *TwoTowerConfig.__dataclass_fields__):
            if name in wanted and wanted[name] != stored.get(name, wanted[name]):
                raise UsageError(
                    f"{name} = {wanted[name]} for a model that was trained with {name} = {stored[name]}",
                    expected="the shape of the model that training goes on from",
                    action=f"leave {name} out, or {ANEW_ACTION}",
                )
        here = {name: getattr(given, name) for name in MACHINE}
        return TwoTowerSettings.model_validate(stored | wanted | here)

    def has_seen(self, snapshot: Snapshot) -> bool:
        """True where it has learned some of the validation part, so that nothing may be chosen by it."""
        after = snapshot.manifest.split.validation_after
        return after is not None and self.until > after

    def update(self, *, catalogue: Catalogue, known: Positions) -> Update:
        """Its network over the products at some positions of a catalogue, as it is."""
        network, buckets = TwoTower.load(self.folder), None
        if network.config.hashed:
            ids = catalogue.product_ids.gather(known)
            buckets = id_buckets(ids, buckets=network.config.hashed, hashes=network.config.hashes)
        rows = catalogue_rows(self.folder, catalogue=catalogue)[known]
        return Update(grown(network, rows=rows, buckets=buckets), since=(self.until - EPOCH) // MICROSECOND)
