"""From a model's address and a snapshot to what the protocols find: resolve, index, measure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import PRODUCT_SEARCH, RECOMMENDER
from recsys.bundle.read import Bundle
from recsys.engine.build import build_index
from recsys.engine.engine import Engine
from recsys.engine.manifest import FORMAT_VERSION, MANIFEST
from recsys.errors import UsageError
from recsys.models.backbone import STOCK
from recsys.registry.client import Registry
from recsys.settings import Settings
from recsys.storage import locked
from training.evaluate.measured import Measured
from training.evaluate.recommend import measure_recommend
from training.evaluate.search import measure_judged, measure_retrieval

KINDS: Mapping[str, str] = {"judged": PRODUCT_SEARCH, "retrieval": PRODUCT_SEARCH, "recommend": RECOMMENDER}
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


def measure(request: Request, *, settings: Settings) -> list[Measured]:
    """The tables that were asked for.

    Raises:
        UsageError: an option makes no sense, or the model is of another kind than the task needs.
        RegistryError: no such version, or another shop's.
        IndexMismatchError: the bundle belongs to another shop.
    """
    snapshot = Snapshot.open(request.snapshot, settings=settings)
    bundle, version = Registry(settings).open(request.model, shop=snapshot.manifest.shop)
    if bundle.kind != KINDS[request.task]:
        raise UsageError(
            f"{request.model} is a {bundle.kind} model",
            expected=f"a {KINDS[request.task]} model for --task {request.task}",
            action="name another model or task",
        )
    engine = Engine.open(cached_index(snapshot, bundle, version=version, settings=settings), settings=settings)
    if request.task == "recommend":
        if request.repeats not in REPEATS:
            raise UsageError(
                f"--repeats {request.repeats}", expected=f"one of {', '.join(REPEATS)}", action="name one of these"
            )
        return [
            measure_recommend(engine, snapshot, split=request.split, cuts=request.cuts, repeats=repeats)
            for repeats in REPEATS[request.repeats]
        ]
    search = measure_judged if request.task == "judged" else measure_retrieval
    return [search(engine, snapshot, split=request.split, cuts=request.cuts, stages=request.stages)]


def cached_index(snapshot: Snapshot, bundle: Bundle, *, version: str, settings: Settings) -> Path:
    """The index of a bundle and a snapshot's catalogue; built once, named by the digests of both."""
    catalogue = snapshot.catalogue()
    contents = json.dumps([FORMAT_VERSION, catalogue.digest, bundle.digest, version])
    name = hashlib.sha256(contents.encode()).hexdigest()[:16]
    folder = settings.home / "evaluate" / name
    with locked(settings.locks / f"evaluate-{name}"):
        if not (folder / MANIFEST).is_file():
            build_index(
                catalogue,
                search=bundle if bundle.kind == PRODUCT_SEARCH else None,
                recommender=bundle if bundle.kind == RECOMMENDER else None,
                folder=folder,
                shop=snapshot.manifest.shop,
                versions={bundle.kind: version},
                backbone=STOCK if bundle.kind == PRODUCT_SEARCH else "",
                cache=settings.vectors,
            )
    return folder


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
