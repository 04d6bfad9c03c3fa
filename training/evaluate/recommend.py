"""Recommendation protocols: leave-one-out and time split, full ranking of the catalogue, averaged over ties."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from feature_store.snapshot import Snapshot
from recsys.engine.engine import Engine
from recsys.engine.ladder import Ladder, owned
from recsys.errors import UsageError
from recsys.types import Positions, Recommender
from training.evaluate.ages import slice_ages
from training.evaluate.baselines import LatestPopularity, history_baselines
from training.evaluate.compare import choose_baseline
from training.evaluate.grouping import slice_users
from training.evaluate.lists import METRICS, rank_users
from training.evaluate.measured import Asked, ByMetric, Measured
from training.evaluate.rankings import Rankings
from training.evaluate.served import as_served
from training.evaluate.slices import Slicing
from training.evaluate.trial import BEFORE, PURCHASE, Ask, Trial, asker, held, read_trial
from training.evaluate.variety import Yardsticks, list_metrics, overall_metrics

SUBJECT = "engine"


def measure_recommend(
    engine: Engine, snapshot: Snapshot, *, split: str, cuts: Sequence[int], repeats: bool, baseline: str | None = None
) -> Measured:
    """Rank the whole catalogue for every user of a split, by the engine and by each baseline.

    The engine is its ladder; where lists are held to a shape, they stand beside it as they are served.

    Args:
        engine: the registered artefact on an index of this snapshot's catalogue.
        snapshot: the events.
        split: "validation" or "test".
        cuts: the k of the metrics.
        repeats: True keeps products that the user already has among the candidates and the relevant ones.
        baseline: the system to compare with, checked before anything is measured.

    Raises:
        UsageError: the snapshot's split has no such part of events.
    """
    kind = check_split(snapshot, split=split)
    trial = read_trial(snapshot, engine.catalogue, split=split)
    has = owned(trial.histories) if kind == "time" else held(trial.histories)
    relevant = (
        trial.relevant
        if repeats
        else [np.setdiff1d(bought, known) for bought, known in zip(trial.relevant, has, strict=True)]
    )
    asks = {
        name: asker(ladder, trial, products=len(engine.catalogue), exclude=None if repeats else has)
        for name, ladder in ladders(engine, snapshot, split=split, repeats=repeats).items()
    }
    asks |= as_served(engine, trial, snapshot=snapshot, split=split, repeats=repeats, k=max(cuts))
    choose_baseline(list(asks), name=baseline, subject=SUBJECT)
    yardsticks = Yardsticks.of(
        engine.catalogue,
        known=knowing(snapshot, split=split, products=len(engine.catalogue)),
        histories=has,
        neighbours=engine.recommendations.neighbours,
    )
    systems, runs, overall = score_systems(asks, relevant, by=yardsticks, cuts=cuts)
    ages = slice_ages(snapshot, engine.catalogue, split=split, user_ids=trial.user_ids, relevant=relevant)
    counts = {
        "users": len(trial.user_ids),
        "products": len(engine.catalogue),
        "users without a purchase before": trial.left_out,
        "users with nothing relevant left": sum(not len(row) for row in relevant),
    }
    return Measured(
        protocol=protocol_name(engine, kind, split=split, repeats=repeats, moments=trial.histories.now is not None),
        keys=trial.user_ids,
        asked=as_asked(trial, engine=engine, relevant=relevant, bought=has, ages=ages),
        subject=SUBJECT,
        systems=systems,
        baselines=[name for name in systems if name != SUBJECT],
        counts=counts,
        runs=runs,
        snapshot=snapshot.manifest.snapshot_id,
        overall=overall,
        variant="repeats-allowed" if repeats else "repeats-excluded",
    )


def check_split(
    snapshot: Snapshot, *, split: str, task: str = "recommend", kinds: Sequence[str] = ("time", "leave-one-out")
) -> str:
    """How the snapshot's events are split.

    Raises:
        UsageError: the part has none, or the split is of no kind that the task knows.
    """
    kind = snapshot.manifest.split.kind
    if split not in BEFORE or kind not in kinds:
        raise UsageError(
            f"--task {task} on the {split} part of a snapshot split by {kind}",
            expected=f"validation or test of a {' or '.join(kinds)} split",
            action=f"build a snapshot with `recsys features SHOP --split {'` or `--split '.join(kinds)}`",
        )
    return kind


def as_asked(
    trial: Trial,
    *,
    engine: Engine,
    relevant: Sequence[Positions],
    bought: Sequence[Positions],
    ages: Sequence[Slicing],
) -> Asked:
    """The users with what they turned out to buy, as grade 1, and their slices."""
    before = np.array([len(row) for row in bought], dtype=np.int64)
    return Asked(
        unit="user",
        catalogue=engine.catalogue,
        texts=[""] * len(trial.user_ids),
        judged=[(row, np.ones(len(row))) for row in relevant],
        relevant=1.0,
        counts={"products before": before},
        slicings=(*slice_users(before.tolist(), trial.segments), *ages),
    )


def score_systems(
    asks: Mapping[str, Ask], relevant: Sequence[Positions], *, by: Yardsticks, cuts: Sequence[int]
) -> tuple[dict[str, ByMetric], dict[str, Rankings], dict[str, dict[str, float]]]:
    """Every system's metrics by user, its lists, and the figures of all its lists together.

    Args:
        asks: by system, what gives users their lists.
        relevant: for each user the relevant positions, ascending.
        by: what the lists are held against beside what is relevant.
        cuts: the k.
    """
    systems: dict[str, ByMetric] = {}
    runs: dict[str, Rankings] = {}
    overall: dict[str, dict[str, float]] = {}
    for name, ask in asks.items():
        systems[name], runs[name] = rank_users(ask, relevant, products=len(by.counts), cuts=cuts, names=tuple(METRICS))
        shown = {k: runs[name].padded(k=k) for k in cuts}
        systems[name] |= list_metrics(shown, by=by)
        overall[name] = overall_metrics(shown, by=by)
    return systems, runs, overall


def knowing(snapshot: Snapshot, *, split: str, products: int) -> tuple[Positions, int]:
    """Before the part: how many users bought each product, int64 [catalogue], and how many users bought any."""
    bought = snapshot.scan("interactions", *BEFORE[split]).filter(pl.col("user_id").is_not_null())
    if snapshot.manifest.split.kind == "time":
        bought = bought.filter(pl.col("event_type") == PURCHASE)
    pairs = bought.select("user_id", "position").unique().collect()
    return np.bincount(pairs["position"].to_numpy(), minlength=products), pairs["user_id"].n_unique()


def ladders(engine: Engine, snapshot: Snapshot, *, split: str, repeats: bool) -> dict[str, Ladder]:
    """The systems to compare: the engine's whole ladder, each recommender alone, and the protocol's own baselines."""
    whole = engine.recommendations.asked(repeats=repeats)
    systems = {SUBJECT: whole}
    systems |= {recommender.name: Ladder(personal=(recommender,)) for recommender in whole.personal}
    if whole.text is not None:
        systems[whole.text.name] = Ladder(personal=(whole.text,))
    if whole.popularity is not None:
        systems["popularity"] = Ladder(popularity=whole.popularity)
    if repeats:
        systems |= {recommender.name: Ladder(personal=(recommender,)) for recommender in history_baselines()}
    elif snapshot.manifest.split.kind == "time":
        latest: Recommender = LatestPopularity.fit(snapshot, split=split, products=len(engine.catalogue))
        systems[latest.name] = Ladder(personal=(latest,))
    return systems


def protocol_name(engine: Engine, kind: str, *, split: str, repeats: bool, moments: bool) -> str:
    """The protocol's name as it stands beside each figure; `moments` says whether users are asked at moments."""
    fitted = [parts for parts in engine.recommendations.learned_from.values() if parts]  # a stock encoder has none
    learned = "refit" if fitted and all("validation" in parts for parts in fitted) else "no refit"
    table = "repeats allowed" if repeats else "repeats excluded"
    asked = ", asked at each user's own moment" if moments else ""
    return f"{kind}, {split} part, {learned}, {table}, full ranking, ties averaged{asked}"
