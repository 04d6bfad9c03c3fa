"""`recsys train blender`: from judged queries and the other stages' scores to the component `blender`."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import PRODUCT_SEARCH, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.engine.blending import Blending, component_digests, read_popularity, signal_sources
from recsys.engine.engine import Engine
from recsys.engine.manifest import LEXICAL
from recsys.errors import UsageError
from recsys.ranking.signals import COSINE, IMAGE, LOGIT, RELEVANCE, SIGNALS, absent_signals
from recsys.registry.client import Registry
from recsys.retrieval.lexical import LexicalIndex
from recsys.settings import Settings
from recsys.types import Scores, Signals
from training.blender.choose import Choice, choose, cross_fit, fit_choice
from training.blender.classes import query_classes
from training.blender.config import BlenderConfig
from training.blender.earn import earn, metrics_of
from training.blender.held_out import Judge
from training.blender.known import find_queries, learned_from, with_cosines, with_relevance
from training.blender.open import open_engine
from training.blender.rows import read_rows
from training.evaluate.earned import time_stages
from training.metric_log import MetricLog
from training.popularity import PopularityConfig, fit_popularity, resolve
from training.stage import REPORT

log = logging.getLogger(__name__)


class BlenderStage:
    """`recsys train blender`.

    Args:
        vectors: folder of text and image vectors that are kept from index to index; None keeps none.
    """

    name = "blender"
    kind = PRODUCT_SEARCH
    component = "blender"
    config_type: type[BaseModel] = BlenderConfig

    def __init__(self, vectors: Path | None = None) -> None:
        self.vectors = vectors

    def looking_up(
        self, config: BaseModel, *, start: Path | None, registry: Registry, settings: Settings
    ) -> "BlenderStage":
        """The stage that knows where vectors are kept; see LooksUp."""
        return BlenderStage(settings.vectors)

    def told(self) -> Mapping[str, Any]:
        """Nothing: kept vectors change no result."""
        return {}

    def train(
        self,
        snapshot: Snapshot,
        *,
        config: BaseModel,
        folder: Path,
        work: Path,
        run: MetricLog,
        base: Bundle | None,
        start: Path | None,
        refit: bool,
    ) -> ComponentInfo:
        """Choose and fit a blender over the base's stages, and report what each stage gains and costs; see Stage.

        Raises:
            NothingToLearnError: there are fewer judged queries than folds.
            UsageError: a signal has another name than those that there are.
        """
        settings = BlenderConfig.model_validate(config.model_dump())
        judge = Judge.of(base, work=work / "held-out")
        found = find_queries(snapshot, judge=judge, config=settings)
        engine, sources = open_stages(snapshot, base=base, folder=folder, work=work, vectors=self.vectors)
        known = with_relevance(found, snapshot, finder=engine.finder, judge=judge, config=settings)
        known = with_cosines(known, snapshot, finder=engine.finder, base=base, config=settings)
        judged, relevance, cosines = known.queries, known.relevance, known.cosines
        seen = [] if cosines is not None else learned_from(base, parts=known.parts)
        names, absent = wanted_signals(engine, sources, relevance=relevance, seen=seen, config=settings)
        rows = read_rows(engine.finder, judged, relevance=relevance, sources=sources, names=names, cosines=cosines)
        held, chosen = cross_fit(rows, config=settings)
        choice, tried = choose(rows, config=settings)
        digests = component_digests(base)
        blender = fit_choice(rows, choice, config=settings, learned_over=digests)
        blender.save(folder)
        finder = replace(engine.finder, blending=Blending(blender, sources))
        times = time_stages(finder, rows.texts[: settings.timed])
        report = earn(
            rows,
            held,
            classes=query_classes(snapshot, judged),
            times=times,
            earn_all=settings.earn == "all" and not seen and len(judged) >= settings.enough,
            seed=settings.seed,
        )
        report |= {"chosen": told(choice), "chosen by fold": [told(one) for one in chosen], "absent": sorted(absent)}
        report |= {"respelled": known.respelled, "seen": seen}
        report["tried"] = {told(one): value for one, value in tried.items()}
        work.mkdir(parents=True, exist_ok=True)
        (work / REPORT).write_text(json.dumps(report, indent=1), encoding="utf-8")
        metrics = metrics_of(report)
        run.metrics(metrics, step=0)
        return ComponentInfo(
            name=self.component,
            snapshot=snapshot.manifest.snapshot_id,
            metrics=metrics,
            config=settings.model_dump()
            | {"chosen": told(choice), "absent": sorted(absent), "off": report["off"]}
            | digests,
            parts=list(known.parts),
        )


def open_stages(
    snapshot: Snapshot, *, base: Bundle | None, folder: Path, work: Path, vectors: Path | None
) -> tuple[Engine, tuple[Signals, ...]]:
    """The base's stages on the snapshot's catalogue, and who computes signals for it; sales go into the component."""
    index = work / "index"
    engine = open_engine(snapshot, base=base, index=index, vectors=vectors)
    catalogue = snapshot.catalogue()
    popularity: Scores | None = None
    if not snapshot.interactions("train", "validation").is_empty():
        settings = resolve(PopularityConfig(), snapshot=snapshot)
        fit_popularity(snapshot, parts=["train", "validation"], config=settings, folder=folder)
        popularity = read_popularity(folder, catalogue)
    lexical = LexicalIndex.open(index / LEXICAL)
    return engine, signal_sources(catalogue, lexical, reader=engine.finder.reader, popularity=popularity)


def wanted_signals(
    engine: Engine,
    sources: Sequence[Signals],
    *,
    relevance: Sequence[Scores] | None,
    seen: Sequence[str],
    config: BlenderConfig,
) -> tuple[list[str], frozenset[str]]:
    """The signals that are read, in the order of SIGNALS, and those of which the shop's data says nothing.

    A cosine by a network that has learned from the queries is read only where the settings name it: it counts in the
    weighted sum as ever, but a blender would learn to trust it too much.
    """
    dense = engine.finder.dense
    known = [] if dense is None else [COSINE]
    known += [] if dense is None or dense.images is None else [IMAGE]
    known += [] if relevance is None else [RELEVANCE, LOGIT]
    absent = absent_signals(sources, known=known)
    asked = SIGNALS if config.signals is None else config.signals
    if unknown := sorted(set(asked) - set(SIGNALS)):
        raise UsageError(
            f"signals {', '.join(unknown)}", expected=f"some of {', '.join(SIGNALS)}", action="correct the names"
        )
    hidden = {COSINE, IMAGE} if seen and config.signals is None else set()
    names = [name for name in SIGNALS if name in asked and name not in absent and name not in hidden]
    log.info("signals of which this shop says nothing: %s", ", ".join(sorted(absent)) or "none")
    return names, absent


def told(choice: Choice) -> str:
    """A candidate in words."""
    return {"linear": f"linear, ridge {choice.amount:g}", "trees": f"{choice.amount:g} trees"}.get(choice.kind, "sum")
