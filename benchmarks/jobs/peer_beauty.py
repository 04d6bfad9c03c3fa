"""The two-tower beside RecTools' SASRec on the same purchases (beauty): how fast both learn, and what the peer finds.

The peer is eSASRec as published (arXiv 2508.06450: SASRec with LiGR blocks and a sampled softmax of 256 negatives to
each place, histories of 50, dropout .2, a steady rate of .001 in batches of 128), as wide and deep as ours, and runs in
an environment of its own (benchmarks/peers). Pace: ids alone on both sides, one thread each, in turns in one run, by
processor seconds, so that a busy machine wrongs neither. Ours reads only a batch's longest history and shares its 1,024
negatives; the peer fills every history up to 50 and draws its own for each place. Quality: the peer's test figures
after each few epochs, refit, with no epoch chosen; ours stands in the table of beauty.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from benchmarks.job import Measured, Place, Result, Table, Unit, of
from benchmarks.jobs.beauty import IDS, choose
from benchmarks.pace import measure_pace
from benchmarks.peers.environment import answer
from benchmarks.recommenders import Bench, measured
from feature_store.snapshot import Snapshot
from recsys.engine.ladder import Filled
from recsys.models.two_tower_config import FIRST
from recsys.types import Rung
from training.evaluate.lists import score_lists
from training.two_tower.config import TwoTowerSettings
from training.two_tower.events import known_users
from training.two_tower.flat import read_sequences
from training.two_tower.learn import training_batches
from training.two_tower.products import Products

PROTOCOL = "leave-one-out, refit: learned from all events but each user's last"
SHOPS = ("beauty",)
PACE, PEER = "pace", "RecTools eSASRec"
EPOCHS = (4, 8, 12, 16, 20, 24, 32, 40)
TURNS, WARM, OUR_STEPS, THEIR_STEPS = 3, 3, 30, 13
UNITS = (Unit(PACE, seed=0), *(Unit(f"{PEER}, {epochs} epochs", seed=0) for epochs in EPOCHS))
MODEL: Mapping[str, Any] = {
    "ligr": True,
    "n_blocks": 2,
    "n_heads": 2,
    "n_factors": 128,
    "session_max_len": 50,
    "dropout_rate": 0.2,
    "loss": "sampled_softmax",
    "n_negatives": 256,
    "batch_size": 128,
    "lr": 0.001,
}
PARTS = ("train", "validation")
MOST = 20


def measure(unit: Unit, place: Place) -> Measured:
    """The paces of both, or the peer's figures after some epochs."""
    bench = Bench(shop="beauty", place=place.of("beauty"))
    events = place.work / "events.npz"
    if not events.exists():
        write_events(bench.snapshot, file=events)
    settings = {"events": str(events), "model": dict(MODEL), "seed": unit.seed, "k": MOST}
    if unit.variant == PACE:
        return paces(bench, settings, seed=unit.seed or 0)
    epochs = int(unit.variant.split(", ")[1].split()[0])
    settings |= {"folder": str(place.work / "epochs"), "steps": 0, "epochs": epochs}
    found = answer("sasrec", settings)
    holdout = bench.holdout(repeats=False)
    known = bench.snapshot.interactions(*PARTS)["user_id"].unique().sort()
    lists = read_answers(
        Path(found["answers"]), users=known.search_sorted(pl.Series(holdout.trial.user_ids)).to_numpy()
    )
    scored = score_lists(lists, holdout.relevant, products=holdout.products, cuts=(10, MOST))
    own = measured(scored, baselines={}, metrics=(), counts={"users": len(lists), "epochs": epochs})
    seconds = {"processor seconds an epoch": found["seconds an epoch"]}
    return Measured(metrics={**own.metrics, **seconds}, counts=own.counts, config=dict(MODEL))


