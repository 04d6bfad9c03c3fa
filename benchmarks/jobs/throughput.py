"""Training throughput of the cross-encoder against sentence-transformers' CrossEncoderTrainer, in one run.

The same pairs (homedepot, a seeded sample), the same weights to start from, all of them learned, one epoch, the same
machine; whatever stands between texts and learned weights is timed. The contestants take turns, so that whatever else
the machine does meets them alike; before the first turn each warms up on a few batches.

"Defaults" are the library's own: batches of 8 in random order, float32. "Tuned" gives it what ours does by itself:
bfloat16 where the processor has it, batches of 32 of like length, the same cut.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import polars as pl
import torch

from benchmarks.job import Measured, Place, Result, Table, Unit, of
from benchmarks.judged import shop_snapshot
from benchmarks.peer import peer_trainer
from recsys.models.encode import has_bf16
from recsys.text.tokenizer import TextTokenizer
from training.relevance.config import RelevanceConfig
from training.relevance.data import as_pairs, product_texts
from training.relevance.learn import learn, start_folder

PROTOCOL = "one epoch over the same pairs, contestants in turn, three turns each, medians"
SHOPS = ("homedepot",)
PAIRS, WARM, TURNS = 3_072, 256, 3
CPU = torch.device("cpu")
OURS = "ours"
PEER = "sentence-transformers, defaults"
TUNED = "sentence-transformers, bf16, by length, batches of 32"
UNITS = (Unit("relevance", seed=0),)
CONFIG = RelevanceConfig(epochs=1, patience=0, batch_size=32, learning_rate=5e-5, freeze_embeddings=False)


def measure(unit: Unit, place: Place) -> Measured:
    """Pairs per second of each contestant, the median of its turns."""
    snapshot = shop_snapshot("homedepot", place, fold=0)
    judgments = snapshot.judgments().sample(PAIRS, seed=unit.seed, shuffle=True)
    texts = product_texts(snapshot, judgments, fields=CONFIG.fields)
    best = snapshot.manifest.max_grade
    contestants: dict[str, Callable[[int], float]] = {
        OURS: lambda rows: our_seconds(judgments[:rows], texts=texts[:rows], best=best),
        PEER: lambda rows: peer_seconds(judgments[:rows], texts=texts[:rows], best=best, tuned=False),
        TUNED: lambda rows: peer_seconds(judgments[:rows], texts=texts[:rows], best=best, tuned=True),
    }
    for run in contestants.values():
        run(WARM)
    turns = [{name: PAIRS / run(PAIRS) for name, run in contestants.items()} for _ in range(TURNS)]
    speeds = {name: median(turn[name] for turn in turns) for name in contestants}
    ratios = {
        f"{kind} of the turns' ratios to {name}": choose(turn[OURS] / turn[name] for turn in turns)
        for name in (PEER, TUNED)
        for kind, choose in (("lowest", min), ("highest", max))
    }
    return Measured(
        metrics={**speeds, **ratios},
        counts={"pairs": PAIRS, "turns": TURNS},
        config={"ours": CONFIG.model_dump(), "bf16": has_bf16(CPU)},
    )


def our_seconds(judgments: pl.DataFrame, *, texts: list[str], best: float) -> float:
    """Seconds from texts to a learned cross-encoder."""
    start = start_folder(CONFIG, None)
    with TemporaryDirectory() as work:
        begun = perf_counter()
        tokenizer = TextTokenizer.load(start)
        pairs = as_pairs(judgments, texts=texts, max_grade=best, tokenizer=tokenizer, config=CONFIG)
        learn(pairs, None, config=CONFIG, start=start, work=Path(work))
        return perf_counter() - begun


def peer_seconds(judgments: pl.DataFrame, *, texts: list[str], best: float, tuned: bool) -> float:
    """Seconds of the peer's trainer, which tokenises as it goes."""
    settings: dict[str, Any] = (
        {
            "max_length": CONFIG.max_length,
            "per_device_train_batch_size": CONFIG.batch_size,
            "bf16": has_bf16(CPU),
            "train_sampling_strategy": "group_by_length",
        }
        if tuned
        else {}
    )
    with (
        TemporaryDirectory() as work,
        peer_trainer(
            judgments,
            texts=texts,
            best=best,
            start=start_folder(CONFIG, None),
            work=Path(work),
            num_train_epochs=1,
            learning_rate=CONFIG.learning_rate,
            **settings,
        ) as trainer,
    ):
        begun = perf_counter()
        trainer.train()
        return perf_counter() - begun


def tables(results: Sequence[Result]) -> list[Table]:
    """Pairs per second, and how many times as fast ours is."""
    rows = []
    for result in of(results, "relevance"):
        metrics = result["metrics"]
        for name in (OURS, PEER, TUNED):
            ratio, span = metrics[OURS] / metrics[name], "-"
            if name != OURS:
                low, high = (metrics[f"{kind} of the turns' ratios to {name}"] for kind in ("lowest", "highest"))
                span = f"{ratio:.2f} [{low:.2f}, {high:.2f}]"
            rows.append([name, f"{metrics[name]:.0f}", span])
    note = (
        f"{PAIRS:,} pairs, query and all text fields of the product; in brackets the lowest and the highest ratio of "
        f"{TURNS} turns. On processors with bfloat16 both use it where the row says so."
    )
    return [
        Table(
            "Cross-encoder, training", ("contestant", "pairs per second", "ours is so many times as fast"), rows, note
        )
    ]
