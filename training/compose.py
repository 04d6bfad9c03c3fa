"""One training, whole: a stage's component joined with the base's others, logged, registered as the challenger."""

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from feature_store.forgetting.models import tags_at_birth
from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import RECOMMENDER, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.bundle.write import write_bundle
from recsys.models.backbone import STOCK, resolve_backbone
from recsys.models.text_encoder import TextEncoder
from recsys.registry.client import Registry
from recsys.registry.version import CHALLENGER, Version
from recsys.settings import Settings
from recsys.storage import locked
from recsys.text.tokenizer import TextTokenizer
from recsys.tracking import Run, Tracker
from training.curves import Recorder, draw_curves
from training.metric_log import MetricLog, Silent
from training.plan import Plan, Request, latest_base, look_up
from training.policy import next_policy, recommend_order
from training.processes import main_process
from training.stage import REPORT

RUN_FILE = "run.txt"  # the MLflow run of a request that was killed goes on with it
Parts = dict[str, tuple[Path, ComponentInfo]]


def train(request: Request, *, settings: Settings) -> dict[str, Any] | None:
    """Train a stage and register the new version; None in all processes of a distributed run but the first.

    Raises:
        UsageError: unknown stage or setting, or a base of another kind.
        SnapshotError: no such snapshot, or nothing in it to learn from.
        RegistryError: the base belongs to another shop or does not exist.
        TrackingError: the MLflow server can't be reached.
    """
    begun = perf_counter()
    plan = look_up(request, settings=settings)
    work = settings.home / "training" / plan.key
    if not main_process():
        with TemporaryDirectory() as spare:
            run_training(plan, folder=Path(spare), work=work, run=Silent())
        return None
    with locked(settings.locks / f"train-{plan.key}"):
        if request.fresh:
            shutil.rmtree(work, ignore_errors=True)
        report = run_stage(plan, work=work, settings=settings)
        shutil.rmtree(work, ignore_errors=True)
    return report | {"seconds": round(perf_counter() - begun, 1)}


def run_stage(plan: Plan, *, work: Path, settings: Settings) -> dict[str, Any]:
    """Train inside an MLflow run, then bundle and register."""
    manifest = plan.snapshot.manifest
    folder = work / "component"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    base = plan.base[1] if plan.base else "none"
    tags = {"shop": manifest.shop, "stage": plan.stage.name, "snapshot": manifest.snapshot_id, "base": base}
    params = plan.config.model_dump(mode="json")
    before = (work / RUN_FILE).read_text() if (work / RUN_FILE).is_file() else None
    with Tracker(settings).run(plan.name, name=plan.stage.name, tags=tags, params=params, run_id=before) as run:
        (work / RUN_FILE).write_text(run.id)
        for snapshot in (plan.snapshot, *plan.others):
            log_dataset(run, snapshot)
        recorder = Recorder(run)
        info = run_training(plan, folder=folder, work=work, run=recorder)
        draw_curves(recorder)
        stages = stage_report(work, run=run)
        version, bundle = register_component(plan, info, folder=folder, work=work, run=run, settings=settings)
    known = plan.base[0].manifest.components.get(plan.stage.component) if plan.base else None
    return {
        "stage": plan.stage.name,
        "model": plan.name,
        "version": version.version,
        "uri": version.uri,
        "alias": CHALLENGER,
        "run_id": run.id,
        "digest": bundle.digest,
        "snapshot": manifest.snapshot_id,
        "shop": manifest.shop,
        "base": None if version.tags["base"] == "none" else version.tags["base"],
        "component": plan.stage.component,
        "components": sorted(bundle.manifest.components),
        "parts": info.parts,
        "metrics": info.metrics,
        "before": known.metrics if known else {},
        "stages": stages,
        "bundle": str(plan.request.out) if plan.request.out else None,
    }


def stage_report(work: Path, *, run: Run) -> dict[str, Any] | None:
    """What a training found out about each stage of the search, kept with the run; None where it says nothing."""
    file = work / REPORT
    if not file.is_file():
        return None
    run.artifact(file)
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def log_dataset(run: Run, snapshot: Snapshot) -> None:
    """Tell the run which data it learns from."""
    manifest = snapshot.manifest
    counts = {name: count for name, count in manifest.counts.items() if count}
    run.dataset(name=manifest.shop, digest=manifest.snapshot_id, source=str(snapshot.path), profile=counts)


def run_training(plan: Plan, *, folder: Path, work: Path, run: MetricLog) -> ComponentInfo:
    """The stage's own part: learn and write the component's files."""
    return plan.stage.train(
        plan.snapshot,
        config=plan.config,
        folder=folder,
        work=work,
        run=run,
        base=plan.base[0] if plan.base else None,
        start=plan.start,
        refit=plan.request.refit,
    )


def register_component(
    plan: Plan, info: ComponentInfo, *, folder: Path, work: Path, run: Run, settings: Settings
) -> tuple[Version, Bundle]:
    """Join the component with the base's others and register the bundle; trainings of one model take turns."""
    registry = Registry(settings)
    with locked(settings.locks / f"register-{plan.name}"):
        base = latest_base(plan, registry=registry)
        bundle = bundle_component(
            plan, info, base=base[0] if base else None, folder=folder, out=plan.request.out or work / "bundle"
        )
        metrics = {
            f"{name}.{key}": value
            for name, one in bundle.manifest.components.items()
            for key, value in one.metrics.items()
        }
        version = registry.register(
            bundle,
            run_id=run.id,
            metrics=metrics,
            description=f"Made by `recsys train {plan.stage.name}`.",
            tags={"snapshot": bundle.manifest.snapshot, "base": base[1] if base else "none"}
            | tags_at_birth(bundle, snapshot=plan.snapshot, settings=settings),
        )
        registry.set_alias(version, CHALLENGER)
    return version, bundle


def bundle_component(plan: Plan, info: ComponentInfo, *, base: Bundle | None, folder: Path, out: Path) -> Bundle:
    """The complete bundle: the new component, the encoder it was learned with, and the base's others."""
    components = components_of(base)
    components[plan.stage.component] = (folder, info)
    if plan.stage.component == "two_tower" and info.config.get("text"):
        learned_with = components_of(plan.base[0] if plan.base else None)
        components["text_encoder"] = learned_with.get("text_encoder") or stock_encoder(folder.parent / "text_encoder")
    policy = next_policy(base, component=plan.stage.component, info=info)
    recommender = plan.stage.kind == RECOMMENDER
    return write_bundle(
        out,
        kind=plan.stage.kind,
        shop=plan.snapshot.manifest.shop,
        components=components,
        policy=policy | recommend_order([one for _, one in components.values()]) if recommender else policy,
        snapshot=plan.snapshot.manifest.snapshot_id,
        config=plan.config.model_dump(mode="json"),
        catalogue=plan.snapshot.path / "catalogue.parquet" if recommender else None,
    )


def components_of(bundle: Bundle | None) -> Parts:
    """Folder and description of each component, by name; none without a bundle."""
    if bundle is None:
        return {}
    return {name: (bundle.path / name, one) for name, one in bundle.manifest.components.items()}


def stock_encoder(folder: Path) -> tuple[Path, ComponentInfo]:
    """A copy of the stock text encoder, so that a recommender depends on no other bundle."""
    source = resolve_backbone()
    TextEncoder.load(source).save(folder)
    TextTokenizer.load(source).save(folder)
    return folder, ComponentInfo(name="text_encoder", config={"backbone": STOCK})
