"""A student of three layers in place of its teacher of six, on the unseen queries of a large shop (homedepot).

The teacher is the network of forgetting-homedepot: it has learned homedepot but for the queries of one fold and those
that crowdflower has. The student starts from layers 0, 2 and 5 of it and learns its logits, four parts to one of the
grades, on the pairs that the teacher learned and on what BM25 finds for the same queries. Beside it stands a network
that starts from the same three layers and learns the grades alone. Nine times as many queries are held out here as in
a fold of crowdflower's, so that a difference of .005 can be told.
"""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from benchmarks.job import Measured, Place, Result, Table, Unit, mean, of
from benchmarks.jobs.distillation_crowdflower import BOUND, WIDE, against, logits, taught_pairs
from benchmarks.jobs.forgetting_homedepot import FOLD, learned_old, without_crowdflower
from benchmarks.jobs.relevance_crowdflower import SEEDS
from benchmarks.judged import NETWORKS, by_query, pooled, shop_snapshot
from feature_store.snapshot import Snapshot
from recsys.metrics.intervals import bootstrap
from recsys.models.cross_encoder import CrossEncoder
from recsys.text.tokenizer import TextTokenizer
from training.relevance.config import RelevanceConfig
from training.relevance.data import snapshot_pairs
from training.relevance.learn import learn

PROTOCOL = "by query, one outer fold x 3 seeds, judged pairs, ties averaged; within .005 is non-inferiority"
SHOPS = ("homedepot", "crowdflower")
TEACHER, STUDENT, ALONE = "teacher of six layers", "student of three layers", "three layers on the grades alone"
RECIPES = {STUDENT: WIDE, ALONE: WIDE.model_copy(update={"teachers": (), "teacher_weight": 0.0, "transfer": 0})}
UNITS = tuple(Unit(name, FOLD, seed) for seed in SEEDS for name in (TEACHER, *RECIPES))


def measure(unit: Unit, place: Place) -> Measured:
    """NDCG@10 of each held-out query, and how fast its pairs are scored."""
    seed = unit.seed or 0
    snapshot = shop_snapshot("homedepot", place.of(NETWORKS), fold=FOLD)
    judgments = without_crowdflower(snapshot.judgments("test"), place)
    teacher = learned_old(snapshot, place.of("forgetting-homedepot"), seed=seed)
    config = None if unit.variant == TEACHER else RECIPES[unit.variant].model_copy(update={"seed": seed})
    if config is None:
        network, tokenizer = CrossEncoder.load(teacher), TextTokenizer.load(teacher)
    else:
        network, tokenizer = student(snapshot, teacher, config=config, place=place, work=place.work / unit.stem)
    begun = perf_counter()
    values = by_query(judgments, logits(network, tokenizer, snapshot, judgments))
    pace = len(judgments) / (perf_counter() - begun)
    queries = judgments["query_id"].n_unique()
    return Measured(
        metrics={"ndcg@10": sum(values) / len(values), "pairs per second": pace},
        counts={"queries": len(values), "left out (one grade only)": queries - len(values), "pairs": len(judgments)},
        config={} if config is None else config.model_dump(),
        scores={"ndcg@10": values},
    )


def student(
    snapshot: Snapshot, teacher: Path, *, config: RelevanceConfig, place: Place, work: Path
) -> tuple[CrossEncoder, TextTokenizer]:
    """The network of three layers after what the teacher learned from."""
    known = without_crowdflower(snapshot.judgments("train", "validation"), place)
    if config.teachers:
        pairs = taught_pairs(snapshot, known, config=config, start=teacher, teacher=teacher, place=place)
    else:
        pairs = snapshot_pairs(snapshot, known, tokenizer=TextTokenizer.load(teacher), config=config)
    learned = learn(pairs, None, config=config, start=teacher, work=work)
    return learned.network, learned.tokenizer


def tables(results: Sequence[Result]) -> list[Table]:
    """The teacher, the student and what three layers give without a teacher."""
    base, rows = pooled(results, TEACHER), []
    for name in (TEACHER, *RECIPES):
        values = pooled(results, name)
        if len(values):
            own = bootstrap(values, seed=0)
            seeds = len({result["seed"] for result in of(results, name)})
            gap = "-" if name == TEACHER else against(values, base)
            ndcg = f"{own.mean:.4f} [{own.low:.4f}, {own.high:.4f}]"
            pace = mean(of(results, name), "pairs per second").split(".")[0]
            rows.append([name, str(seeds), str(len(values)), ndcg, gap, pace])
    columns = ("ranker", "seeds", "queries", "NDCG@10", "against the teacher", "pairs per second")
    note = (
        f"A query's value is its mean over seeds. Within {BOUND}: the interval's lower end is above -{BOUND}. One "
        "configuration of the student, that of distillation-crowdflower's first step, was tried. Speed on a machine "
        "that others used, too."
    )
    return [Table("Three layers in place of six, homedepot", columns, rows, note)]
