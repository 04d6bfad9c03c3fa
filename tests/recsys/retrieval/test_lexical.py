"""BM25 against its formula, operators against sets, filters and ties against everything sorted."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.catalogue import Catalogue
from recsys.errors import IndexMismatchError, UsageError
from recsys.retrieval import lexical
from recsys.retrieval.lexical import LexicalIndex
from recsys.testing.retriever import check_retriever
from tests.recsys.retrieval.conftest import catalogue_of

Make = Callable[..., Catalogue]
VOCABULARY = ["sofa", "blue", "red", "velvet", "oak", "lamp", "desk", "corner", "steel", "wi-fi"]
TITLES = [
    "Blue velvet sofa",
    "Red velvet sofa",
    "Blue desk lamp",
    "Corner sofa, blue velvet",
    "Sofa corner table",
    "Oak desk",
    "USB-C charger 65W",
    'TV 55" black',
    "Crème brûlée torch",
    "Running shoes",
]
BRANDS = ["Acme", "Acme", "Lux", "Lux", "Acme", "Oak & Co", "Volt", "Volt", None, "Run"]


@pytest.fixture
def index(make_catalogue: Make, tmp_path: Path) -> LexicalIndex:
    return LexicalIndex.build(make_catalogue(TITLES, brand=BRANDS), tmp_path / "lexical")


def found(index: LexicalIndex, query: str, *, k: int = 20) -> set[str]:
    return {TITLES[position] for position in index.retrieve([query], k=k)[0].positions}


def matching(*words: str) -> set[str]:
    return {title for title in TITLES if all(word in title.lower() for word in words)}


def bm25(counts: Sequence[Counter[str]], terms: Sequence[str]) -> list[float]:
    """BM25 as Lucene has it, k1 = 1.2 and b = 0.75."""
    lengths = [count.total() for count in counts]
    mean = sum(lengths) / len(lengths)
    scores = []
    for count, length in zip(counts, lengths, strict=True):
        score = 0.0
        for term in terms:
            holding = sum(term in other for other in counts)
            idf = math.log(1 + (len(counts) - holding + 0.5) / (holding + 0.5))
            score += idf * count[term] * 2.2 / (count[term] + 1.2 * (0.25 + 0.75 * length / mean))
        scores.append(score)
    return scores


def test_scores_are_bm25_over_weighted_fields(make_catalogue: Make, tmp_path: Path) -> None:
    titles = ["blue sofa", "red sofa sofa", "oak desk", "lamp"]
    descriptions = ["a sofa in blue", "red", None, "for a desk or sofa"]
    weights = {"title": 3, "description": 1}
    catalogue = make_catalogue(titles, description=descriptions)
    index = LexicalIndex.build(catalogue, tmp_path, weights=weights, language="")
    counts = [
        Counter(title.split() * 3 + (description or "").split())
        for title, description in zip(titles, descriptions, strict=True)
    ]
    for query in ("sofa", "blue sofa", "desk lamp sofa", "sofa sofa"):
        expected = bm25(counts, query.split())
        answer = index.retrieve([query], k=4)[0]
        assert answer.positions.tolist() == sorted(
            (row for row in range(4) if expected[row] > 0), key=lambda row: (-expected[row], row)
        )
        np.testing.assert_allclose(answer.scores, [expected[row] for row in answer.positions], rtol=1e-5)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("sofa", matching("sofa")),
        ("SOFAS", matching("sofa")),
        ("run shoe", {"Running shoes"}),
        ("creme brulee", {"Crème brûlée torch"}),
        ("blue AND velvet", matching("blue", "velvet")),
        ("+blue +velvet", matching("blue", "velvet")),
        ("blue velvet", matching("blue") | matching("velvet")),
        ("desk OR torch", matching("desk") | matching("torch")),
        ("sofa -blue", matching("sofa") - matching("blue")),
        ("sofa NOT (blue OR red)", matching("sofa") - matching("blue") - matching("red")),
        ("(desk OR sofa) AND blue", (matching("desk") | matching("sofa")) & matching("blue")),
        ('"blue velvet"', {"Blue velvet sofa", "Corner sofa, blue velvet"}),
        ('"velvet sofa blue"', set()),
        ('sofa -"corner sofa"', matching("sofa") - {"Corner sofa, blue velvet"}),
        ("usb-c", {"USB-C charger 65W"}),
        ("charger -usb-c", set()),
        ('tv 55"', {'TV 55" black'}),
        ("-sofa", set(TITLES) - matching("sofa")),
        ("brand:lux", {"Blue desk lamp", "Corner sofa, blue velvet"}),
        ("acme", {"Blue velvet sofa", "Red velvet sofa", "Sofa corner table"}),
        ("title:acme", set()),
        ("title:sofa*", matching("sofa")),
        ("+brand:acme +title:blue", {"Blue velvet sofa"}),
        ("colour:blue", matching("blue")),
        ("zebra", set()),
        ("+zebra sofa", set()),
        ("sofa -zebra", matching("sofa")),
    ],
)
def test_operators(index: LexicalIndex, query: str, expected: set[str]) -> None:
    assert found(index, query) == expected


def test_a_phrase_does_not_span_two_values(make_catalogue: Make, tmp_path: Path) -> None:
    index = LexicalIndex.build(make_catalogue(["blue sofa"], brand=["Acme"]), tmp_path)
    assert len(index.retrieve(['"blue sofa"'], k=5)[0].positions) == 1
    for query in ('"sofa blue"', '"sofa acme"'):
        assert len(index.retrieve([query], k=5)[0].positions) == 0


def test_a_thousand_equal_products_stand_in_the_order_of_positions(make_catalogue: Make, tmp_path: Path) -> None:
    index = LexicalIndex.build(make_catalogue(["other thing"] * 7 + ["blue sofa"] * 1000), tmp_path)
    for query in ("blue sofa", "sofa", "+blue -lamp", "-other"):
        for k in (1, 10, 500, 1000):
            answer = index.retrieve([query], k=k)[0]
            assert answer.positions.tolist() == list(range(7, 7 + k))
            assert len(set(answer.scores.tolist())) == 1
    allowed = np.zeros(1007, dtype=np.bool_)
    for count in (3, 900):  # inside the query, and over the answer
        allowed[-count:] = True
        answer = index.retrieve(["blue sofa"], k=5, allowed=allowed)[0]
        assert answer.positions.tolist() == list(range(1007 - count, 1007 - count + min(5, count)))


def test_ties_are_settled_without_tantivys_help(
    make_catalogue: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.retrieval.lexical.stands_in_order", lambda _: False)
    index = LexicalIndex.build(make_catalogue(["blue sofa"] * 1000 + ["sofa"]), tmp_path)
    assert not index.in_order
    assert index.retrieve(["sofa"], k=3)[0].positions.tolist() == [1000, 0, 1]


def test_many_segments(make_catalogue: Make, tmp_path: Path) -> None:
    titles = [f"sofa number{row} {'x' * 30}{row % 7} filler{row * 7}" for row in range(30_000)]
    index = LexicalIndex.build(make_catalogue(titles), tmp_path, heap=15_000_000)
    assert index.searcher.num_segments > 1
    assert not index.in_order
    assert index.retrieve(["sofa"], k=50)[0].positions.tolist() == list(range(50))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> LexicalIndex:
    """200 products of words drawn from ten, so that scores tie often."""
    generator = np.random.default_rng(1)
    titles = [" ".join(generator.choice(VOCABULARY, size=generator.integers(0, 6))) for _ in range(200)]
    return LexicalIndex.build(catalogue_of(titles), tmp_path_factory.mktemp("lexical"))


@pytest.mark.parametrize("share", [0.0, 1.1])  # the filter over the answer, and inside the query
@given(
    query=st.lists(st.sampled_from([*VOCABULARY, "-red", "+blue", '"blue velvet"', "OR"]), max_size=5).map(" ".join),
    k=st.integers(0, 210),
    seed=st.integers(0, 99),
    allowed=st.floats(0, 1),
)
def test_filters_and_cuts_are_parts_of_the_whole(
    drawn: LexicalIndex, share: float, query: str, k: int, seed: int, allowed: float
) -> None:
    mask = np.random.default_rng(seed).random(200) < allowed
    whole = drawn.retrieve([query], k=200)[0]
    passing = mask[whole.positions]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lexical, "SELECTIVE", share)
        part = drawn.retrieve([query], k=k, allowed=mask)[0]
    assert part.positions.tolist() == whole.positions[passing][:k].tolist()
    np.testing.assert_allclose(part.scores, whole.scores[passing][:k], rtol=1e-6)


def test_conformance(make_catalogue: Make, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    titles = [" ".join(generator.choice(VOCABULARY, size=5)) for _ in range(300)]
    LexicalIndex.build(make_catalogue(titles), tmp_path)
    check_retriever(
        LexicalIndex.open(tmp_path),
        queries=["blue sofa", "oak -red", "zebra", '"corner sofa"', "velvet lamp desk wi-fi"],
        catalogue=300,
    )


@pytest.mark.parametrize("query", ["", " ", "☃", "🛋️ 🛋️", "((((", '"""', "*", "\\", "\x00", "\ud800", ":", "+", "- -"])
def test_queries_without_words_have_no_answer(index: LexicalIndex, query: str) -> None:
    assert len(index.retrieve([query], k=5)[0].positions) == 0