def write_events(snapshot: Snapshot, *, file: Path) -> None:
    """The events that a refit learns from, as numbers: users in the order of their ids, products by position."""
    events = snapshot.interactions(*PARTS)
    order = pl.int_range(pl.len()).over("user_id").alias("order")
    np.savez(
        file,
        users=events["user_id"].rle_id().cast(pl.Int64).to_numpy(),
        products=events["position"].cast(pl.Int64).to_numpy(),
        moments=events.select(order)["order"].cast(pl.Int64).to_numpy(),
    )


def read_answers(file: Path, *, users: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> list[Filled]:
    """The peer's lists of some users, by their numbers; rows stand by user, best first."""
    found = np.load(file, allow_pickle=False)
    first = np.searchsorted(found["users"], users, side="left")
    last = np.searchsorted(found["users"], users, side="right")
    lists = []
    for start, end in zip(first.tolist(), last.tolist(), strict=True):
        scores = found["scores"][start:end].astype(np.float32)
        sources, rungs = (PEER,) * (end - start), (Rung.PERSONAL,) * (end - start)
        lists.append(Filled(found["products"][start:end], scores, sources, rungs))
    return lists


def paces(bench: Bench, settings: Mapping[str, Any], *, seed: int) -> Measured:
    """Targets learned in a second of processor time by each, in turns."""
    _, config = choose(IDS, seed=seed)
    assert isinstance(config, TwoTowerSettings)  # noqa: S101 - the two-tower's row has two-tower settings
    products = Products(len(bench.catalogue))
    rows = np.arange(products.count) + FIRST
    events = known_users(bench.snapshot, *PARTS)
    sequences = read_sequences(events, rows=rows, folder=bench.place.work)
    batches = training_batches(sequences, products=products, config=config)
    peer = {**settings, "steps": THEIR_STEPS, "warm": WARM, "folder": "", "epochs": 0}
    turns = []
    for _ in range(TURNS):
        theirs = answer("sasrec", peer)
        with TemporaryDirectory() as work:
            ours = measure_pace(batches, products=products, config=config, steps=OUR_STEPS, warm=WARM, work=Path(work))
        turns.append((ours.targets / ours.seconds, theirs["targets"] / theirs["seconds"]))
    ratios = [own / other for own, other in turns]
    return Measured(
        metrics={
            "ours": median(own for own, _ in turns),
            "peer": median(other for _, other in turns),
            "lowest ratio": min(ratios),
            "highest ratio": max(ratios),
        },
        counts={"turns": TURNS, "our steps": OUR_STEPS - WARM, "peer's steps": THEIR_STEPS - WARM},
        config={"ours": config.model_dump(mode="json"), "peer": dict(MODEL)},
    )


def tables(results: Sequence[Result]) -> list[Table]:
    """The paces, and the peer's figures by epochs."""
    found = []
    for result in of(results, PACE):
        metrics = result["metrics"]
        low, high = (f"{metrics[f'{kind} ratio']:.1f}" for kind in ("lowest", "highest"))
        ratio = f"{metrics['ours'] / metrics['peer']:.1f} [{low}, {high}]"
        both = [("two-tower, ids alone", f"{metrics['ours']:,.0f}", ratio), (PEER, f"{metrics['peer']:,.0f}", "")]
        note = (
            f"Events learned in a processor second, the median of {TURNS} turns; lowest and highest ratio in brackets."
        )
        found.append(Table("Pace", ("model", "events/s", "ratio"), both, note))
    peer = [result for result in results if result["variant"] != PACE]
    rows = [
        (
            str(result["counts"]["epochs"]),
            f"{result['metrics']['recall@10']:.4f}",
            f"{result['metrics']['ndcg@10']:.4f}",
            f"{result['metrics']['processor seconds an epoch'] / 60:.1f}",
        )
        for result in sorted(peer, key=lambda result: result["counts"]["epochs"])
    ]
    if rows:
        columns = ("epochs", "R@10", "NDCG@10", "processor minutes an epoch")
        note = "The published run takes up to 200 epochs and reaches .0928 / .0523; what is here is what it had so far."
        found.append(Table(f"{PEER} on beauty, refit", columns, rows, note))
    return found
