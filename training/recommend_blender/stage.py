"""`recsys train recommend-blender`: from a model's recommenders to the component `recommend_blender`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import RECOMMENDER, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.bundle.recommenders import COMPONENTS, TEXT_ENCODER, settings_digests
from recsys.catalogue import Catalogue
from recsys.engine.recommend_blending import read_facts
from recsys.errors import NothingToLearnError
from recsys.ranking.candidate_blender import ALLOWED, EXCLUDED, CandidateBlender, CandidateSettings
from recsys.ranking.candidate_signals import ProductFacts, signal_names
from recsys.retrieval.text_neighbours import TextNeighbours
from recsys.types import Recommender
from training.counted import until
from training.holdout import Holdout
from training.metric_log import MetricLog
from training.recommend_blender.config import RecommendBlenderConfig
from training.recommend_blender.earn import cross_fit, fit_users, judge
from training.recommend_blender.fit import Order
from training.recommend_blender.rows import read_candidates, write_facts
from training.recommend_blender.sources import open_sources
from training.stage import REPORT

RUNGS_OF_THEIR_OWN = ("popularity", "trending", "text")
"""Sources that do not stand among the personal recommenders below the blend."""


class RecommendBlenderStage:
    """`recsys train recommend-blender`."""

    name = "recommend-blender"
    kind = RECOMMENDER
    component = "recommend_blender"
    config_type: type[BaseModel] = RecommendBlenderConfig

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
        """Learn the order of both tables from the validation part, by sources that have not seen it; see Stage.

        Raises:
            NothingToLearnError: the base has no recommender, or nobody with a history bought in the validation part.
            UsageError: a source has a name that the base does not know.
        """
        settings = RecommendBlenderConfig.model_validate(config.model_dump())
        catalogue = snapshot.catalogue()
        holdout = draw(Holdout.read(snapshot, catalogue=catalogue, part="validation"), config=settings)
        if len(holdout.trial.user_ids) < settings.user_folds or base is None:
            raise NothingToLearnError(
                f"{len(holdout.trial.user_ids)} users of {snapshot.path} with a history bought in its validation part",
                expected=f"{settings.user_folds} or more, and a model with recommenders",
                action="train recommenders first, or lengthen [split] validation_days in shop.toml",
            )
        sources = open_sources(snapshot, base=base, wanted=settings.sources, catalogue=catalogue, work=work)
        behind = {component_of(name) for name in sources}
        learned_over = {name: digest for name, digest in settings_digests(base).items() if name in behind}
        _, reports = learn_blender(
            snapshot,
            holdout,
            sources,
            catalogue=catalogue,
            learned=learned_over,
            config=settings,
            folder=folder,
            refit=refit,
        )
        work.mkdir(parents=True, exist_ok=True)
        (work / REPORT).write_text(json.dumps({"tables": reports}, indent=1), encoding="utf-8")
        metrics = metrics_of(reports)
        run.metrics(metrics, step=0)
        return ComponentInfo(
            name=self.component,
            snapshot=snapshot.manifest.snapshot_id,
            metrics=metrics,
            config=settings.model_dump() | decided(reports) | {"learned_over": learned_over},
            parts=["train", "validation"],
        )


def component_of(source: str) -> str | None:
    """The component that a source comes from; None for the user's own history."""
    return TEXT_ENCODER if source == TextNeighbours.name else COMPONENTS.get(source)


def draw(holdout: Holdout, *, config: RecommendBlenderConfig) -> Holdout:
    """At most so many of the users, by the seed."""
    count = len(holdout.trial.user_ids)
    if not 0 < config.users < count:
        return holdout
    return holdout.take(np.sort(np.random.default_rng(config.seed).choice(count, config.users, replace=False)))