@given(query=st.text(max_size=60))
def test_no_text_raises(drawn: LexicalIndex, query: str) -> None:
    assert len(drawn.retrieve([query, f"sofa {query}"], k=3)) == 2


def test_threads_share_one_index(drawn: LexicalIndex) -> None:
    expected = drawn.retrieve(["blue sofa -red"], k=20)[0].positions.tolist()
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda _: drawn.retrieve(["blue sofa -red"], k=20)[0].positions.tolist(), range(400))
        assert all(answer == expected for answer in answers)


def test_endless_queries(index: LexicalIndex) -> None:
    for query in ("sofa " * 20_000, "(" * 20_000, "a-" * 20_000, "+a:" * 20_000, '"' * 20_001):
        index.retrieve([query], k=3)


def test_rebuilding_gives_the_same_answers(make_catalogue: Make, tmp_path: Path, index: LexicalIndex) -> None:
    again = LexicalIndex.build(make_catalogue(TITLES, brand=BRANDS), tmp_path / "again")
    for query in ("blue velvet sofa", "acme", "desk"):
        one, other = index.retrieve([query], k=9)[0], again.retrieve([query], k=9)[0]
        assert np.array_equal(one.positions, other.positions)
        assert np.array_equal(one.scores, other.scores)


def test_an_empty_catalogue(make_catalogue: Make, tmp_path: Path) -> None:
    LexicalIndex.build(make_catalogue([]), tmp_path)
    index = LexicalIndex.open(tmp_path)
    assert len(index) == 0
    assert len(index.retrieve(["sofa"], k=5)[0].positions) == 0
    assert len(index.retrieve(["sofa"], k=5, allowed=np.zeros(0, dtype=np.bool_))[0].positions) == 0


