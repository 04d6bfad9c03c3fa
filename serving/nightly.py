"""The main job: from a shop's raw tables to everyone's recommendations, as a list of stages in child processes."""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path
from time import perf_counter
from typing import Any

from feature_store.config import ShopConfig, load_config
from feature_store.event_log.opening import has_log
from feature_store.forgetting.opening import open_people
from feature_store.owner import claim_state
from feature_store.point_in_time.own import definitions_of
from feature_store.snapshot import Snapshot
from feature_store.standing import index_stands
from recsys.bundle.manifest import KINDS
from recsys.errors import NothingToLearnError, RecsysError, UsageError
from recsys.promotion import Promotions
from recsys.registry.client import Registry
from recsys.settings import Settings
from recsys.storage import locked, write_text
from serving.gate import Gate
from serving.job import NightlyJob
from serving.learning import Trainable, due, lacking, supported, unsupported, updates
from serving.stages import Stages, shop_digest


@dataclass(frozen=True, slots=True)
class Nightly:
    """One run of the job.

    Attributes:
        job: what to do.
        settings: where state lives.
        config: the shop's shop.toml.
        stages: runs the children.
        promotions: the registry's steps.
    """

    job: NightlyJob
    settings: Settings
    config: ShopConfig
    stages: Stages
    promotions: Promotions

    def run(self) -> dict[str, Any]:
        """All stages; the report of the night."""
        begun = perf_counter()
        compacted = self.compact()
        parity = self.parity()
        content = self.content()
        inputs = {"shop": content}
        checked = self.stages.run("validate", "validate", str(self.job.shop), *self.until, inputs=inputs)
        tiers = self.stages.run("doctor", "doctor", str(self.job.shop), *self.until, inputs=inputs)["tiers"]
        snapshot = self.snapshot(content)
        skipped = {stage: reason for stage, reason in unsupported(tiers).items() if self.job.wants(stage)}
        allowed = [one for one in supported(tiers) if self.job.wants(one.stage)]
        updated: list[str] = []
        trained = [one for one in allowed if self.train(one, snapshot, skipped=skipped, updated=updated)]
        gate = Gate(stages=self.stages, promotions=self.promotions, bootstrap=self.config.promotion.bootstrap)
        models = {
            kind: gate.pass_through(kind, snapshot, trained=any(one.kind == kind for one in trained)) for kind in KINDS
        }
        index = self.index(content)
        report = {
            "shop": self.config.name,
            "events": compacted,
            "parity": parity,
            "snapshot": snapshot.manifest.snapshot_id,
            "counts": snapshot.manifest.counts,
            "quarantine": checked["quarantine"],
            "warnings": checked.get("quality", {}).get("warnings", []),
            "trained": [one.stage for one in trained],
            "updated": updated,
            "skipped": skipped,
            "blend": blend_tables(self.stages),
            "models": models,
            "index": index,
            "batch": self.batch(snapshot, index),
            "online": self.publish(),
        }
        seconds = round(perf_counter() - begun, 3)
        return report | {"seconds": seconds, "stages": self.stages.timings()}

    @property
    def until(self) -> list[str]:
        """The arguments that keep out what was not known at the end of the night asked for."""
        if self.job.night is None or self.config.timestamps == "order":
            return []
        return ["--as-of", datetime.combine(self.job.night, time.max, tzinfo=UTC).isoformat()]

    def content(self) -> str:
        """What names the shop's tables as they are read: their digest, and who of their users was forgotten."""
        tables, changes = (
            shop_digest(self.job.shop),
            open_people(self.settings, shop=self.config.name).forgotten().changes,
        )
        return f"{tables} without {changes} forgotten" if changes else tables

    def compact(self) -> dict[str, Any] | None:
        """Write out what the shop's event log took since the last night; None where it has no log."""
        if not has_log(self.settings, shop=self.config.name):
            return None
        return self.stages.run("compact", "events", "compact", str(self.job.shop), inputs={}, made=lambda last: False)

    def parity(self) -> dict[str, Any] | None:
        """Compare what the shop's services answered with what was known then; None where they logged nothing.

        A log that can't be compared is told of, and keeps no night from its end: what was measured before goes on to
        count.
        """
        if self.until or not self.settings.served(self.config.name).exists():
            return None
        command = ("table", "parity", str(self.job.shop), "--no-fail")
        try:
            return self.stages.run("parity", *command, inputs={}, made=lambda last: False)
        except RecsysError as error:
            self.stages.announce(f"parity: not measured, {error}")
            return {"failure": str(error)}

    def snapshot(self, content: str) -> Snapshot:
        """The training data of this night."""
        report = self.stages.run(
            "features",
            "features",
            str(self.job.shop),
            *self.until,
            inputs={"shop": content},
            made=lambda last: Path(last["snapshot"]).is_dir(),
        )
        return Snapshot.open(Path(report["snapshot"]), settings=self.settings)

    def train(self, one: Trainable, snapshot: Snapshot, *, skipped: dict[str, str], updated: list[str]) -> bool:
        """Train a stage if it is due; True where it was.

        Where a stage finds too little to learn from, the night goes on without it. One that can go on from its newest
        model does so between two trainings from the beginning; where that model does not fit, it learns anew.

        Args:
            one: the stage.
            snapshot: the night's.
            skipped: takes the reason where the stage is due and can't be trained.
            updated: takes the stage where it went on from a model.
        """
        wanted = self.job.train == "always" or (
            self.job.train == "due"
            and due(one, self.promotions, manifest=snapshot.manifest, settings=self.settings, days=self.job.days)
        )
        if not wanted:
            return False
        if reason := lacking(one, self.promotions, shop=snapshot.manifest.shop):
            return self.skip(one, reason, skipped=skipped)
        try:
            if updates(one, self.promotions, manifest=snapshot.manifest, days=self.job.anew_days) and self.update(
                one, snapshot
            ):
                updated.append(one.stage)
            else:
                self.learn(one, snapshot)
        except NothingToLearnError as error:
            found = error.found.removeprefix(f"stage train-{one.stage}: ")
            return self.skip(one, f"{found}; it takes {error.expected}", skipped=skipped)
        return True

    def update(self, one: Trainable, snapshot: Snapshot) -> bool:
        """Go on from the stage's newest model; False where it is refused, as after a change of settings."""
        try:
            self.learn(one, snapshot, "--init", "base")
        except UsageError as error:
            self.stages.announce(f"train-{one.stage}: learns anew, {error.found}")
            return False
        return True

    def learn(self, one: Trainable, snapshot: Snapshot, *more: str) -> None:
        """Run `recsys train` for a stage with its own settings."""
        settings = [part for option in self.job.options.get(one.stage, ()) for part in ("--set", option)]
        refit = ["--no-refit"] if one.stage in self.job.once else []
        self.stages.run(
            f"train-{one.stage}",
            "train",
            one.stage,
            str(snapshot.path),
            *settings,
            *refit,
            *more,
            inputs={"snapshot": snapshot.manifest.snapshot_id},
            made=lambda last: False,
        )

    def skip(self, one: Trainable, reason: str, *, skipped: dict[str, str]) -> bool:
        """Say why a stage is not trained, and go on; False."""
        self.stages.announce(f"train-{one.stage}: skipped, {reason}")
        skipped[one.stage] = reason
        return False

    def index(self, content: str) -> dict[str, Any]:
        """Join the champions with the night's catalogue; the live index stays where it knows of a later time."""
        champions = {
            kind: found.digest
            for kind in KINDS
            if (found := self.promotions.registry.find(kind, shop=self.config.name)) is not None
        }
        return self.stages.run(
            "index",
            "index",
            str(self.job.shop),
            *self.until,
            inputs={"shop": content} | champions,
            made=lambda last: index_stands(last, settings=self.settings),
        )

    def publish(self) -> dict[str, Any] | None:
        """Publish the features as of now; None where the shop wants none, or for a night of the past."""
        if not self.config.online.features or self.until:
            return None
        return self.stages.run("publish", "table", "publish", str(self.job.shop), inputs={}, made=lambda last: False)

    def batch(self, snapshot: Snapshot, index: dict[str, Any]) -> dict[str, Any] | None:
        """Write and check everyone's recommendations; None where the shop knows no user."""
        if not snapshot.manifest.counts.get("users"):
            self.stages.announce("batch: the shop knows no user, nothing to write")
            return None
        watermark = snapshot.manifest.watermark
        night = self.job.night or (watermark.date() if watermark else None)
        if night is None:
            raise no_calendar(self.job.shop)
        folder = self.job.out / night.isoformat()
        done = self.stages.run(
            "batch",
            *("batch", "run", "-o", str(self.job.out), "--date", night.isoformat(), "--k", str(self.job.k)),
            *("--index", str(index["index"]), "--histories", str(index["histories"])),
            *("--shop", self.settings.index(self.config.name).name),
            inputs={"index": str(index["digest"])},
            made=lambda last: False,
        )
        self.stages.run("verify", "batch", "verify", str(folder), inputs={}, made=lambda last: False)
        return done


