"""Which techniques help the cross-encoder: each against the plain recipe, on a small student (crowdflower, homedepot).

The student is the stock backbone's first two layers and reads titles. It sees a sample of homedepot once (whole
queries, none that crowdflower has), then crowdflower's queries twice. It is measured on training queries of an outer
fold that were held out from its training; no outer test query is read. A row says how its settings differ from the
plain recipe's. The teacher of a row that has one is the plain row's student of the same fold.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.job import Measured, Place, Result, Table, Unit, of, span
from benchmarks.jobs.relevance_crowdflower import TITLE, digest, relevance
from benchmarks.judged import by_query, pooled, shop_queries, shop_snapshot
from recsys.metrics.intervals import bootstrap, paired_bootstrap
from recsys.text.field_names import FIELDS
from recsys.text.normalise import normalise
from recsys.text.tokenizer import TextTokenizer
from training.adapt.config import AdaptConfig
from training.adapt.learn import adapt
from training.relevance.config import RelevanceConfig
from training.relevance.data import snapshot_pairs
from training.relevance.learn import Learned, start_folder
from training.relevance.negatives import with_negatives
from training.relevance.soup import learn_soup
from training.relevance.teacher import Teachers

PROTOCOL = "by query, inner validation queries (a third) of the training part of 2 outer folds, 1 seed, ties averaged"
SHOPS = ("crowdflower", "homedepot")
FOLDS = (0, 1)
SAMPLE = 15_000  # pairs of homedepot, or a few more: queries stay whole
INNER = 3  # one in so many training queries is held out
PLAIN = "plain"
BEFORE = RelevanceConfig(
    epochs=1,
    patience=0,
    batch_size=32,
    learning_rate=7e-5,
    layers=2,
    fields=TITLE,
    max_length=32,
    freeze_embeddings=False,
)
TUNING = RelevanceConfig(epochs=2, patience=0, batch_size=64, learning_rate=3e-5, layers=2, fields=TITLE, max_length=32)
Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Variant:
    """How a row differs from the plain recipe.

    Attributes:
        homedepot: settings of the first step; rows with the same ones share it.
        crowdflower: settings of the second step; whoever `teachers` names, the plain row's student teaches.
        adapted: whether the student has first read both shops' titles with words masked.
    """

    homedepot: Settings = field(default_factory=dict)
    crowdflower: Settings = field(default_factory=dict)
    adapted: bool = False


def both(**settings: Any) -> Variant:
    """The same settings in both steps."""
    return Variant(settings, settings)


def second(**settings: Any) -> Variant:
    """Settings of the second step alone."""
    return Variant({}, settings)


SWAPS: Settings = {"synonyms": 0.15, "typos": 0.1, "word_dropout": 0.1}
ALL_TEXT: Settings = {"fields": FIELDS, "max_length": 96}
VARIANTS: Mapping[str, Variant] = {
    PLAIN: Variant(),
    **{
        f"loss {name}": both(loss=name)
        for name in ("ordinal", "ranknet", "margin-mse", "listnet", "softmax", "lambdarank", "lambdaloss")
    },
    "layer_decay .8": both(layer_decay=0.8),
    "rater_weight": second(rater_weight=True),
    **{f"hard negatives {count}": second(negatives=count) for count in (5, 20)},
    "hard negatives 20, rescored": second(negatives=20, max_relevance=0.5, teachers=(PLAIN,), teacher_weight=0.0),
    "self-distillation": second(teachers=(PLAIN,)),
    **{f"{name} {share}": both(**{name: share}) for name, share in SWAPS.items()},
    "synonyms, typos, word_dropout": both(**SWAPS),
    "all text": both(**ALL_TEXT),
    "all text, field_dropout .3": both(**ALL_TEXT, field_dropout=0.3, attribute_dropout=0.3),
    "all text, all augmentation": both(**ALL_TEXT, **SWAPS, field_dropout=0.3, attribute_dropout=0.3),
    "FGM .3": both(adversarial=0.3),
    "FGM 1": both(adversarial=1.0),
    "R-Drop 1": both(rdrop=1.0),
    "R-Drop 5": both(rdrop=5.0),
    "EMA .99": both(ema=0.99),
    "soup of 2": second(soup=2),
    "LoRA 8, crowdflower": second(lora=8, learning_rate=5e-4),
    "LoRA 8": both(lora=8, learning_rate=1e-3),
    "masked words first": Variant(adapted=True),
}
UNITS = tuple(Unit(name, fold, 0) for fold in FOLDS for name in VARIANTS)


def measure(unit: Unit, place: Place) -> Measured:
    """NDCG@10 of each held-out training query of the fold."""
    snapshot, (first, config) = shop_snapshot("crowdflower", place, fold=unit.fold or 0), steps(unit)
    held = split(snapshot.judgments("train", "validation"))[1]
    learned, pairs = student(unit, place)
    values = by_query(held, relevance(learned, snapshot, held))
    queries = held["query_id"].n_unique()
    return Measured(
        metrics={"ndcg@10": sum(values) / len(values)},
        counts={
            "queries": len(values),
            "left out (one grade only)": queries - len(values),
            "pairs learned from": pairs,
            "pairs": len(held),
        },
        config={"homedepot": first.model_dump(), "crowdflower": config.model_dump()},
        scores={"ndcg@10": values},
    )


def steps(unit: Unit) -> tuple[RelevanceConfig, RelevanceConfig]:
    """A row's settings of both steps."""
    variant, seed = VARIANTS[unit.variant], unit.seed or 0
    return settle(BEFORE, variant.homedepot, seed=seed), settle(TUNING, variant.crowdflower, seed=seed)


