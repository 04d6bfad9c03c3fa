"""A table made by hand: three queries, six products, two systems; names that try to break files and pages."""

from dataclasses import replace

import numpy as np
import polars as pl

from recsys.catalogue import Catalogue
from training.evaluate.measured import Asked, Measured
from training.evaluate.queries import JudgedQuery, judged_metrics
from training.evaluate.rankings import Rankings, by_score
from training.evaluate.slices import Slicing

ATTACK = "<script>alert('x')</script>"
IDS = ['"><b>', "a b", "a%20b", "a_b", "c", "d"]
TITLES = [ATTACK, "blue sofa", "blue & red sofa", "$5 lamp", "日本 lamp", "desk"]
QUERIES = [
    JudgedQuery("q 1", f"blue sofa {ATTACK}", np.array([0, 1, 2, 3]), np.array([0.0, 3.0, 1.0, 0.0])),
    JudgedQuery("q2", "lamp", np.array([2, 3, 4]), np.array([0.0, 2.0, 1.0])),
    JudgedQuery("q3", "nothing", np.array([5]), np.array([0.0])),
]
SCORES = {
    "full": [[0.1, 0.9, 0.8, 0.2], [0.3, 0.2, 0.1], [1.0]],
    "BM25 titles": [[0.0, 0.0, 2.0, 0.0], [0.2, 1.0, 0.5], [0.0]],
}


def catalogue() -> Catalogue:
    frame = {"position": range(len(IDS)), "product_id": IDS, "title": TITLES}
    return Catalogue(pl.DataFrame(frame, schema_overrides={"position": pl.Int64}))


def table(cuts: tuple[int, ...] = (2, 10)) -> Measured:
    """The judged protocol over the three queries; the third has no positive product."""
    scores = {name: [np.array(row, dtype=np.float32) for row in rows] for name, rows in SCORES.items()}
    rankings = {
        name: Rankings.of(by_score(query.positions, row) for query, row in zip(QUERIES, rows, strict=True))
        for name, rows in scores.items()
    }
    return Measured(
        protocol="by hand",
        keys=[query.query_id for query in QUERIES],
        asked=Asked(
            unit="query",
            catalogue=catalogue(),
            texts=[query.query for query in QUERIES],
            judged=[(query.positions, query.grades) for query in QUERIES],
            relevant=2.0,
            counts={"searches": np.array([5, 2, 0])},
            slicings=(
                Slicing("frequency", ["head", "tail", "tail"], ("head", "tail"), "a rule"),
                Slicing("category", [ATTACK, "$a_b$ -->", "none"], (ATTACK, "$a_b$ -->", "none"), ATTACK),
            ),
        ),
        subject="full",
        systems={name: judged_metrics(QUERIES, rows, cuts=cuts, relevant=2.0) for name, rows in scores.items()},
        baselines=["BM25 titles"],
        counts={"queries": 3},
        runs=rankings,
        model=f"small {ATTACK}",
        snapshot="abc",
    )


def user_table() -> Measured:
    """The same lists as if they were recommended to users."""
    made = table()
    asked = replace(
        made.asked, unit="user", texts=["", "", ""], judged=[(row, np.ones(len(row))) for row, _ in made.asked.judged]
    )
    return replace(made, keys=["secret-1", "secret-2", "secret-3"], asked=replace(asked, relevant=1.0))
