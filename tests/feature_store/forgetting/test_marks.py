"""Marks tell whether a name was forgotten, and until when; nothing else can be read from them."""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from feature_store.forgetting.marks import FOREVER, NOBODY, Forgotten, mark_of
from feature_store.forgetting.pseudonyms import lookup, pseudonym
from feature_store.forgetting.rows import hidden
from feature_store.masking import Mask

KEY = b"k" * 32
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAMES = st.text(max_size=5)


def forgotten(until: dict[str, int]) -> Forgotten:
    return Forgotten(KEY, {mark_of(KEY, name): moment for name, moment in until.items()})


def test_the_hashes_of_one_key_have_nothing_in_common() -> None:
    expected = hmac.new(KEY, b"\x00forgotten\x00" + "ü".encode(), hashlib.sha256).hexdigest()[:32]
    assert mark_of(KEY, "ü") == expected
    assert pseudonym(KEY, "ü") == hmac.new(KEY, "ü".encode(), hashlib.sha256).hexdigest()[:32]
    assert len({mark_of(KEY, "ü"), lookup(KEY, "ü"), Mask(KEY)("ü"), mark_of(b"j" * 32, "ü")}) == 4
    assert "k" * 32 not in repr(forgotten({"ü": 1}))
    assert mark_of(KEY, "ü") not in repr(forgotten({"ü": 1}))


@given(st.dictionaries(NAMES, st.integers(0, 9)), st.lists(st.tuples(st.none() | NAMES, st.none() | st.integers(0, 9))))
def test_a_row_is_hidden_up_to_its_users_moment(
    until: dict[str, int], rows: list[tuple[str | None, int | None]]
) -> None:
    """Beside the plain rule, for each row alone."""
    gone = forgotten(until)
    frame = pl.DataFrame(
        {
            "name": pl.Series([name for name, _ in rows], dtype=pl.String),
            "at": pl.Series(
                [None if at is None else EPOCH + timedelta(microseconds=at) for _, at in rows],
                dtype=pl.Datetime("us", "UTC"),
            ),
        }
    )
    found = frame.select(hidden(gone, pl.col("name"), moment=pl.col("at")))["name"].to_list() if rows else []
    assert found == [name in until and (at is None or at <= until[name]) for name, at in rows]
    always = frame.select(hidden(gone, pl.col("name"), moment=None))["name"].to_list() if rows else []
    assert always == [name in until for name, _ in rows]
    for name, at in rows:
        if name is not None and at is not None:
            assert gone.hides(name, moment=at) == (name in until and at <= until[name])


def test_nobody_hides_nothing_and_a_pseudonym_is_hidden_for_good() -> None:
    assert not NOBODY
    assert NOBODY.until(["ann"]) == {}
    assert not NOBODY.hides("ann", moment=0)
    assert forgotten({"p": FOREVER}).hides("p", moment=FOREVER)
