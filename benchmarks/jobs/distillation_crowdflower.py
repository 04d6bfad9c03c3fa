"""A student of three layers learned from an ensemble of three cross-encoders, on unseen queries (crowdflower).

The teachers of an outer fold are the three networks (seeds 0 to 2) of relevance-crowdflower for that fold: none of
them has seen its test queries. The student starts from layers 0, 2 and 5 of one of them after homedepot. It learns the
mean logit of the three, and the grades: first on homedepot's pairs and on what BM25 finds for homedepot's queries,
without the queries that crowdflower has, then on crowdflower's pairs of the fold's other queries and on what BM25
finds for those. Two more ways: three epochs on four times the pairs of homedepot, and besides that made-up queries on
crowdflower, spans of its catalogue's titles.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl

from benchmarks.job import Measured, Place, Result, Table, Unit, mean, of, span
from benchmarks.jobs.relevance_crowdflower import FOLDS, SEEDS, TITLE, after_homedepot, digest, tuned
from benchmarks.judged import NETWORKS, by_query, pooled, shop_queries, shop_snapshot
from feature_store.snapshot import Snapshot
from recsys.metrics.intervals import bootstrap, paired_bootstrap
from recsys.models.cross_encoder import CrossEncoder
from recsys.models.encode import score_pairs
from recsys.models.ensemble import CrossEncoderEnsemble, PairNetwork, load_cross_encoder, member_folders
from recsys.text.normalise import normalise
from recsys.text.tokenizer import TextTokenizer
from training.relevance.config import RelevanceConfig
from training.relevance.data import join_pairs, product_texts, snapshot_pairs
from training.relevance.learn import learn
from training.relevance.module import Pairs
from training.relevance.teacher import Teachers
from training.relevance.transfer import found_pairs, title_queries, unjudged_pairs

PROTOCOL = "by query, 5 outer folds x 3 seeds, judged pairs, ties averaged; within .005 is non-inferiority"
SHOPS = ("crowdflower", "homedepot")
TEACHER, STUDENT = "ensemble of three", "student of three layers"
MORE_PAIRS, TITLES = "student, four times the pairs", "student, four times the pairs, spans of titles"
MEMBER = "one of the three"
STUDENTS = (STUDENT, MORE_PAIRS, TITLES)
UNITS = (
    *(Unit(TEACHER, fold) for fold in FOLDS),
    *(Unit(name, fold, seed) for seed in SEEDS for name in STUDENTS for fold in FOLDS),
)
BOUND = 0.005
WIDE = RelevanceConfig(
    epochs=2,
    patience=0,
    batch_size=64,
    learning_rate=1e-4,
    fields=TITLE,
    max_length=32,
    freeze_embeddings=False,
    layers=3,
    layer_choice="spaced",
    teachers=("the three after homedepot",),
    teacher_loss="mse",
    teacher_weight=0.8,
    transfer=2,
)
NARROW = WIDE.model_copy(
    update={
        "epochs": 3,
        "learning_rate": 5e-5,
        "freeze_embeddings": True,
        "teachers": ("the three of the fold",),
        "transfer": 30,
    }
)
WIDER = WIDE.model_copy(update={"transfer": 8, "epochs": 3})
RECIPES = {
    STUDENT: (WIDE, NARROW),
    MORE_PAIRS: (WIDER, NARROW),
    TITLES: (WIDER, NARROW.model_copy(update={"transfer_titles": 500})),
}


def measure(unit: Unit, place: Place) -> Measured:
    """NDCG@10 of each test query of the fold."""
    fold, seed = unit.fold or 0, unit.seed or 0
    snapshot = shop_snapshot("crowdflower", place.of(NETWORKS), fold=fold)
    judgments = snapshot.judgments("test")
    told: dict[str, Any] = {}
    more: dict[str, list[float]] = {}
    ensemble = fold_teachers(place, snapshot, fold=fold)
    if unit.variant == TEACHER:
        network: PairNetwork = load_cross_encoder(ensemble)
        tokenizer = TextTokenizer.load(ensemble)
        alone = [
            by_query(judgments, logits(CrossEncoder.load(member), tokenizer, snapshot, judgments))
            for member in member_folders(ensemble)
        ]
        more = {"member.ndcg@10": [float(value) for value in np.mean(alone, axis=0)]}
    else:
        wide, config = (recipe.model_copy(update={"seed": seed}) for recipe in RECIPES[unit.variant])
        start = wide_student(place, config=wide)
        known = snapshot.judgments("train", "validation")
        pairs = taught_pairs(snapshot, known, config=config, start=start, teacher=ensemble, place=place)
        work = place.work / f"{start.name}-fold{fold}-{digest(config)}"
        learned = learn(pairs, None, config=config, start=start, work=work)
        network, tokenizer = learned.network, learned.tokenizer
        told = {"homedepot": wide.model_dump(), "crowdflower": config.model_dump(), "pairs": len(pairs)}
    begun = perf_counter()
    values = by_query(judgments, logits(network, tokenizer, snapshot, judgments))
    queries = judgments["query_id"].n_unique()
    return Measured(
        metrics={"ndcg@10": sum(values) / len(values), "pairs per second": len(judgments) / (perf_counter() - begun)},
        counts={"queries": len(values), "left out (one grade only)": queries - len(values), "pairs": len(judgments)},
        config=told,
        scores={"ndcg@10": values, **more},
    )


def logits(
    network: PairNetwork, tokenizer: TextTokenizer, snapshot: Snapshot, judgments: pl.DataFrame
) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """float32 [pairs] of a network."""
    texts = product_texts(snapshot, judgments, fields=network.fields)
    return score_pairs(network, tokenizer, judgments["query"].to_list(), texts)


def fold_teachers(place: Place, snapshot: Snapshot, *, fold: int) -> Path:
    """The ensemble of the fold's three networks; made once."""
    own = place.of(NETWORKS)
    starts = [after_homedepot(own, seed=seed) for seed in SEEDS]
    folder = place.work / f"teacher-fold{fold}-{'-'.join(start.name[-4:] for start in starts)}"
    if not (folder / "done").exists():
        members = [
            tuned(snapshot, start, work=own.work / f"{start.name}-fold{fold}", seed=seed).network
            for seed, start in zip(SEEDS, starts, strict=True)
        ]
        save_ensemble(members, tokenizer=TextTokenizer.load(starts[0]), folder=folder)
    return folder


