"""Recommendation protocols: leave-one-out and time split, full ranking of the catalogue, averaged over ties."""

from collections.abc import Sequence

import numpy as np

from feature_store.snapshot import Snapshot
from recsys.engine.engine import Engine
from recsys.engine.ladder import Ladder, owned
from recsys.errors import UsageError
from recsys.types import Recommender
from training.evaluate.baselines import LatestPopularity, history_baselines
from training.evaluate.lists import closed_lists, score_lists
from training.evaluate.measured import ByMetric, Measured, RankedList
from training.evaluate.trial import BEFORE, asker, held, read_trial


def measure_recommend(
    engine: Engine, snapshot: Snapshot, *, split: str, cuts: Sequence[int], repeats: bool
) -> Measured:
    """Rank the whole catalogue for every user of a split, by the engine and by each baseline.

    Args:
        engine: the registered artefact on an index of this snapshot's catalogue.
        snapshot: the events.
        split: "validation" or "test".
        cuts: the k of recall@k and ndcg@k.
        repeats: True keeps products that the user already has among the candidates and the relevant ones.

    Raises:
        UsageError: the snapshot's split has no such part of events.
    """
    kind = snapshot.manifest.split.kind
    if split not in BEFORE or kind not in ("time", "leave-one-out"):
        raise UsageError(
            f"--task recommend on the {split} part of a snapshot split by {kind}",
            expected="validation or test of a time or leave-one-out split",
            action="build a snapshot with `recsys features SHOP --split time` or leave-one-out",
        )
    trial = read_trial(snapshot, engine.catalogue, split=split)
    has = owned(trial.histories) if kind == "time" else held(trial.histories)
    relevant = (
        trial.relevant
        if repeats
        else [np.setdiff1d(bought, known) for bought, known in zip(trial.relevant, has, strict=True)]
    )
    exclude = None if repeats else has
    asks = {
        name: asker(ladder, trial, products=len(engine.catalogue), exclude=exclude)
        for name, ladder in ladders(engine, snapshot, split=split, repeats=repeats).items()
    }
    systems: dict[str, ByMetric] = {}
    runs: dict[str, list[RankedList]] = {}
    for name, ask in asks.items():
        lists = closed_lists(ask, users=len(trial.user_ids), k=max(cuts))
        systems[name] = score_lists(lists, relevant, products=len(engine.catalogue), cuts=cuts)
        if name == "engine":
            runs[name] = [RankedList(engine.catalogue.ids(row.positions), row.scores.tolist()) for row in lists]
    counts = {
        "users": len(trial.user_ids),
        "products": len(engine.catalogue),
        "users without a purchase before": trial.left_out,
        "users with nothing relevant left": sum(not len(row) for row in relevant),
    }
    return Measured(
        protocol=protocol_name(engine, kind, split=split, repeats=repeats),
        keys=trial.user_ids,
        subject="engine",
        systems=systems,
        baselines=[name for name in systems if name != "engine"],
        counts=counts,
        runs=runs,
        variant="repeats-allowed" if repeats else "repeats-excluded",
    )


def ladders(engine: Engine, snapshot: Snapshot, *, split: str, repeats: bool) -> dict[str, Ladder]:
    """The systems to compare: the engine's whole ladder, each recommender alone, and the protocol's own baselines."""
    whole = engine.recommendations.ladder
    systems = {"engine": whole}
    systems |= {recommender.name: Ladder(personal=(recommender,)) for recommender in whole.personal}
    if whole.popularity is not None:
        systems["popularity"] = Ladder(popularity=whole.popularity)
    if repeats:
        systems |= {recommender.name: Ladder(personal=(recommender,)) for recommender in history_baselines()}
    elif snapshot.manifest.split.kind == "time":
        latest: Recommender = LatestPopularity.fit(snapshot, split=split, products=len(engine.catalogue))
        systems[latest.name] = Ladder(personal=(latest,))
    return systems


def protocol_name(engine: Engine, kind: str, *, split: str, repeats: bool) -> str:
    """The protocol's name as it stands beside each figure."""
    fitted = [parts for parts in engine.recommendations.learned_from.values() if parts]  # a stock encoder has none
    learned = "refit" if fitted and all("validation" in parts for parts in fitted) else "no refit"
    table = "repeats allowed" if repeats else "repeats excluded"
    return f"{kind}, {split} part, {learned}, {table}, full ranking, ties averaged"
