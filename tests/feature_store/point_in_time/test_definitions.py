"""Versions follow what decides a feature's values and nothing else; what can't be computed is refused."""

from dataclasses import replace
from math import inf, nan
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from feature_store.point_in_time.defaults import CLICKS, DEFAULTS, LOOKS, MONTH, VIEWS, WEEK
from feature_store.point_in_time.definitions import (
    STRONGEST,
    WEAKEST,
    Distinct,
    Feature,
    Measure,
    Rate,
    Total,
    Window,
    days,
)
from feature_store.point_in_time.keys import distinct_keys, stable_hash
from feature_store.point_in_time.page import formula, page
from feature_store.point_in_time.parity import ROW, held_together, pairs
from feature_store.point_in_time.records import RecordFolder, write_records
from feature_store.point_in_time.table import build_table
from feature_store.point_in_time.values import MILLION
from recsys.errors import UsageError
from recsys.settings import load_settings
from tests.shops import START

MINE = Feature("user_views_60d", "user", "Views in 60 days.", Total(VIEWS, days(60)))


def test_a_version_follows_the_definition() -> None:
    rate = Feature("rate", "product", "Words.", Rate(CLICKS, LOOKS, MONTH, strength=20.0))
    assert rate.version == replace(rate, about="Other words.").version
    others = [
        replace(rate, name="other"),
        replace(rate, entity="query_product"),
        replace(rate, of=replace(rate.of, strength=10.0)),
        replace(rate, of=replace(rate.of, window=WEEK)),
        replace(rate, of=replace(rate.of, top=VIEWS)),
    ]
    assert len({rate.version, *(one.version for one in others)}) == 6
    assert rate.version == "9cc483c48e69"


def test_windows_begin_at_whole_hops() -> None:
    hops = {Window(hours=hours).hop // 60_000_000 for hours in (1, 11)}, {Window(hours=12).hop, Window(hours=167).hop}
    assert hops == ({5}, {3_600_000_000})
    assert days(7).hop == 24 * 3_600_000_000
    assert [str(window) for window in (Window(hours=1), Window(hours=24), days(7))] == ["an hour", "a day", "7 days"]


def test_what_can_t_be_computed_is_refused() -> None:
    with pytest.raises(ValueError, match="one stream"):
        Feature("odd", "product", "", Rate(VIEWS, Measure("judgments")))
    with pytest.raises(ValueError, match="distinct values are one of user, product"):
        Feature("odd", "product", "", Distinct(VIEWS))
    with pytest.raises(ValueError, match="user is an id, which only distinct counts"):
        Feature("odd", "product", "", Total(Measure("events", value="user")))
    with pytest.raises(ValueError, match="prices have features of product, not user"):
        Feature("odd", "user", "", Total(Measure("prices")))
    with pytest.raises(ValueError, match="prices are worth one, price, stock, not quantity"):
        Feature("odd", "product", "", Total(Measure("prices", value="quantity")))
    with pytest.raises(ValueError, match=r"events have types impression, view, .*, not look"):
        Feature("odd", "product", "", Total(Measure("events", ("look",))))
    with pytest.raises(ValueError, match="judgments have types none, not view"):
        Feature("odd", "query", "", Total(Measure("judgments", ("view",))))


@pytest.mark.parametrize("strength", [5e-324, WEAKEST * 0.99, STRONGEST * 1.01, -1.0, float("nan"), float("inf")])
def test_a_strength_that_leads_nowhere_is_refused(strength: float) -> None:
    with pytest.raises(ValueError, match=r"odd: strength .* is not 0 or 1e-06 to 1e\+12"):
        Feature("odd", "product", "", Rate(CLICKS, LOOKS, strength=strength))


@pytest.mark.parametrize("strength", [WEAKEST, 20.0, STRONGEST])
def test_no_rate_outgrows_float32(strength: float) -> None:
    """The most that 63 bits of millionths can say, over the least, drawn towards the highest rate that there can be."""
    most, least = (2**63 - 1) / MILLION, 1 / MILLION
    for bottom in (0.0, least):
        assert np.isfinite(np.float32((most + strength * (most / least)) / (bottom + strength)))


@pytest.mark.parametrize(
    ("served", "known", "equal"),
    [
        ([inf, -inf, 1.0, None], [inf, -inf, 1.0, None], 4),
        ([inf, 5.0, -inf, None], [-inf, inf, 5.0, inf], 0),
        ([nan, 1.0 + 1e-7, 1.0 + 1e-5, 0.0], [None, 1.0, 1.0, None], 2),
    ],
)
def test_infinities_are_equal_to_themselves_alone(
    served: list[float | None], known: list[float | None], equal: int
) -> None:
    requests = pl.DataFrame({ROW: range(len(served)), "a": served}, schema_overrides={"a": pl.Float64})
    found = held_together("a", pairs(requests, pl.DataFrame({"a": known}, schema={"a": pl.Float64}), "a"))
    assert (found.rows, found.equal) == (len(served), equal)
    assert all(one is None or np.isfinite(one) for one in (found.served_mean, found.known_mean))


def test_every_default_has_words_and_a_formula() -> None:
    written = page(DEFAULTS)
    for feature in DEFAULTS:
        assert feature.about.endswith((".", ")."))
        assert formula(feature) in written


def test_partitions_are_the_same_on_every_machine() -> None:
    keys = pl.DataFrame({"a": ["u1", "û"], "b": ["p1", "p2"]})
    assert stable_hash(keys).tolist() == [3592198887, 1383489718]
    found = distinct_keys(
        pl.concat([keys, keys.head(1), pl.DataFrame({"a": [None], "b": ["p"]})]), ("a", "b"), partitions=1
    )
    assert found.frame["code"].to_list() == [0, 1]


def test_features_of_one_s_own(small_shop: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.parquet"
    pl.DataFrame({"user_id": ["u01"], "timestamp": [START.replace(month=3)]}).write_parquet(rows)
    options = {"definitions": [*DEFAULTS, MINE], "only": [MINE.name], "as_of": None, "settings": load_settings()}
    built = build_table(small_shop, rows=rows, out=tmp_path / "table", **options)  # type: ignore[arg-type]
    assert built.manifest.features == {MINE.name: MINE.version}
    write_records(small_shop, out=tmp_path / "records", **options)  # type: ignore[arg-type]
    opened = RecordFolder(tmp_path / "records")
    assert opened.values("user", ["nobody"], now=START) == {MINE.name: 0.0}
    file = tmp_path / "records" / "records.json"
    file.write_text(file.read_text().replace('"1440h"', '"168h"'))
    with pytest.raises(UsageError, match=r"serves other definitions of user_views_60d; .*recsys table records"):
        RecordFolder(tmp_path / "records")
