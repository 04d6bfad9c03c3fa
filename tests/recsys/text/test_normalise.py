"""One spelling: by example, and as a fixed point for any text."""

from hypothesis import given
from hypothesis import strategies as st

from recsys.text.normalise import normalise, well_formed


def test_spellings_meet() -> None:
    assert normalise("  Straße\t\nＳＯＦＡ ") == "strasse sofa"
    assert normalise("ﬁne") == normalise("FINE") == "fine"
    assert normalise("e\u0301") == normalise("\u00c9") == "\u00e9"
    assert normalise("") == normalise(" \u3000 ") == ""


@given(st.text())
def test_normalise_is_a_fixed_point(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert once == " ".join(once.split())


@given(st.text())
def test_case_and_outer_space_make_no_difference(text: str) -> None:
    assert normalise(f" {text} ") == normalise(text)


@given(st.text())
def test_well_formed_changes_surrogates_only(text: str) -> None:
    assert well_formed(text) == text


def test_lone_surrogates_become_question_marks() -> None:
    assert well_formed("sofa \ud800!") == "sofa ?!"
    assert normalise("SOFA \ud800") == "sofa \ud800"
