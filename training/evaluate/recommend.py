"""Recommendation protocols: leave-one-out and time split, full ranking of the catalogue, averaged over ties."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store.histories import SnapshotHistories
from feature_store.snapshot import Snapshot
from recsys.catalogue import Catalogue
from recsys.engine.engine import Engine
from recsys.engine.ladder import Filled, Ladder, owned, take
from recsys.errors import UsageError
from recsys.types import PositionHistories, Positions, Recommender
from training.evaluate.baselines import LatestPopularity, history_baselines
from training.evaluate.measured import ByMetric, Measured, RankedList
from training.evaluate.ties import Floats, ndcg_at, recall_at, smooth

PURCHASE = "purchase"
BEFORE: Mapping[str, tuple[str, ...]] = {"validation": ("train",), "test": ("train", "validation")}


@dataclass(frozen=True)
class Trial:
    """The users of one split and what they turned out to buy.

    Attributes:
        user_ids: sorted.
        histories: what they did before, in catalogue positions.
        segments: their segments.
        relevant: for each user the distinct products bought afterwards, ascending.
        left_out: users who bought afterwards but never before.
    """

    user_ids: list[str]
    histories: PositionHistories
    segments: tuple[str, ...]
    relevant: list[Positions]
    left_out: int


Ask = Callable[[NDArray[np.int64], int], Iterable[Filled]]


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
    relevant = trial.relevant if repeats else [
        np.setdiff1d(bought, known) for bought, known in zip(trial.relevant, has, strict=True)
    ]
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


def read_trial(snapshot: Snapshot, catalogue: Catalogue, *, split: str) -> Trial:
    """Users with a purchase in the split; those who never bought before are left out and counted."""
    relevant = (pl.col("event_type") == PURCHASE) | (snapshot.manifest.split.kind == "leave-one-out")
    bought = (
        snapshot.interactions(split)
        .filter(relevant & pl.col("user_id").is_not_null())
        .group_by("user_id")
        .agg(pl.col("position").unique().sort())
        .sort("user_id")
    )
    before = snapshot.interactions(*BEFORE[split]).filter(relevant)["user_id"].unique()
    kept = bought.filter(pl.col("user_id").is_in(before.drop_nulls().implode()))
    user_ids = kept["user_id"].to_list()
    histories = SnapshotHistories(snapshot, parts=BEFORE[split]).read(user_ids)
    return Trial(
        user_ids=user_ids,
        histories=catalogue.encode(histories),
        segments=histories.segments,
        relevant=[np.asarray(row, dtype=np.int64) for row in kept["position"].to_list()],
        left_out=bought.height - kept.height,
    )


def held(histories: PositionHistories) -> list[Positions]:
    """For each user all distinct products of the history, ascending."""
    return [np.unique(histories.of(user)) for user in range(len(histories))]


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
        latest: Recommender = LatestPopularity.fit(snapshot, parts=BEFORE[split], products=len(engine.catalogue))
        systems[latest.name] = Ladder(personal=(latest,))
    return systems


def asker(ladder: Ladder, trial: Trial, *, products: int, exclude: list[Positions] | None) -> Ask:
    """A function of (users, k) that gives their lists."""

    def ask(users: NDArray[np.int64], k: int) -> Iterable[Filled]:
        return ladder.fill(
            take(trial.histories, users),
            [trial.segments[user] for user in users],
            k=k,
            products=products,
            exclude=None if exclude is None else [exclude[user] for user in users],
        )

    return ask


def closed_lists(ask: Ask, *, users: int, k: int) -> list[Filled]:
    """Lists that reach at least k products and never end inside a group of ties that begins within the first k."""
    lists: list[Filled | None] = [None] * users
    due, depth = np.arange(users), 2 * k
    while len(due):
        for user, found in zip(due, ask(due, depth), strict=True):
            lists[user] = found
        due = np.array([user for user in due if is_open(lists[user], k=k, depth=depth)], dtype=np.int64)
        depth *= 4
    return [found for found in lists if found is not None]


def is_open(found: Filled | None, *, k: int, depth: int) -> bool:
    """True where the last place within k ties with the end of a list that was cut at `depth`."""
    if found is None or len(found.positions) < depth:
        return False
    same = found.scores[k - 1] == found.scores[-1] and found.sources[k - 1] == found.sources[-1]
    return bool(same and found.rungs[k - 1] == found.rungs[-1])


def score_lists(
    lists: Sequence[Filled], relevant: Sequence[Positions], *, products: int, cuts: Sequence[int]
) -> ByMetric:
    """recall@k and ndcg@k of every user, float64 [users]; NaN where nothing is relevant.

    Args:
        lists: the rankings.
        relevant: for each user the relevant positions, ascending.
        products: size of the catalogue.
        cuts: the k.
    """
    users = np.repeat(np.arange(len(lists)), [len(row.positions) for row in lists])
    ranks = np.concatenate([np.arange(len(row.positions)) for row in lists] or [np.zeros(0, dtype=np.int64)])
    depth = max([int(ranks.max(initial=-1)) + 1, *cuts])
    places = np.concatenate([row.positions for row in lists] or [np.zeros(0, dtype=np.int64)])
    sizes = np.array([len(row) for row in relevant], dtype=np.int64)
    wanted = np.repeat(np.arange(len(relevant)), sizes) * products
    wanted += np.concatenate(relevant or [np.zeros(0, dtype=np.int64)])
    hit = np.zeros((len(lists), depth))
    hit[users, ranks] = np.isin(users * products + places, wanted)
    groups = np.full((len(lists), depth), -1, dtype=np.int64)
    groups[users, ranks] = tie_groups(lists)
    smoothed = smooth(hit, groups)
    found: ByMetric = {}
    for k in cuts:
        found[f"recall@{k}"] = recall_at(smoothed, sizes, k=k)
        found[f"ndcg@{k}"] = ndcg_at(smoothed, sizes, k=k)
    return found


def tie_groups(lists: Sequence[Filled]) -> NDArray[np.int64]:
    """A running number that grows wherever score, source or rung changes, int64 [products of all lists]."""
    if not lists:
        return np.zeros(0, dtype=np.int64)
    scores = np.concatenate([row.scores for row in lists])
    names: dict[tuple[str, str], int] = {}
    origin = np.array(
        [names.setdefault(pair, len(names)) for row in lists for pair in zip(row.sources, row.rungs, strict=True)],
        dtype=np.int64,
    )
    changed = np.ones(len(scores), dtype=np.bool_)
    changed[1:] = (scores[1:] != scores[:-1]) | (origin[1:] != origin[:-1])
    return np.cumsum(changed)


def protocol_name(engine: Engine, kind: str, *, split: str, repeats: bool) -> str:
    """The protocol's name as it stands beside each figure."""
    fitted = engine.recommendations.learned_from
    learned = "refit" if fitted and all("validation" in parts for parts in fitted.values()) else "no refit"
    table = "repeats allowed" if repeats else "repeats excluded"
    return f"{kind}, {split} part, {learned}, {table}, full ranking, ties averaged"
