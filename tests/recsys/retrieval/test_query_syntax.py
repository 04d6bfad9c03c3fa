"""What queries mean, and that every text means something."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.retrieval.query_syntax import WORDS, Clause, Group, Need, Words, free_words, parse, spoken

FIELDS = ("title", "brand")


def shown(group: Group) -> str:
    """A group as +needed -excluded wanted, with brackets around groups."""
    signs = {Need.WANTED: "", Need.NEEDED: "+", Need.EXCLUDED: "-"}
    return " ".join(signs[clause.need] + part(clause) for clause in group.clauses)


def part(clause: Clause) -> str:
    if isinstance(clause.what, Group):
        return f"[{shown(clause.what)}]"
    text = f"«{clause.what.text}»" if clause.what.phrase else clause.what.text
    return f"{clause.what.field}:{text}" if clause.what.field else text


@pytest.mark.parametrize(
    ("query", "meaning"),
    [
        ("blue velvet sofa", "blue velvet sofa"),
        ("+blue sofa -red", "+blue sofa -red"),
        ("sofa NOT red", "sofa -red"),
        ('"corner sofa" blue', "+«corner sofa» blue"),
        ('-"corner sofa"', "-«corner sofa»"),
        ("blue AND sofa", "+[+blue +sofa]"),
        ("blue OR green", "[blue green]"),
        ("a OR b AND c", "[a [+[+b +c]]]"),
        ('"a b" OR c', "[[+«a b»] c]"),
        ("a AND NOT b", "+[+a -b]"),
        ("(blue OR green) sofa", "[[blue green]] sofa"),
        ("+(blue green) sofa", "+[blue green] sofa"),
        ("(-red sofa)", "[-red sofa]"),
        ("brand:acme sofa", "brand:acme sofa"),
        ('+title:"corner sofa"', "+title:«corner sofa»"),
        ("colour:blue", "colour:blue"),
        ('title:"a" x', "+title:«a» x"),
        # what fits no rule is plain words
        ('55" tv', "55 tv"),
        ('tv 55" 60" wide', "tv 55 60 wide"),
        ("wi-fi rj+45", "wi-fi rj+45"),
        ("5 - 10 cm", "5 - 10 cm"),
        ("--red", "-red"),
        ("sofa )", "sofa"),
        ("(sofa", "[sofa]"),
        ("a) b", "a b"),
        ('tv "unclosed', "tv unclosed"),
        ("AND sofa", "sofa"),
        ("sofa OR", "sofa"),
        ("NOT", "NOT"),
        ("AND OR", "AND OR"),
        ("12:30 clock", "12:30 clock"),
        ("brand: acme", "brand: acme"),
        ("title:head*", "title:head*"),
        ("sand and or", "sand and or"),
        ("", ""),
    ],
)
def test_meaning(query: str, meaning: str) -> None:
    assert shown(parse(query, fields=FIELDS)) == meaning


@given(st.text(alphabet=st.sampled_from('ab AND OR NOT+-"():\\ *~^[]{}\n🛋\ud800'), max_size=80) | st.text())
def test_every_text_is_a_query(query: str) -> None:
    group = parse(query, fields=FIELDS)
    assert group.clauses
    assert shown(group) == shown(parse(query, fields=FIELDS))
    assert isinstance(spoken(query), str)


@given(st.lists(st.from_regex(r"[a-zäöü0-9]{1,8}", fullmatch=True), min_size=1, max_size=12))
def test_plain_words_stay_plain(words: list[str]) -> None:
    query = " ".join(words)
    assert parse(query).clauses == tuple(Clause(Need.WANTED, Words(word)) for word in words)
    assert spoken(query) == query


def test_long_queries_are_cut() -> None:
    assert len(parse("sofa " * 5000).clauses) == WORDS
    assert shown(parse("(" * 5000 + "sofa" + ")" * 5000)).strip("[]") == "sofa"


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("blue sofa", "blue sofa"),
        ("iPhone 12 (red) ", "iPhone 12 (red) "),
        ("sofa -red", "sofa"),
        ("+blue sofa NOT (red OR pink)", "blue sofa"),
        ('"corner sofa" blue', "corner sofa blue"),
        ("-red", ""),
        ("red OR blue", "red OR blue"),
    ],
)
def test_spoken(query: str, sentence: str) -> None:
    assert spoken(query) == sentence


@pytest.mark.parametrize(
    ("query", "free"),
    [
        ("blue sofa", ["blue", "sofa"]),
        ('blue "oak table" +red -green lamp', ["blue", "lamp"]),
        ("a AND b OR NOT c", ["a", "b"]),
        ("-(a b) c (d +e)", ["c", "d"]),
        ("brand:acme x:y", ["x:y"]),
        ('55" tv, :-)', ["55", "tv,", ":-"]),
        (") (", []),
    ],
)
def test_free_words(query: str, free: list[str]) -> None:
    assert [query[start:end] for start, end in free_words(query, fields=("brand",))] == free


@given(st.text(max_size=60))
def test_free_words_stand_in_the_query(query: str) -> None:
    assert all(0 <= start < end <= len(query) for start, end in free_words(query))