def learn_blender(
    snapshot: Snapshot,
    holdout: Holdout,
    sources: Mapping[str, Recommender],
    *,
    catalogue: Catalogue,
    learned: Mapping[str, str],
    config: RecommendBlenderConfig,
    folder: Path,
    refit: bool,
) -> tuple[CandidateBlender, list[dict[str, Any]]]:
    """The component, written into the folder with what it knows of the products, and a report of each table.

    Args:
        snapshot: the events.
        holdout: users of its validation part.
        sources: the recommenders that are asked, learned from the training part alone.
        catalogue: the snapshot's.
        learned: as of `CandidateSettings.learned_over`.
        config: of the blend.
        folder: where the component goes.
        refit: whether the products' facts count the validation part, as the sources that are served do.
    """
    calendar = snapshot.manifest.timestamps == "calendar"
    write_facts(snapshot, parts=["train"], half_life_days=config.half_life_days, folder=folder)
    facts = read_facts(folder, catalogue, calendar=calendar)
    orders, reports = {}, []
    for table, users in ((EXCLUDED, holdout), (ALLOWED, holdout.with_repeats())):
        orders[table], report = learn_table(
            users, sources, table=table, until=until(snapshot, parts=["train"]), facts=facts, config=config
        )
        reports.append(report)
    parts = ["train", "validation"] if refit else ["train"]
    write_facts(snapshot, parts=parts, half_life_days=config.half_life_days, folder=folder)
    ended = until(snapshot, parts=parts)
    blender = as_blender(orders, sources, until=ended, calendar=calendar, learned=learned, config=config)
    blender.save(folder)
    return blender, reports


def learn_table(
    holdout: Holdout,
    sources: Mapping[str, Recommender],
    *,
    table: str,
    until: int,
    facts: ProductFacts,
    config: RecommendBlenderConfig,
) -> tuple[Order, dict[str, Any]]:
    """The function of a table, fitted on all its users, and what was found out on held-out ones."""
    names = signal_names(tuple(sources))
    rows = read_candidates(holdout, sources, candidates=config.candidates, until=until, facts=facts)
    held = cross_fit(rows, holdout, names=names, sources=tuple(sources), config=config)
    report = judge(rows, holdout, held, table=table, sources=tuple(sources), config=config)
    everyone = np.ones(len(rows.pools), dtype=np.bool_)
    order = fit_users(rows, everyone, names=names, sources=tuple(sources), rounds=held.rounds, config=config)
    return order, report


def as_blender(
    orders: Mapping[str, Order],
    sources: Mapping[str, Recommender],
    *,
    until: int,
    calendar: bool,
    learned: Mapping[str, str],
    config: RecommendBlenderConfig,
) -> CandidateBlender:
    """The component of fitted functions."""
    settings = CandidateSettings(
        sources=tuple(sources),
        candidates=config.candidates,
        until=until,
        calendar=calendar,
        learned_over=dict(learned),
        tables={table: order.settings() for table, order in orders.items()},  # type: ignore[misc]
    )
    return CandidateBlender(settings, {name: order.trees for name, order in orders.items() if order.trees is not None})


def decided(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """What the policy takes over: the tables in which the blend is on, and who stands below it where repeats count."""
    means = next(report["sources"] for report in reports if report["table"] == ALLOWED)
    personal = [name for name in means if name not in RUNGS_OF_THEIR_OWN and means[name] > 0]
    return {
        "blend": [report["table"] for report in reports if report["on"]],
        "repeat_order": sorted(personal, key=lambda name: -means[name]),
    }


def metrics_of(reports: list[dict[str, Any]]) -> dict[str, float]:
    """The figures of the reports as a component's metrics."""
    found: dict[str, float] = {}
    for report in reports:
        place = f"validation/{report['table']}"
        found |= {f"{place}.{name}.{report['metric']}": value for name, value in report["sources"].items()}
        if report["blend"] is not None:
            found[f"{place}.blend.{report['metric']}"] = report["blend"]["mean"]
        if report["gain"] is not None:
            found |= {f"{place}.gain.{end}": value for end, value in report["gain"].items()}
    return found
