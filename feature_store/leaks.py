"""Proof, on every build, that no part knows what it must not: a snapshot that leaks is never written."""

import polars as pl

from feature_store.manifest import Split
from feature_store.splits import binding_cuts
from recsys.errors import SnapshotError
from recsys.text.normalise import normalise


def refuse_leaks(interactions: pl.DataFrame, judgments: pl.DataFrame, *, split: Split) -> None:
    """Raise SnapshotError where `find_leaks` finds one."""
    if leaks := find_leaks(interactions, judgments, split=split):
        raise SnapshotError(
            f"the split leaks: {'; '.join(leaks)}",
            expected="parts that do not know each other",
            action="report this: it is an error of the build, not of the shop",
        )


def find_leaks(interactions: pl.DataFrame, judgments: pl.DataFrame, *, split: Split) -> list[str]:
    """What is wrong with the parts, one sentence each; empty where nothing is.

    Checked: a query text (normalised) stands in one part alone; by time, no event of a part lies beyond its cut,
    nor was known only behind it (`known_at`, where it is given); by leave-one-out, a user has at most one event each in
    validation and test, train before validation before test.
    """
    leaks = []
    texts = judgments.select("query", "part").unique()
    texts = texts.with_columns(pl.col("query").map_elements(normalise, return_dtype=pl.String))
    if (several := texts.unique().height - texts["query"].n_unique()) > 0:
        leaks.append(f"{several} query texts stand in two parts")
    if split.kind == "time" and split.test_after is not None and split.validation_after is not None:
        leaks += over_cut(interactions, split)
    if split.kind == "leave-one-out":
        leaks += out_of_turn(interactions)
    return leaks


def over_cut(interactions: pl.DataFrame, split: Split) -> list[str]:
    """Events on the wrong side of a cut."""
    time, part = pl.col("timestamp"), pl.col("part")
    wrong = {
        "train events after the cut": (part == "train") & (time > split.validation_after),
        "validation events outside their days": (part == "validation")
        & ~((time > split.validation_after) & (time <= split.test_after)),
        "test events before the cut": (part == "test") & (time <= split.test_after),
    }
    if "known_at" in interactions.columns:
        cuts, known = binding_cuts(split), pl.max_horizontal("timestamp", "known_at")
        if split.validation_after in cuts:
            late = (part == "train") & (known > split.validation_after)
            wrong["train events known only after the cut"] = late
        if split.test_after in cuts:
            wrong["events before the test part known only in it"] = (part != "test") & (known > split.test_after)
    counts = interactions.select(rule.sum().alias(name) for name, rule in wrong.items()).row(0, named=True)
    return [f"{number} {name}" for name, number in counts.items() if number]


def out_of_turn(interactions: pl.DataFrame) -> list[str]:
    """Users whose parts are not train, then one validation event, then one test event."""
    held_out = interactions.lazy().filter(pl.col("part") != "train")
    users = held_out.group_by("user_id").agg(
        ((pl.col("part") == "test").sum() != 1).alias("tests"),
        ((pl.col("part") == "validation").sum() != 1).alias("validations"),
        pl.col("timestamp").filter(pl.col("part") == "validation").max().alias("validation"),
        pl.col("timestamp").filter(pl.col("part") == "test").min().alias("test"),
    )
    newest = (
        interactions.lazy()
        .filter((pl.col("part") == "train") & pl.col("user_id").is_not_null())
        .group_by("user_id")
        .agg(pl.col("timestamp").max().alias("train"))
    )
    turned = (pl.col("train") > pl.col("validation")) | (pl.col("validation") > pl.col("test"))
    rule = pl.col("tests") | pl.col("validations") | turned.fill_null(value=True)
    wrong = int(users.join(newest, on="user_id", how="left").select(rule.sum()).collect().item())
    return [f"{wrong} users whose last events are not test and validation"] if wrong else []
