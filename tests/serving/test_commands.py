"""What the commands print for people and for machines, and how they refuse."""

import json
from typing import Any

import pytest

from recsys.cli.app import main
from recsys.meaning import CategoryShare, Correction, Quantity, Span, SpanKind, Understanding
from serving.show import readings


@pytest.fixture
def engine(shelf: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    engine = shelf.open(shelf.publish("first"))
    monkeypatch.setattr("serving.opening.open_live", lambda settings, *, shop: engine)
    return engine


def run(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


def test_search_for_machines(engine: Any, capsys: Any) -> None:
    code, out, _ = run(capsys, "search", "red sofa", "--k", "2", "--price-min", "60", "--json")
    assert code == 0
    report = json.loads(out)
    assert report["query"] == "red sofa"
    assert [hit["product_id"] for hit in report["hits"]] == ["p007", "p013"]
    assert report["hits"][0]["fields"]["title"] == "red blue sofa"
    assert report["rung"] == "query"


def test_search_for_people(engine: Any, capsys: Any) -> None:
    code, out, _ = run(capsys, "search", "red sofa", "--k", "1")
    assert code == 0
    for piece in ("red sofa", "p005", "50.00", "2.0000", "words", "found by the query; answered by stock"):
        assert piece in out


def test_nothing_found_is_said(engine: Any, capsys: Any) -> None:
    code, out, _ = run(capsys, "search", "zebra")
    assert code == 0
    assert "nothing could be found" in out


def test_recommend_by_user_and_by_session(engine: Any, capsys: Any) -> None:
    _, out, _ = run(capsys, "recommend", "u-sofa", "--k", "1", "--json")
    assert json.loads(out)["hits"][0]["product_id"] == "p004"
    _, out, _ = run(capsys, "recommend", "--viewed", "p003", "--k", "1", "--json")
    assert (json.loads(out)["hits"][0]["product_id"], json.loads(out)["rung"]) == ("p003", "session")
    _, out, _ = run(capsys, "recommend", "u-sofa", "--viewed", "p003", "--k", "1", "--json")
    assert (json.loads(out)["user_id"], json.loads(out)["hits"][0]["product_id"]) == ("u-sofa", "p003")


def test_a_list_may_be_asked_to_hold_to_a_shape(engine: Any, capsys: Any) -> None:
    wishes = ("--diversity", "0.5", "--per-category", "2", "--price-band", "0.5", "2", "--return-days", "30")
    code, _, _ = run(capsys, "recommend", "u-sofa", *wishes, "--json")
    assert code == 0
    assert engine.shapes[-1] == {"diversity": 0.5, "per_category": 2, "price_band": (0.5, 2.0), "return_days": 30.0}
    run(capsys, "recommend", "--viewed", "p003", "--per-brand", "1", "--json")
    assert engine.shapes[-1] == {"per_brand": 1}
    run(capsys, "recommend", "--viewed", "p003", "--available", "--category-depth", "1", "--json")
    assert engine.shapes[-1] == {"available": True, "category_depth": 1}
    run(capsys, "recommend", "--viewed", "p003", "--any-stock", "--json")  # where the shop's own lists say available
    assert engine.shapes[-1] == {"available": False}
    code, out, _ = run(capsys, "recommend", "u-sofa", "--price-band", "2", "1", "--json")
    assert code == 2
    assert "price_band from 2 to 1 holds no price" in json.loads(out)["error"]["found"]


def test_recommend_wants_a_shopper(engine: Any, capsys: Any) -> None:
    code, out, err = run(capsys, "recommend", "--json")
    assert code == 2
    assert err.startswith("error: ")
    assert json.loads(out)["error"]["type"] == "UsageError"


def test_similar(engine: Any, capsys: Any) -> None:
    _, out, _ = run(capsys, "similar", "p003", "--exclude", "p003", "--k", "1", "--json")
    assert json.loads(out)["hits"][0]["product_id"] == "p007"


@pytest.mark.parametrize(
    "arguments", [("search", "sofa"), ("recommend", "u"), ("similar", "p"), ("serve",), ("batch", "run", "-o", "out")]
)
def test_no_index_is_one_line(tmp_path: Any, capsys: Any, monkeypatch: Any, arguments: tuple[str, ...]) -> None:
    monkeypatch.setenv("RECSYS_HOME", str(tmp_path))
    code, _, err = run(capsys, *arguments)
    assert code == 1
    assert err.strip().splitlines() == [err.strip()]
    assert "run `recsys nightly SHOP -o OUT`" in err


@pytest.mark.parametrize("name", ["search", "recommend", "similar", "serve", "nightly", "demo"])
def test_help_tells_every_option(capsys: Any, name: str) -> None:
    code, out, _ = run(capsys, name, "--help")
    assert code == 0
    assert "--json" in out


def test_a_corrected_query_is_said(engine: Any, capsys: Any) -> None:
    _, out, _ = run(capsys, "search", "red soffa", "--k", "1")
    assert "searched for “red sofa”; --no-correction searches for what was typed" in out
    _, out, _ = run(capsys, "search", "red soffa", "--k", "1", "--no-correction")
    assert "searched for" not in out


def test_what_was_read_is_shown_line_by_line() -> None:
    read = Understanding(
        query="2 m sofa",
        text="2 m sofa",
        corrections=(Correction(4, 8, "sofa", "sofas", 0.4, replaced=False),),
        quantities=(Quantity(0, 3, 2000.0, "mm"),),
        spans=(Span(4, 8, SpanKind.CATEGORY, "", ("Home > Sofas",), 0.9),),
        categories=(CategoryShare("Home > Sofas", 0.75, 1),),
        absent={"brand": "the catalogue names no brand"},
    )
    report = {"did_you_mean": read.suggestion, "understanding": read.as_json()}
    assert list(readings(report)) == [
        "did you mean “2 m sofas”?",
        "  2 m: 2000 mm",
        "  sofa: category Home > Sofas (90%)",
        "  75% in Home > Sofas",
        "  no brand is read: the catalogue names no brand",
    ]