def student(unit: Unit, place: Place) -> tuple[Learned, int]:
    """A row's student, and how many pairs it has learned from in the second step."""
    first, config = steps(unit)
    before = after_homedepot(first, place, adapted=VARIANTS[unit.variant].adapted)
    snapshot = shop_snapshot("crowdflower", place, fold=unit.fold or 0)
    judged = split(snapshot.judgments("train", "validation"))[0]
    teachers = Teachers((teacher(unit, place),), place.work / "logits", config.precision) if config.teachers else None
    mined = place.work / "negatives"
    rows = with_negatives(snapshot, judged, known=judged, config=config, work=mined, teachers=teachers)
    teach, tokenizer = teachers.logits if teachers else None, TextTokenizer.load(before)
    pairs = snapshot_pairs(snapshot, rows, tokenizer=tokenizer, config=config, teach=teach)
    work = place.work / f"{before.name}-{unit.stem}-{digest(config)}"
    return learn_soup(pairs, None, config=config, start=before, work=work).learned, len(pairs)


def teacher(unit: Unit, place: Place) -> Path:
    """The folder of the plain row's student of a row's fold and seed; made once."""
    plain = Unit(PLAIN, unit.fold, unit.seed)
    folder = place.work / f"{plain.stem}-{digest(steps(plain)[1])}"
    if not (folder / "done").exists():
        student(plain, place)[0].save(folder)
        (folder / "done").touch()
    return folder


def settle(plain: RelevanceConfig, settings: Settings, *, seed: int) -> RelevanceConfig:
    """The plain settings of a step with a variant's, checked."""
    return RelevanceConfig.model_validate(plain.model_dump() | dict(settings) | {"seed": seed})