def blend_tables(stages: Stages) -> list[dict[str, Any]]:
    """What this night's blend of all recommenders gains on held-out users, by table; nothing where none was learned."""
    learned = [one.report for one in stages.records if one.name == "train-recommend-blender" and not one.exit_code]
    return [table for report in learned for table in (report.get("stages") or {}).get("tables", ())]


def run_nightly(job: NightlyJob, *, settings: Settings, announce: Callable[[str], None]) -> dict[str, Any]:
    """Run the job and keep its report; two runs for one shop never overlap.

    Args:
        job: what to do.
        settings: where state lives.
        announce: is told one line before and after each stage.

    Raises:
        RecsysError: a stage failed; finished stages are kept for the next run.
        ShopError: the shop has no name, and another one without has its state here.
        UsageError: its features.toml can't be read.
        StorageError: another night of the same shop is under way.
    """
    config = load_config(job.shop)
    definitions_of(job.shop)  # what is wrong with them is said now, not after hours of training
    if job.night is None and config.timestamps == "order":
        raise no_calendar(job.shop)
    claim_state(job.shop, name=config.name, settings=settings)
    name = settings.index(config.name).name
    folder = settings.home / "nights" / name
    with locked(settings.locks / f"nightly-{name}.lock", seconds=0):
        stages = Stages(folder=folder / "stages", settings=settings, announce=announce)
        promotions = Promotions(registry=Registry(settings), settings=settings)
        with closing(stages.runner):
            report = Nightly(job=job, settings=settings, config=config, stages=stages, promotions=promotions).run()
        night = (report["batch"] or {}).get("night") or "no-night"
        write_text(folder / f"{night}.json", json.dumps(report, indent=1, default=str))
    return report


def no_calendar(shop: Path) -> UsageError:
    """The refusal to guess a night's date."""
    return UsageError(
        f"{shop} has no calendar", expected="the date of the night", action="give it with --date YYYY-MM-DD"
    )
