"""What learning on costs: a cross-encoder of homedepot learns crowdflower, and is asked homedepot's queries again.

The network has learned homedepot but for the queries of one fold and those that crowdflower has. It then learns
crowdflower's training queries, alone or beside a share of homedepot's own training queries. Measured before and after:
homedepot's held-out queries, and crowdflower's.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from benchmarks.job import Measured, Place, Result, Table, Unit, of, span
from benchmarks.jobs.relevance_crowdflower import BEFORE, SEEDS, TUNING
from benchmarks.judged import NETWORKS, by_query, pooled, shop_queries, shop_snapshot
from feature_store.snapshot import Snapshot
from recsys.metrics.intervals import bootstrap, paired_bootstrap
from recsys.ranking.cross_encoder import CrossEncoderRanker
from recsys.text.normalise import normalise
from recsys.text.tokenizer import TextTokenizer
from training.relevance.data import product_texts, snapshot_pairs
from training.relevance.learn import learn, start_folder
from training.relevance.replay import Past
from training.relevance.sources import Reader, Sources

PROTOCOL = "by query, one outer fold of each shop x 3 seeds, judged pairs, ties averaged; the bound is .005"
SHOPS = ("crowdflower", "homedepot")
FOLD, BOUND = 0, 0.005
BEFORE_IT = "homedepot alone"
REPLAY = {"crowdflower after it": 0.0, "with 10 % of homedepot again": 0.1, "with 30 % of homedepot again": 0.3}
UNITS = tuple(Unit(variant, FOLD, seed) for seed in SEEDS for variant in (BEFORE_IT, *REPLAY))
CROWDFLOWER = "crowdflower.ndcg@10"


def measure(unit: Unit, place: Place) -> Measured:
    """NDCG@10 of each held-out query of both shops."""
    seed = unit.seed or 0
    own = place.of(NETWORKS)
    old, new = (shop_snapshot(shop, own, fold=FOLD) for shop in ("homedepot", "crowdflower"))
    before = learned_old(old, place, seed=seed)
    if unit.variant == BEFORE_IT:
        ranker, config, counts = CrossEncoderRanker.load(before), BEFORE.model_copy(update={"seed": seed}), {}
    else:
        config = TUNING.model_copy(update={"seed": seed, "replay": REPLAY[unit.variant]})
        sources = Sources(past=Past(old, ("train", "validation")))
        pairs = Reader(new, sources, TextTokenizer.load(before), config, place.work).pairs("train", "validation")
        assert pairs is not None  # noqa: S101 - crowdflower has judgments
        learned = learn(pairs, None, config=config, start=before, work=place.work / unit.stem)
        ranker, counts = CrossEncoderRanker(learned.network, learned.tokenizer), {"training pairs": len(pairs)}
    values = {name: asked(ranker, snapshot, place) for name, snapshot in (("ndcg@10", old), (CROWDFLOWER, new))}
    return Measured(
        metrics={name: sum(column) / len(column) for name, column in values.items()},
        counts={"queries": len(values["ndcg@10"]), "crowdflower queries": len(values[CROWDFLOWER]), **counts},
        config=config.model_dump(),
        scores=values,
    )


def learned_old(snapshot: Snapshot, place: Place, *, seed: int) -> Path:
    """The folder of the network that has seen homedepot's other queries; made once for each seed."""
    config, folder = BEFORE.model_copy(update={"seed": seed}), place.work / f"homedepot-seed{seed}"
    if not (folder / "done").exists():
        start = start_folder(config, None)
        judgments = without_crowdflower(snapshot.judgments("train", "validation"), place)
        pairs = snapshot_pairs(snapshot, judgments, tokenizer=TextTokenizer.load(start), config=config)
        learn(pairs, None, config=config, start=start, work=place.work / f"{folder.name}-work").save(folder)
        (folder / "done").touch()
    return folder


def without_crowdflower(judgments: pl.DataFrame, place: Place) -> pl.DataFrame:
    """The judgments of queries that crowdflower does not have."""
    known = set(shop_queries(place.data / "crowdflower"))
    return judgments.filter(pl.Series([normalise(query) not in known for query in judgments["query"]]))


def asked(ranker: CrossEncoderRanker, snapshot: Snapshot, place: Place) -> list[float]:
    """NDCG@10 of a shop's held-out queries."""
    judgments = snapshot.judgments("test")
    if snapshot.manifest.shop != "crowdflower":
        judgments = without_crowdflower(judgments, place)
    texts = product_texts(snapshot, judgments, fields=ranker.fields)
    return by_query(judgments, ranker.score(judgments["query"].to_list(), texts))


def tables(results: Sequence[Result]) -> list[Table]:
    """Before and after, on the old queries and on the new."""
    base = pooled(results, BEFORE_IT)
    rows = []
    for name in (BEFORE_IT, *REPLAY):
        values, other = pooled(results, name), pooled(results, name, metric=CROWDFLOWER)
        if not len(values):
            continue
        old, new = bootstrap(values, seed=0), bootstrap(other, seed=0)
        loss = "-"
        if name != BEFORE_IT and len(values) == len(base):
            gap = paired_bootstrap(values, base, seed=0)
            loss = f"{span(gap)}, {'within' if gap.low > -BOUND else 'not within'} {BOUND}"
        crowd = f"{new.mean:.4f} [{new.low:.4f}, {new.high:.4f}]"
        rows.append([name, f"{old.mean:.4f} [{old.low:.4f}, {old.high:.4f}]", loss, crowd])
    columns = ("learned", "homedepot's held-out queries, NDCG@10", "against homedepot alone", "crowdflower's")
    counts = of(results, BEFORE_IT)
    queries = f"{counts[0]['counts']['queries']} and {counts[0]['counts']['crowdflower queries']}" if counts else "no"
    seeds = len({result["seed"] for result in counts})
    note = (
        f"{queries} held-out queries; a query's value is its mean over {seeds} seeds. "
        "Two shares of replay were fixed in advance."
    )
    return [Table("What is forgotten", columns, rows, note)]
