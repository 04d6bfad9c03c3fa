"""Parts by the protocols, and the checks that no part knows what it must not."""

import hashlib
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.config import ShopConfig
from feature_store.frames import InteractionFrame, JudgmentFrame
from feature_store.interactions import canonical
from feature_store.leaks import find_leaks
from feature_store.manifest import Split
from feature_store.snapshot import Snapshot
from feature_store.splits import beside_last_events, last_events, plan_split, query_part, query_parts, time_part
from recsys.errors import UsageError
from recsys.text.normalise import normalise

START = datetime(2025, 1, 1, tzinfo=UTC)
NO_JUDGMENTS = pl.DataFrame(schema=pl.Schema(JudgmentFrame))


def interactions(rows: list[tuple[str | None, int]]) -> pl.DataFrame:
    """(user, day) of each event in canonical order; the product tells rows apart."""
    frame = pl.DataFrame(
        {
            "user_id": [user for user, _ in rows],
            "timestamp": [START + timedelta(days=day) for _, day in rows],
            "product_id": [f"p{number}" for number in range(len(rows))],
        },
        schema={"user_id": pl.String, "timestamp": pl.Datetime("us", "UTC"), "product_id": pl.String},
    )
    return canonical(frame.lazy()).collect()


EVENTS = st.lists(st.tuples(st.one_of(st.none(), st.sampled_from("abc")), st.integers(0, 90)), max_size=25)


@settings(max_examples=100, deadline=None)
@given(EVENTS)
def test_a_users_last_event_is_test_and_the_one_before_validation(rows: list[tuple[str | None, int]]) -> None:
    parted = last_events(interactions(rows))
    for user in "abc":
        parts = parted.filter(pl.col("user_id") == user)["part"].to_list()
        few = ["train"] * len(parts)
        assert parts == (few if len(parts) < 3 else ["train"] * (len(parts) - 2) + ["validation", "test"])
    assert set(parted.filter(pl.col("user_id").is_null())["part"]) <= {"train"}
    assert find_leaks(parted, NO_JUDGMENTS, split=Split(kind="leave-one-out")) == []


@settings(max_examples=100, deadline=None)
@given(EVENTS, st.integers(1, 40), st.integers(1, 40))
def test_no_train_event_after_the_cut(rows: list[tuple[str | None, int]], test: int, validation: int) -> None:
    frame = interactions(rows)
    watermark = frame["timestamp"].max()
    split = plan_split(
        ShopConfig(),
        kind="time",
        options={"test_days": str(test), "validation_days": str(validation)},
        events=True,
        watermark=watermark,  # type: ignore[arg-type]
    )
    parted = frame.with_columns(time_part(split))
    assert find_leaks(parted, NO_JUDGMENTS, split=split) == []
    for time, part in parted.select("timestamp", "part").iter_rows():
        age = (watermark - time).days  # type: ignore[operator]
        assert part == ("test" if age < test else "validation" if age < test + validation else "train")


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1), st.integers(0, 4))
def test_texts_that_read_alike_share_a_part(text: str, fold: int) -> None:
    assert query_part(text, fold=fold) == query_part(f"  {text.upper()}\t".casefold(), fold=fold) or (
        normalise(text) != normalise(f"  {text.upper()}\t".casefold())
    )


def test_query_folds_follow_the_protocol() -> None:
    queries = [f"query {number}" for number in range(400)]
    outer = [int(hashlib.sha256(query.encode()).hexdigest(), 16) % 5 for query in queries]
    for fold in range(5):
        parts = query_parts(queries, fold=fold)
        assert [part == "test" for part in parts] == [one == fold for one in outer]
        share = (parts == "validation").sum() / (parts != "test").sum()
        assert 0.14 < share < 0.26


def test_the_small_shop_has_no_query_in_two_parts(small_snapshot: Snapshot) -> None:
    parts = (
        small_snapshot.judgments()
        .group_by(pl.col("query").map_elements(normalise, return_dtype=pl.String))
        .agg(pl.col("part").n_unique())
    )
    assert parts["part"].max() == 1


def test_every_leak_is_found() -> None:
    judgments = pl.DataFrame({"query": ["Sofa ", "sofa", "lamp"], "part": ["train", "test", "train"]})
    nothing = pl.DataFrame(schema=pl.Schema(InteractionFrame))
    assert find_leaks(nothing, judgments, split=Split(kind="query-folds")) == ["1 query texts stand in two parts"]
    split = Split(kind="time", test_after=START + timedelta(days=20), validation_after=START + timedelta(days=10))
    frame = interactions([("a", 5), ("a", 15), ("a", 25)])
    for part, wrong in (("train", 2), ("validation", 2), ("test", 2)):
        leaks = find_leaks(frame.with_columns(part=pl.lit(part)), NO_JUDGMENTS, split=split)
        assert leaks[0].startswith(f"{wrong} {part} events")
    good = last_events(frame)
    for parts in (["test", "train", "train"], ["train", "test", "test"], ["validation", "train", "test"]):
        bad = good.with_columns(pl.Series("part", parts))
        assert find_leaks(bad, NO_JUDGMENTS, split=Split(kind="leave-one-out")) == [
            "1 users whose last events are not test and validation"
        ]


def test_other_events_share_the_part_of_the_users_last_events() -> None:
    parted = last_events(interactions([("a", 1), ("a", 5), ("a", 9), ("b", 3)]))
    shown = interactions([("a", 0), ("a", 5), ("a", 8), ("a", 9), ("a", 12), ("b", 80), (None, 80)]).lazy()
    parts = beside_last_events(shown, parted).collect().sort("product_id")["part"].to_list()
    assert parts == ["train", "validation", "validation", "test", "test", "train", "train"]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("yesterday", {}),
        ("time", {"fold": "5"}),
        ("time", {"test_days": "0"}),
        ("time", {"test_days": "soon"}),
        ("time", {"colour": "blue"}),
    ],
)
def test_options_that_make_no_sense(kind: str, options: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        plan_split(ShopConfig(), kind=kind, options=options, events=True, watermark=START)


def test_a_young_shop_holds_out_a_quarter_of_its_history() -> None:
    """28 days and 28 days would be everything there is, and nothing would be left to learn from."""

    def days(age: float, *, config: ShopConfig | None = None, **options: str) -> tuple[float | None, float | None]:
        split = plan_split(
            config or ShopConfig(),
            kind=None,
            options=options,
            events=True,
            watermark=START,
            oldest=START - timedelta(days=age),
        )
        return split.test_days, split.validation_days

    assert days(10) == (2.5, 2.5)
    assert days(57) == days(0) == (28, 28)
    assert days(10, test_days="1") == (1, 2.5)
    own = ShopConfig.model_validate({"split": {"test_days": 28.0, "validation_days": 28.0}})
    assert days(10, config=own) == (28, 28)


def test_a_shop_without_calendar_has_no_time_split() -> None:
    order = ShopConfig(timestamps="order")
    with pytest.raises(UsageError, match="only order"):
        plan_split(order, kind="time", options={}, events=True, watermark=None)
    assert plan_split(order, kind=None, options={}, events=True, watermark=None).kind == "leave-one-out"
    assert plan_split(ShopConfig(), kind=None, options={}, events=False, watermark=None).kind == "query-folds"
    assert plan_split(ShopConfig(), kind=None, options={}, events=True, watermark=START).kind == "time"
