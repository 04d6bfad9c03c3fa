"""What `recsys train` is asked for, and the bundles, weights and data that it means."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from feature_store.snapshot import Snapshot
from recsys.bundle.read import Bundle, is_bundle
from recsys.digest import file_sha256, folder_digest
from recsys.errors import UsageError
from recsys.provenance import git_commit, library_versions
from recsys.registry.client import Registry
from recsys.registry.version import CHALLENGER, CHAMPION, model_name
from recsys.settings import Settings
from recsys.storage import refuse_other_files
from training.config import read_config
from training.stage import JoinsShops, LooksUp, Stage, find_stage

FILES = ("backbone", "encoder", "synonyms_file")  # settings that may name files, which may change between two runs


@dataclass(frozen=True, slots=True)
class Request:
    """What to train; see `recsys train --help`."""

    stage: str
    snapshot: Path
    config: Path | None = None
    settings: tuple[str, ...] = ()
    base: str | None = None
    start: str | None = None
    refit: bool = True
    fresh: bool = False
    out: Path | None = None
    also: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """A request with everything looked up.

    Attributes:
        stage: what is trained.
        snapshot: on what.
        config: with which settings.
        base: the bundle whose other components are carried over, with its name; None where there is none.
        start: component folder whose weights training starts from; None for the stage's own default.
        request: as it was asked.
        others: snapshots of other shops that the stage learns from as well.
    """

    stage: Stage
    snapshot: Snapshot
    config: BaseModel
    base: tuple[Bundle, str] | None
    start: Path | None
    request: Request
    others: tuple[Snapshot, ...] = ()

    @property
    def name(self) -> str:
        """The registered model's name."""
        return model_name(self.stage.kind, shop=self.snapshot.manifest.shop)

    @property
    def key(self) -> str:
        """Names the working folder: the same request on the same data goes on where it was killed."""
        told = {
            "snapshot": self.snapshot.manifest.snapshot_id,
            "config": self.config.model_dump(mode="json"),
            "base": self.base[0].digest if self.base else "",
            "start": folder_digest(self.start) if self.start else "",
            "files": content_of(self.config),
            "refit": self.request.refit,
            **({"also": [other.manifest.snapshot_id for other in self.others]} if self.others else {}),
            **(self.stage.told() if isinstance(self.stage, LooksUp) else {}),
        }
        return working_name(self.stage.name, told)


def working_name(stage: str, told: Mapping[str, Any]) -> str:
    """`STAGE-DIGEST`: a training of the same name goes on with what one that was killed has left.

    Another release of the software starts anew: its networks may have other weights to restore.

    Args:
        stage: what is trained.
        told: what the outcome depends on, as JSON holds it.
    """
    whole = json.dumps({**told, "software": [git_commit(), library_versions()]}, sort_keys=True)
    return f"{stage}-{hashlib.sha256(whole.encode()).hexdigest()[:16]}"


def content_of(config: BaseModel) -> dict[str, str]:
    """By setting that names a file or folder which is at hand, the digest of what is in it now."""
    named = {name: Path(value).expanduser() for name in FILES if (value := getattr(config, name, ""))}
    there = {name: path for name, path in named.items() if os.path.exists(path)}  # no name is too long for it
    return {name: folder_digest(path) if path.is_dir() else file_sha256(path) for name, path in there.items()}


def look_up(request: Request, *, settings: Settings) -> Plan:
    """Resolve everything that a request names, and check that the snapshot is as it was written.

    Raises:
        UsageError: unknown stage or setting, a base of another kind, other snapshots that can't be learned from, or a
            folder for the bundle that holds something else.
        SnapshotError: no such snapshot, or one of its files is missing or altered.
        RegistryError: the base belongs to another shop or does not exist.
    """
    if request.out is not None:
        refuse_other_files(request.out, what="bundle", older=is_bundle)
    stage = find_stage(request.stage)
    config = read_config(stage.config_type, file=request.config, settings=request.settings)
    snapshot = Snapshot.open(request.snapshot, settings=settings)
    snapshot.verify()
    others = open_others(request, main=snapshot, settings=settings)
    if others:
        stage = joining(stage, others)
    registry = Registry(settings)
    base = find_base(request.base, kind=stage.kind, shop=snapshot.manifest.shop, registry=registry)
    start = find_start(request, base=base, stage=stage, registry=registry)
    if isinstance(stage, LooksUp):
        stage = stage.looking_up(config, start=start, registry=registry, settings=settings)
    return Plan(stage, snapshot, config, base, start, request, others)


def open_others(request: Request, *, main: Snapshot, settings: Settings) -> tuple[Snapshot, ...]:
    """The snapshots of `--also`, each checked and none twice."""
    return tuple(open_each(request.also, beside=(main,), settings=settings))


def open_each(paths: Sequence[Path], *, beside: Sequence[Snapshot] = (), settings: Settings) -> list[Snapshot]:
    """Several snapshots, each checked.

    Raises:
        UsageError: one stands twice, or among those beside.
        SnapshotError: no such snapshot, or one of its files is missing or altered.
    """
    found: list[Snapshot] = []
    for path in paths:
        other = Snapshot.open(path, settings=settings)
        other.verify()
        if other.manifest.snapshot_id in {one.manifest.snapshot_id for one in (*beside, *found)}:
            raise UsageError(f"snapshot {path} stands twice", expected="each snapshot once", action="leave it out")
        found.append(other)
    return found


def joining(stage: Stage, others: tuple[Snapshot, ...]) -> Stage:
    """The stage that learns from other shops as well."""
    if not isinstance(stage, JoinsShops):
        raise UsageError(f"--also for {stage.name}", expected="--also for relevance", action="leave it out")
    return stage.beside(others)


def find_base(address: str | None, *, kind: str, shop: str, registry: Registry) -> tuple[Bundle, str] | None:
    """The bundle whose other components are carried over: the one named, else challenger, else champion, else none."""
    if address == "none":
        return None
    if address is not None:
        bundle, name = registry.open(address, shop=shop)
        return check_kind(bundle, kind=kind, address=address), name
    for alias in (CHALLENGER, CHAMPION):
        version = registry.find(kind, shop=shop, alias=alias)
        if version is not None:
            return registry.fetch(version), version.label
    return None


def latest_base(plan: Plan, *, registry: Registry) -> tuple[Bundle, str] | None:
    """The base as it stands when a training ends: the one named at its start, else the challenger or champion by now.

    Another training may have moved the challenger on meanwhile; its component must not be lost.
    """
    if plan.request.base is not None:
        return plan.base
    return find_base(None, kind=plan.stage.kind, shop=plan.snapshot.manifest.shop, registry=registry)


def find_start(request: Request, *, base: tuple[Bundle, str] | None, stage: Stage, registry: Registry) -> Path | None:
    """The component folder whose weights training starts from.

    A base that is found, not named, is never started from: it may have learned what this snapshot keeps for the test.
    """
    wanted = request.start or ("base" if request.base not in (None, "none") else "stock")
    if wanted == "stock":
        return None
    if wanted == "base":
        return base[0].component(stage.component) if base else None
    bundle = check_kind(registry.open(wanted)[0], kind=stage.kind, address=wanted)
    folder = bundle.component(stage.component)
    if folder is None:
        raise UsageError(f"{wanted} has no {stage.component}", expected="a model with it", action="name another --init")
    return folder


def check_kind(bundle: Bundle, *, kind: str, address: str) -> Bundle:
    """The bundle, refused where it is of another kind."""
    if bundle.kind != kind:
        raise UsageError(f"{address} is a {bundle.kind} model", expected=f"a {kind} model", action="name another one")
    return bundle
