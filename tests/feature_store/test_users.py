"""What the users table says of a user, as one short text."""

import json
import logging
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_store.snapshot import build_snapshot
from feature_store.users import LONGEST, user_attributes
from tests.shops import small_tables, write_shop

SCHEMA = {"user_id": pl.String, "locale": pl.String, "country": pl.String, "attributes": pl.String}


def told(attributes: str | None, **columns: str) -> dict[str, str]:
    frame = pl.DataFrame([{"user_id": "u", "attributes": attributes, **columns}], schema=SCHEMA)
    text = user_attributes(frame).item()
    return json.loads(text) if text else {}


def test_columns_and_the_first_level_of_the_object_by_hand() -> None:
    own = '{"plan": "gold", "children": 2, "newsletter": true, "spend": 0.5, "country": "XX", "address": {"a": 1}}'
    assert told(own, locale="en-GB", country="GB") == {
        "locale": "en-GB", "country": "GB", "attributes.plan": "gold", "attributes.children": "2",
        "attributes.newsletter": "true", "attributes.spend": "0.5", "attributes.country": "XX",
    }  # fmt: skip


@pytest.mark.parametrize(
    "attributes",
    [None, "", "no JSON", "[1, 2]", '"gold"', "null", "7", '{"a": null}', '{"a": ""}', '{"a": "  "}', '{"a": [1]}',
     '{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud800"}', '{"a": "x\\ny"}', "[" * 100_000, '{"a": ' + "9" * 5000 + "}",
     json.dumps({"a": "x" * (LONGEST + 1)}), json.dumps({"n" * LONGEST: "x"})],
)  # fmt: skip
def test_what_is_no_short_value_is_left_out(attributes: str | None) -> None:
    assert told(attributes) == {}


@given(st.lists(st.tuples(st.sampled_from(["en", None]), st.sampled_from(["GB", "FR", None])), max_size=8))
def test_users_alike_have_the_same_text_in_the_order_of_the_table(users: list[tuple[str | None, str | None]]) -> None:
    frame = pl.DataFrame(
        {"locale": [locale for locale, _ in users], "country": [country for _, country in users]},
        schema={"locale": pl.String, "country": pl.String},
    )
    found = user_attributes(frame).to_list()
    for text, (locale, country) in zip(found, users, strict=True):
        wanted = {name: value for name, value in (("country", country), ("locale", locale)) if value}
        assert (json.loads(text) if text else {}) == wanted


def test_damaged_attributes_are_counted_and_take_nothing_else_away(caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"user_id": "a", "country": "GB", "attributes": own} for own in ("{", "{", "[]", '{"plan": "gold"}', None)]
    with caplog.at_level(logging.WARNING):
        found = user_attributes(pl.DataFrame(rows, schema=SCHEMA)).to_list()
    assert [json.loads(text)["country"] for text in found] == ["GB"] * 5
    assert caplog.messages == ["users: attributes of 3 rows are no JSON object: nothing is read of them"]


def test_a_table_that_says_nothing() -> None:
    assert user_attributes(pl.DataFrame({"user_id": ["a", "b"], "segment": ["x", None]})).to_list() == ["", ""]


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_every_format_says_the_same(kind: str, tmp_path: Path) -> None:
    tables = small_tables()
    plans = [json.dumps({"plan": ("gold", "free")[row % 2]}) for row in range(30)]
    users = tables["users"].with_columns(attributes=pl.Series(plans))
    shop = write_shop(tmp_path / kind, tables | {"users": users}, kind=kind)
    found = user_attributes(build_snapshot(shop, out=tmp_path / "out").users())
    assert found.unique().sort().to_list() == [
        '{"attributes.plan":"free","country":"GB"}', '{"attributes.plan":"gold","country":"GB"}',
    ]  # fmt: skip