def test_languages(make_catalogue: Make, tmp_path: Path) -> None:
    german = LexicalIndex.build(make_catalogue(["Stühle aus Eiche"]), tmp_path / "de", language="german")
    plain = LexicalIndex.build(make_catalogue(["Stühle aus Eiche"]), tmp_path / "plain", language="")
    assert len(german.retrieve(["eichen"], k=5)[0].positions) == 1
    assert len(plain.retrieve(["eichen"], k=5)[0].positions) == 0
    assert LexicalIndex.open(tmp_path / "de").retrieve(["eichen"], k=5)[0].positions.tolist() == [0]
    with pytest.raises(UsageError, match="klingon"):
        LexicalIndex.build(make_catalogue(["x"]), tmp_path / "no", language="klingon")


@pytest.mark.parametrize("weights", [{"colour": 1}, {"title": -1}])
def test_weights_of_nothing(make_catalogue: Make, tmp_path: Path, weights: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="lexical weights"):
        LexicalIndex.build(make_catalogue(["x"]), tmp_path, weights=weights)


@pytest.mark.parametrize("damage", ["absent", "empty", "settings", "format", "products", "meta"])
def test_damaged_folders_are_refused(make_catalogue: Make, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "lexical"
    if damage != "absent":
        LexicalIndex.build(make_catalogue(["sofa"]), folder)
    settings_file = folder / "lexical.json"
    if damage == "empty":
        settings_file.write_text("")
    elif damage == "settings":
        settings_file.unlink()
    elif damage == "format":
        settings_file.write_text(settings_file.read_text().replace('"format": 1', '"format": 7'))
    elif damage == "products":
        settings_file.write_text(settings_file.read_text().replace('"products": 1', '"products": 2'))
    elif damage == "meta":
        (folder / "meta.json").write_text("{")
    with pytest.raises(IndexMismatchError, match="lexical"):
        LexicalIndex.open(folder)
