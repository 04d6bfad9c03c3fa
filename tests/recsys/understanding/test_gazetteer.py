"""Names are learned from the columns, and believed as far as the titles bear them out."""

from itertools import pairwise

import pytest

from recsys.catalogue import Catalogue
from recsys.meaning import SpanKind
from recsys.understanding.attributes import Fact, attribute_facts, prefixes
from recsys.understanding.gazetteer import Gazetteer, known_facts, learn_names
from recsys.understanding.reader import QueryReader
from recsys.understanding.tokens import tokens


@pytest.fixture(scope="module")
def gazetteer(shop: Catalogue) -> Gazetteer:
    return Gazetteer(learn_names(shop.frame["title"], known_facts(shop)))


def found(gazetteer: Gazetteer, query: str) -> list[tuple[str, str, str, tuple[str, ...]]]:
    return [
        (query[span.start : span.end], span.kind.value, span.name, span.values)
        for span in gazetteer.spans(tokens(query))
    ]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("HALDEN sofas", [("HALDEN", "brand", "", ("Halden",)), ("sofas", "category", "", ("Home > Sofas",))]),
        ("apple & finch", [("apple & finch", "brand", "", ("Apple & Finch",))]),
        ("apple", []),  # a word in the brand and in teas, a name of neither
        ("sofa cover velvet", [
            ("sofa cover", "category", "", ("Home > Sofa covers",)), ("velvet", "attribute", "material", ("velvet",)),
        ]),
        ("cover", [("cover", "category", "", ("Home > Sofa covers",))]),  # the last word of the category alone
        ("pan", [("pan", "category", "", ("Kitchen > Pans, Pots & Lids",))]),
        ("navy-blue", [("navy-blue", "colour", "", ("Navy blue",))]),
        ("forest", [("forest", "colour", "", ("Forest",))]),
        ("tv", []),
    ],
)  # fmt: skip
def test_names(gazetteer: Gazetteer, query: str, names: list[tuple[str, str, str, tuple[str, ...]]]) -> None:
    assert found(gazetteer, query) == names


def test_a_colour_stands_for_its_shades(gazetteer: Gazetteer) -> None:
    ((_, kind, _, values),) = found(gazetteer, "blue")
    assert (kind, set(values)) == ("colour", {"Blue", "Navy blue"})


def test_confidence_is_the_share_of_titles_that_bear_a_name_out(gazetteer: Gazetteer) -> None:
    (span,) = gazetteer.spans(tokens("halden"))
    assert span.confidence == pytest.approx((20 + 2 * 0.6) / (20 + 2))  # 20 titles, all of the brand; first guess .6


def test_spans_do_not_overlap_and_keep_their_order(gazetteer: Gazetteer) -> None:
    spans = gazetteer.spans(tokens("sofa cover sofa cover blue halden pan pan"))
    assert all(one.end <= other.start for one, other in pairwise(spans))


def test_attributes_of_any_shape() -> None:
    said = '{"Colour": "Red/White", "a": {"b": "x"}, "n": 3, "ok": true, "no": false, "l": ["p; q"], "long": "%s"}'
    assert list(attribute_facts(said % ("w " * 40))) == [
        Fact(SpanKind.COLOUR, "", "Red"), Fact(SpanKind.COLOUR, "", "White"), Fact(SpanKind.ATTRIBUTE, "a", "x"),
        Fact(SpanKind.ATTRIBUTE, "ok", "yes"), Fact(SpanKind.ATTRIBUTE, "l", "p"), Fact(SpanKind.ATTRIBUTE, "l", "q"),
    ]  # fmt: skip
    assert list(attribute_facts("no json")) == list(attribute_facts("[1]")) == list(attribute_facts("[" * 9999)) == []


def test_paths_with_those_above_them() -> None:
    assert prefixes("Home > Sofas") == ["Home", "Home > Sofas"]
    assert prefixes(" > ") == prefixes("") == []


def test_a_name_that_is_excluded_is_not_asked_for(reader: QueryReader) -> None:
    kept = reader.read("sofa -halden").spans
    assert [span.kind for span in kept] == [SpanKind.CATEGORY]
    assert reader.read("(sofa) NOT halden velvet").spans[-1].start == len("(sofa) NOT halden ")
