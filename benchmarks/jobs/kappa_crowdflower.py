"""Agreement with the raters on known queries (crowdflower): cross-encoder and TF-IDF + SVR, quadratic weighted kappa.

Pairs are split at random, so that every query is seen in training. Scores become grades by cut-points that are fitted
inside the outer training part, on scores of pairs that the model has not learned from. All settings were fixed in
advance: one configuration of each was tried.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from benchmarks.job import Measured, Place, Result, Table, Unit, mean, of
from benchmarks.jobs.relevance_crowdflower import TITLE, after_homedepot
from benchmarks.judged import NETWORKS, shop_snapshot
from recsys.metrics.agreement import fit_cuts, quadratic_kappa, to_grades
from recsys.models.encode import infer
from recsys.text.tokenizer import TextTokenizer
from training.relevance.config import RelevanceConfig
from training.relevance.data import as_pairs, product_texts
from training.relevance.learn import learn
from training.relevance.module import Pairs

PROTOCOL = "quadratic weighted kappa, stratified 3 x 3 folds over pairs, cut-points fitted inside"
SHOPS = ("crowdflower", "homedepot")
CROSS, REGRESSION = "cross-encoder", "TF-IDF + SVR"
FOLDS, SEEDS = range(3), range(3)
UNITS = tuple(Unit(variant, fold, seed) for variant in (REGRESSION, CROSS) for seed in SEEDS for fold in FOLDS)
TUNING = RelevanceConfig(
    epochs=3, patience=0, batch_size=64, learning_rate=7e-5, fields=TITLE, max_length=32, freeze_embeddings=True
)
COMPONENTS = 200  # of the truncated singular value decomposition under the regression

Rows = NDArray[np.int64]
Scores = NDArray[Any]


def measure(unit: Unit, place: Place) -> Measured:
    """The kappa of one outer fold; a pair's truth is its mean grade, rounded, halves up."""
    fold, seed = unit.fold or 0, unit.seed or 0
    snapshot = shop_snapshot("crowdflower", place.of(NETWORKS), fold=0)
    judgments = snapshot.judgments()
    truth = np.floor(judgments["grade"].to_numpy() + 0.5).astype(np.int64)
    train, test = split(truth, fold=fold, seed=seed)
    if unit.variant == CROSS:
        config = TUNING.model_copy(update={"seed": seed})
        texts = product_texts(snapshot, judgments, fields=TUNING.fields)
        inner, outer = cross_encoder(judgments, texts, truth, train, test, config=config, place=place, fold=fold)
        told = config.model_dump()
    else:
        inner, outer = regression(judgments, product_texts(snapshot, judgments), train, test, seed=seed)
        told = {"components": COMPONENTS, "inner folds": 3}
    rows, scores = inner
    cuts = fit_cuts(scores, truth[rows])
    kappa = quadratic_kappa(to_grades(outer, cuts=cuts), truth[test])
    return Measured({"kappa": kappa}, counts={"train": len(train), "test": len(test)}, config=told)


def split(truth: Rows, *, fold: int, seed: int) -> tuple[Rows, Rows]:
    """Rows of the outer training and test part."""
    parts = StratifiedKFold(n_splits=len(FOLDS), shuffle=True, random_state=seed).split(truth, truth)
    train, test = list(parts)[fold]
    return train, test


def cross_encoder(
    judgments: pl.DataFrame,
    texts: list[str],
    truth: Rows,
    train: Rows,
    test: Rows,
    *,
    config: RelevanceConfig,
    place: Place,
    fold: int,
) -> tuple[tuple[Rows, Scores], Scores]:
    """Scores of a fifth of the training part, which the network has not seen, and of the test part."""
    start = after_homedepot(place.of(NETWORKS), seed=config.seed)
    tokenizer = TextTokenizer.load(start)
    pairs = as_pairs(judgments, texts=texts, max_grade=3.0, tokenizer=tokenizer, config=config)
    folds = StratifiedKFold(n_splits=5, shuffle=True, random_state=config.seed)
    learned_rows, held_rows = (train[rows] for rows in next(folds.split(train, truth[train])))
    work = place.work / f"fold{fold}-seed{config.seed}"
    learned = learn(take(pairs, learned_rows), None, config=config, start=start, work=work)
    held, tested = (infer(learned.network, tokenizer, pairs.tokens.take(rows)) for rows in (held_rows, test))
    return (held_rows, held), tested


def take(pairs: Pairs, rows: Rows) -> Pairs:
    """Some of the pairs."""
    return Pairs(pairs.tokens.take(rows), pairs.grades[rows], pairs.weights[rows], pairs.queries[rows], pairs.max_grade)


def regression(
    judgments: pl.DataFrame, texts: list[str], train: Rows, test: Rows, *, seed: int
) -> tuple[tuple[Rows, Scores], Scores]:
    """Inner out-of-fold predictions of the training part, and predictions of the test part."""
    words = np.asarray([f"{query} {text}" for query, text in zip(judgments["query"], texts, strict=True)])
    grades = judgments["grade"].to_numpy()
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), min_df=3, sublinear_tf=True, stop_words="english"),
        TruncatedSVD(COMPONENTS, random_state=seed),
        StandardScaler(),
        SVR(C=3.0),
    )
    folds = KFold(3, shuffle=True, random_state=seed)
    inner = cross_val_predict(model, words[train], grades[train], cv=folds)
    return (train, inner), model.fit(words[train], grades[train]).predict(words[test])


def tables(results: Sequence[Result]) -> list[Table]:
    """One row for each method."""
    rows = [
        [variant, str(len(of(results, variant))), mean(of(results, variant), "kappa")]
        for variant in (REGRESSION, CROSS)
        if of(results, variant)
    ]
    note = (
        "Published on all 10,158 pairs, of which 7,798 are here: best single model .6819, best ensemble .6913; rater "
        "against rater about .725. The ± is over folds and seeds."
    )
    return [Table("Quadratic weighted kappa", ("method", "folds", "kappa"), rows, note)]