def split(judgments: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Judgments to learn from, and those of the queries that are held out: one query in three by its hash."""
    held = pl.Series([hashed("inner:", query) % INNER == 0 for query in judgments["query"]], dtype=pl.Boolean)
    return judgments.filter(~held), judgments.filter(held)


def hashed(salt: str, query: str) -> int:
    """A number that a query's normalised text always has."""
    return int(hashlib.sha256((salt + normalise(query)).encode()).hexdigest(), 16)


def after_homedepot(config: RelevanceConfig, place: Place, *, adapted: bool = False) -> Path:
    """The folder of the student after homedepot; made once for each choice of settings."""
    folder = place.work / f"homedepot-{digest(config)}{'-adapted' if adapted else ''}"
    if not (folder / "done").exists():
        start = adapted_student(place) if adapted else start_folder(config, None)
        snapshot = shop_snapshot("homedepot", place, fold=0)
        judgments = sample(snapshot.judgments(), known=frozenset(shop_queries(place.data / "crowdflower")))
        pairs = snapshot_pairs(snapshot, judgments, tokenizer=TextTokenizer.load(start), config=config)
        work = place.work / f"{folder.name}-work"
        learn_soup(pairs, None, config=config, start=start, work=work).learned.save(folder)
        (folder / "done").touch()
    return folder


def adapted_student(place: Place) -> Path:
    """The student's layers after both shops' titles, with words masked; made once."""
    folder = place.work / "adapted"
    if not (folder / "done").exists():
        snapshots = [shop_snapshot(shop, place, fold=0) for shop in SHOPS]
        config = AdaptConfig(layers=BEFORE.layers, fields=TITLE, max_length=BEFORE.max_length)
        adapt(snapshots, config=config, out=folder, work=place.work / "adapted-work")
        (folder / "done").touch()
    return folder


def sample(judgments: pl.DataFrame, *, known: frozenset[str]) -> pl.DataFrame:
    """All judgments of so many queries as have SAMPLE pairs, drawn by their hash; no query that is known."""
    sizes = judgments.group_by("query").len()
    drawn = sorted((hashed("sample:", query), query, size) for query, size in sizes.iter_rows())
    chosen, pairs = [], 0
    for _, query, size in drawn:
        if normalise(query) in known:
            continue
        if pairs >= SAMPLE:
            break
        chosen.append(query)
        pairs += size
    return judgments.filter(pl.col("query").is_in(chosen))


def tables(results: Sequence[Result]) -> list[Table]:
    """One row for each variant over the folds that it and the plain recipe were measured on, best first."""
    rows = []
    for name in VARIANTS:
        folds = {result["fold"] for result in of(results, name)} & {result["fold"] for result in of(results, PLAIN)}
        shared = [result for result in results if result["fold"] in folds]
        values, base = pooled(shared, name), pooled(shared, PLAIN)
        if len(values):
            own, gain = bootstrap(values, seed=0), paired_bootstrap(values, base, seed=0)
            minutes = sum(result["seconds"] for result in of(shared, name)) / 60
            printed = "-" if name == PLAIN else span(gain)
            rows.append((gain.mean, [name, told(name), f"{len(values)}", f"{own.mean:.4f}", printed, f"{minutes:.1f}"]))
    tried = len({result["variant"] for result in results} - {PLAIN})
    note = (
        f"{tried} variants tried beside the plain recipe, one seed; intervals are not corrected for that. Minutes are "
        "of all folds; rows that share the first step with an earlier one are charged for the second alone. Neither "
        "shop has attributes, so that attribute_dropout changes nothing, nor synonyms of its own: all are learned."
    )
    columns = ("variant", "settings (homedepot / crowdflower)", "queries", "NDCG@10", "gain over plain", "minutes")
    best_first = [row for _, row in sorted(rows, key=lambda pair: -pair[0])]
    return [Table("Screening of techniques on a student of 2 layers", columns, best_first, note)]


def told(name: str) -> str:
    """How a variant's settings differ, as it is printed."""
    variant = VARIANTS[name]
    sides = [
        ", ".join(f"{key}={value}" for key, value in settings.items() if key != "fields") or "plain"
        for settings in (variant.homedepot, variant.crowdflower)
    ]
    if variant.adapted:
        return "masked words of both shops' titles, then plain"
    return sides[0] if sides[0] == sides[1] else " / ".join(sides)
