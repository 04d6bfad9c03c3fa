"""From a model's address and a snapshot to what the protocols find: resolve, index, measure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import PRODUCT_SEARCH, RECOMMENDER
from recsys.bundle.read import Bundle
from recsys.engine.build import build_index
from recsys.engine.engine import Engine
from recsys.engine.image_vectors import images_stamp
from recsys.engine.manifest import FORMAT_VERSION, is_whole
from recsys.engine.policy import ListRules
from recsys.errors import UsageError
from recsys.models.backbone import STOCK
from recsys.registry.client import Registry
from recsys.registry.version import Version
from recsys.settings import NAMELESS, Settings
from recsys.storage import locked
from training.evaluate.measured import Measured, beside
from training.evaluate.off_policy.measure import measure_off_policy
from training.evaluate.recommend import measure_recommend
from training.evaluate.search import measure_judged, measure_retrieval
from training.evaluate.served import shop_lists

OFF_POLICY = "off-policy"
KINDS: Mapping[str, str] = {
    "judged": PRODUCT_SEARCH,
    "retrieval": PRODUCT_SEARCH,
    "recommend": RECOMMENDER,
    OFF_POLICY: RECOMMENDER,
}
REPEATS: Mapping[str, tuple[bool, ...]] = {"allowed": (True,), "excluded": (False,), "both": (False, True)}


@dataclass(frozen=True, slots=True)
class Request:
    """What to measure; see `recsys evaluate --help`."""

    model: str
    snapshot: Path
    split: str
    task: str
    stages: tuple[str, ...] | None
    repeats: str
    cuts: tuple[int, ...]
    against: str | None = None
    baseline: str | None = None
    logged_by: str | None = None


def measure(request: Request, *, settings: Settings) -> list[Measured]:
    """The tables that were asked for; with `against`, that model's subject stands in each as a baseline.

    Raises:
        UsageError: an option makes no sense, or the model is of another kind than the task needs.
        RegistryError: no such version, or another shop's.
        IndexMismatchError: the bundle belongs to another shop.
    """
    snapshot = Snapshot.open(request.snapshot, settings=settings)
    named = [request.model, *([request.against] if request.against else [])]
    opened = [open_model(address, task=request.task, snapshot=snapshot, settings=settings) for address in named]
    # Another model is no system of the first one's table, and that one's systems are none of the other's.
    plain = replace(request, baseline=None)
    own = plain if request.baseline in [label for _, label in opened[1:]] else request
    first = measure_bundle(*opened[0], request=own, snapshot=snapshot, settings=settings)
    for model in opened[1:]:
        others = measure_bundle(*model, request=plain, snapshot=snapshot, settings=settings)
        first = [beside(table, other) for table, other in zip(first, others, strict=True)]
    return first


def measure_logged(request: Request, *, settings: Settings, seed: int) -> dict[str, Any]:
    """The report of `--task off-policy`; `against` stands beside the model on the same lists.

    Raises:
        UsageError: see `off_policy.measure.measure_off_policy`.
        RegistryError: no such version, or another shop's.
        IndexMismatchError: the bundle belongs to another shop.
    """
    snapshot = Snapshot.open(request.snapshot, settings=settings)
    named = [request.model, *([request.against] if request.against else [])]
    engines: dict[str, Engine] = {}
    for address in named:
        bundle, label = open_model(address, task=request.task, snapshot=snapshot, settings=settings)
        index = cached_index(snapshot, bundle, version=label, settings=settings)
        engines[f"{label} (again)" if label in engines else label] = Engine.open(index, settings=settings)
    return measure_off_policy(engines, snapshot, split=request.split, logged_by=request.logged_by, seed=seed)


def open_model(address: str, *, task: str, snapshot: Snapshot, settings: Settings) -> tuple[Bundle, str]:
    """A bundle of the kind that the task needs, and the name people know it by."""
    bundle, label = Registry(settings).open(address, shop=snapshot.manifest.shop)
    if bundle.kind != KINDS[task]:
        raise UsageError(
            f"{address} is a {bundle.kind} model",
            expected=f"a {KINDS[task]} model for --task {task}",
            action="name another model or task",
        )
    return bundle, label


def measure_bundle(
    bundle: Bundle, label: str, *, request: Request, snapshot: Snapshot, settings: Settings
) -> list[Measured]:
    """The tables of one model, beside the baselines of the protocol."""
    tables = ask_engine(
        Engine.open(cached_index(snapshot, bundle, version=label, settings=settings), settings=settings, verify=False),
        request=request,
        snapshot=snapshot,
        cache=settings.vectors / (snapshot.manifest.shop or NAMELESS),
    )
    return [replace(table, model=label) for table in tables]


def ask_engine(engine: Engine, *, request: Request, snapshot: Snapshot, cache: Path) -> list[Measured]:
    """The tables that the task consists of; `cache` keeps text vectors."""
    if request.task == "recommend":
        if request.repeats not in REPEATS:
            raise UsageError(
                f"--repeats {request.repeats}", expected=f"one of {', '.join(REPEATS)}", action="name one of these"
            )
        return [
            measure_recommend(
                engine, snapshot, split=request.split, cuts=request.cuts, repeats=repeats, baseline=request.baseline
            )
            for repeats in REPEATS[request.repeats]
        ]
    search = measure_judged if request.task == "judged" else partial(measure_retrieval, cache=cache)
    return [
        search(
            engine,
            snapshot,
            split=request.split,
            cuts=request.cuts,
            stages=request.stages,
            baseline=request.baseline,
        )
    ]


def cached_index(snapshot: Snapshot, bundle: Bundle, *, version: str, settings: Settings) -> Path:
    """The index of a bundle and a snapshot's catalogue; built once, named by both and the shop's rules for lists."""
    catalogue = snapshot.catalogue()
    search = bundle if bundle.kind == PRODUCT_SEARCH else None
    stamp = images_stamp(search, catalogue, snapshot.pictures)
    lists = shop_lists(snapshot) if bundle.kind == RECOMMENDER else ListRules()
    told = [fact for fact in (stamp, lists.told()) if fact]
    contents = json.dumps([FORMAT_VERSION, catalogue.digest, bundle.digest, version, *told], sort_keys=True)
    name = hashlib.sha256(contents.encode()).hexdigest()[:16]
    folder = settings.home / "evaluate" / name
    with locked(settings.locks / f"evaluate-{name}"):
        if not is_whole(folder):
            build_index(
                catalogue,
                search=search,
                recommender=bundle if bundle.kind == RECOMMENDER else None,
                folder=folder,
                shop=snapshot.manifest.shop,
                versions={bundle.kind: version},
                backbone=STOCK if bundle.kind == PRODUCT_SEARCH else "",
                cache=settings.vectors,
                pictures=snapshot.pictures,
                lists=lists,
            )
    return folder


def pinned(address: str, *, settings: Settings) -> tuple[Version | None, str]:
    """The version behind an address and its own address, which no alias moves any more; a folder stays as it is."""
    if Path(address).is_dir():
        return None, address
    version = Registry(settings).resolve(address)
    return version, version.uri


def check_task(task: str) -> str:
    """The task, refused where there is none of that name."""
    if task not in KINDS:
        raise UsageError(f"--task {task}", expected=f"one of {', '.join(KINDS)}", action="name one of these")
    return task


def as_cuts(text: str) -> tuple[int, ...]:
    """Cut-offs as the command line gives them: "10,20"."""
    parts = text.split(",")
    if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise UsageError(f"--k {text}", expected="whole numbers of at least 1, as 10,20", action="correct the option")
    return tuple(sorted({int(part) for part in parts}))