def wide_teachers(place: Place) -> Path:
    """The ensemble of the three networks after homedepot; made once."""
    starts = [after_homedepot(place.of(NETWORKS), seed=seed) for seed in SEEDS]
    folder = place.work / f"teacher-{'-'.join(start.name[-4:] for start in starts)}"
    if not (folder / "done").exists():
        members = [CrossEncoder.load(start) for start in starts]
        save_ensemble(members, tokenizer=TextTokenizer.load(starts[0]), folder=folder)
    return folder


def save_ensemble(members: Sequence[CrossEncoder], *, tokenizer: TextTokenizer, folder: Path) -> None:
    """Write a component of several members."""
    folder.mkdir(parents=True, exist_ok=True)
    CrossEncoderEnsemble(members).save(folder)
    tokenizer.save(folder)
    (folder / "done").touch()


def wide_student(place: Place, *, config: RelevanceConfig) -> Path:
    """The folder of the student after homedepot; made once for each seed and choice of settings."""
    start = after_homedepot(place.of(NETWORKS), seed=config.seed)
    folder = place.work / f"student-{start.name[-4:]}-{digest(config)}"
    if not (folder / "done").exists():
        snapshot = shop_snapshot("homedepot", place.of(NETWORKS), fold=0)
        known = set(shop_queries(place.data / "crowdflower"))
        judgments = snapshot.judgments()
        judgments = judgments.filter(pl.Series([normalise(query) not in known for query in judgments["query"]]))
        pairs = taught_pairs(snapshot, judgments, config=config, start=start, teacher=wide_teachers(place), place=place)
        learn(pairs, None, config=config, start=start, work=place.work / f"{folder.name}-work").save(folder)
        (folder / "done").touch()
    return folder


def taught_pairs(
    snapshot: Snapshot, judgments: pl.DataFrame, *, config: RelevanceConfig, start: Path, teacher: Path, place: Place
) -> Pairs:
    """The judged pairs, then what BM25 finds for their queries and for made-up ones, with the teachers' logits."""
    teachers, tokenizer = Teachers((teacher,), place.work / "logits"), TextTokenizer.load(start)
    lexical = place.work / "lexical"
    found = [unjudged_pairs(snapshot, judgments, count=config.transfer, work=lexical)]
    if config.transfer_titles:
        made = title_queries(snapshot, count=config.transfer_titles, seed=config.seed)
        found.append(found_pairs(snapshot, made, count=config.transfer, work=lexical))
    graded, *more = (
        snapshot_pairs(snapshot, rows, tokenizer=tokenizer, config=config, teach=teachers.logits)
        for rows in (judgments, *found)
    )
    return reduce(join_pairs, (replace(pairs, weights=np.zeros_like(pairs.weights)) for pairs in more), graded)


def tables(results: Sequence[Result]) -> list[Table]:
    """The ensemble, one of its networks and the students, and how far each is from the ensemble."""
    teacher = pooled(results, TEACHER)
    single = pooled(results, TEACHER, metric="member.ndcg@10")
    rows = []
    for name in (TEACHER, MEMBER, *STUDENTS):
        values = single if name == MEMBER else pooled(results, name)
        if not len(values):
            continue
        own = bootstrap(values, seed=0)
        speed = "-" if name == MEMBER else mean(of(results, name), "pairs per second").split(" ")[0].split(".")[0]
        rows.append(
            [
                name,
                str(len({result["seed"] for result in of(results, name)})) if name in STUDENTS else "3",
                str(len(values)),
                f"{own.mean:.4f} [{own.low:.4f}, {own.high:.4f}]",
                "-" if name == TEACHER else against(values, teacher),
                against(values, single) if name in STUDENTS else "-",
                speed,
            ]
        )
    columns = (
        "ranker",
        "seeds",
        "queries",
        "NDCG@10",
        "against the ensemble",
        "against one of the three",
        "pairs per second",
    )
    tried = sum(bool(of(results, name)) for name in STUDENTS)
    note = (
        "A query's value is its mean over seeds; for one of the three it is the mean of the three networks. "
        f"Within {BOUND}: the interval's lower end is above -{BOUND}. {tried} of {len(STUDENTS)} configurations of the "
        "student, each fixed before its test folds were looked at, have been measured; all of those stand here. Speed "
        "on a machine that others used, too."
    )
    return [Table("Three layers in place of three networks of six", columns, rows, note)]


def against(
    values: np.ndarray[tuple[int], np.dtype[np.float64]], base: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> str:
    """The paired difference, and whether it is within the bound; "-" where they are not of the same queries."""
    if len(values) != len(base):
        return "-"
    gap = paired_bootstrap(values, base, seed=0)
    return f"{span(gap)}, {'within' if gap.low > -BOUND else 'not within'} {BOUND}"
