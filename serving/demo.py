"""The whole line on a made-up shop, told as a story."""

from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import polars as pl

from feature_store.snapshot import Snapshot
from recsys.settings import Settings
from recsys.text.normalise import normalise
from serving.answers import report as answer_report
from serving.job import NightlyJob
from serving.nightly import run_nightly
from serving.opening import open_live
from serving.processes import NewProcess
from serving.stages import Stages

SHOP = "sample"
PRODUCTS, USERS = 1000, 800
SETTINGS: dict[str, tuple[str, ...]] = {
    "retriever": ("epochs=1", "patience=0", "max_length=32"),
    "relevance": (
        *("epochs=1", "patience=0", "max_length=32", "batch_size=16", "learning_rate=1e-4"),
        *("layers=3", "layer_choice=spaced"),
    ),
    "calibration": ("measure=false",),  # with so few queries hardly any stage could be shown to gain
    "two-tower": ("epochs=6", "patience=2"),
}
ONCE = ("retriever", "relevance", "two-tower")
"""The stages that the demo does not refit, to spare their time."""
SKIPPED = ("blender", "category-popularity", "trending", "repeat", "bought-together", "recommend-blender")
"""A night's stages that the demo spares the reader's time: with so few queries the blender could hardly be shown to
gain, and the blend of recommenders trains each of them once more; the others are there for the blend."""
SHOWN = 5


def run_demo(
    settings: Settings,
    *,
    folder: Path,
    announce: Callable[[str], None],
    products: int = PRODUCTS,
    users: int = USERS,
    options: dict[str, tuple[str, ...]] | None = None,
) -> dict[str, Any]:
    """Write a made-up shop, run a night on it, ask the live index a few questions; give all that came out.

    Args:
        settings: where state lives.
        folder: where shop and nights come to stand.
        announce: is told one line before and after each stage.
        products: of the made-up shop.
        users: of the made-up shop.
        options: the settings of `recsys train` by stage; SETTINGS, chosen for a short wait, if None.
    """
    begun = perf_counter()
    shop = folder / "shop"
    size = ("--products", str(products), "--users", str(users), "--seed", "0")
    stages = Stages(folder=folder / "stages", settings=settings, announce=announce, runner=NewProcess())
    written = stages.run("sample", "sample", str(shop), *size, inputs={}, made=lambda last: shop.is_dir())
    settled = SETTINGS if options is None else options
    job = NightlyJob(shop=shop, out=folder / "nights", k=10, skip=SKIPPED, once=ONCE, options=settled)
    night = run_nightly(job, settings=settings, announce=announce)
    snapshot = Snapshot.open(Path(night["snapshot"]), settings=settings)
    return {
        "shop": {"folder": str(shop), "rows": written["rows"]},
        "night": night,
        "search": ask_search(settings, snapshot),
        "recommend": ask_recommend(settings, snapshot),
        "seconds": round(perf_counter() - begun, 3),
    }


def ask_search(settings: Settings, snapshot: Snapshot) -> dict[str, Any]:
    """A held-out query with a word that no title has, answered by words alone and by all stages."""
    engine = open_live(settings, shop=SHOP)
    query, grades = strange_query(snapshot)
    answers = {
        stages or "all stages": answer_report(engine, engine.search([query], k=SHOWN, stages=stages)[0], query=query)
        for stages in ("bm25", None)
    }
    for answer in answers.values():
        for hit in answer["hits"]:
            hit["grade"] = grades.get(hit["product_id"])
    return {"query": query, "max_grade": snapshot.manifest.max_grade, "answers": answers}


def strange_query(snapshot: Snapshot) -> tuple[str, dict[str, float]]:
    """The first held-out query with a typo or a synonym (a word that no title has), and its judged products."""
    titles = snapshot.catalogue().column("title")
    words = {word for title in titles for word in normalise(title).split()}
    judged = snapshot.judgments("test").sort("query_id", "product_id")
    good = judged.filter(pl.col("grade") == snapshot.manifest.max_grade).group_by("query_id").len()
    known = good.filter(pl.col("len") >= SHOWN)["query_id"]
    queries = judged.filter(pl.col("query_id").is_in(known.implode()))["query"].unique(maintain_order=True)
    query = next(query for query in queries if not set(normalise(query).split()) <= words)
    rows = judged.filter(pl.col("query") == query)
    return query, dict(zip(rows["product_id"], rows["grade"], strict=True))


def ask_recommend(settings: Settings, snapshot: Snapshot) -> dict[str, Any]:
    """What a customer bought last, and what is recommended to her."""
    engine = open_live(settings, shop=SHOP)
    bought = snapshot.interactions().filter((pl.col("event_type") == "purchase") & pl.col("user_id").is_not_null())
    counts = bought.group_by("user_id").agg(pl.col("product_id").n_unique().alias("products")).sort("user_id")
    user = str(counts.filter(pl.col("products") >= SHOWN)["user_id"][0])
    last = bought.filter(pl.col("user_id") == user)["product_id"].unique(maintain_order=True).tail(SHOWN)
    titles = engine.catalogue.column("title").gather(engine.catalogue.positions(last))
    answer = answer_report(engine, engine.recommend([user], k=SHOWN)[0], user_id=user)
    return {"user_id": user, "bought": titles.to_list(), "answer": answer}
