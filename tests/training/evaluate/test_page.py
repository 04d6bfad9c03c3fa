"""The page and the folder: whole, escaped, without a network, the same for the same table."""

import errno
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from recsys.ranking.calibration import Calibration, CutOff, Platt
from tests.training.evaluate.made import ATTACK, QUERIES, SCORES, table, user_table
from training.evaluate.calibration import measure_calibration
from training.evaluate.folder import run_files, write_folder, write_out, write_record
from training.evaluate.measured import Measured, report
from training.evaluate.page.plots import FEWEST, GAIN, MOST_POINTS, MUTED, gains_plot, short, tone
from training.evaluate.page.sides import marked, pairs_of
from training.evaluate.rankings import Rankings

VOID = {"meta"}


class Reader(HTMLParser):
    """Counts elements, keeps the text, and refuses a page whose elements don't close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def written(measured: Measured, folder: Path) -> str:
    write_folder(measured, report(measured, seed=0), folder, seed=0)
    return (folder / "report.html").read_text(encoding="utf-8")


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(table(), tmp_path_factory.mktemp("page"))


def test_what_a_shop_says_is_text_and_nothing_else(page: str) -> None:
    reader = read(page)
    assert "script" not in reader.seen
    assert "b" in reader.seen, "our own"
    assert ATTACK in reader.text, "and still to be read"
    assert '"><b>' not in page
    assert "&lt;script&gt;" in page


def test_the_page_needs_nothing_else(page: str) -> None:
    reader = read(page)
    assert all(link.startswith("#") for link in reader.links), "pieces of its own pictures"
    assert "default-src 'none'" in page
    assert not re.search(r"url\((?!#)|@import", page)
    assert "prefers-color-scheme: dark" in page


def test_the_pictures_are_inside_in_the_pages_colours(page: str) -> None:
    pictures = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(pictures) == 3
    for picture in pictures:
        ElementTree.fromstring(picture)  # noqa: S314 - our own
        assert not re.search(r"#0102\d\d", picture)
    assert "var(--accent)" in pictures[0]
    assert "$a_b$ -->" in read(pictures[2]).text, "no formula"
    ids = [name for picture in pictures for name in re.findall(r'id="([mpc][0-9a-f]{10})"', picture)]
    assert len(ids) == len(set(ids)), "no picture takes another's marks"


def calibrated(*, cut: float | None) -> Measured:
    """The hand-made table with probabilities that are the scores, and a cut-off."""
    cutoff = None if cut is None else CutOff(probability=cut, irrelevant_share=0.2, confidence=0.9, k=10, queries=9)
    curve = Platt(slope=1, intercept=0)
    stated = Calibration(cross_encoder="", threshold=2, max_grade=3, curve=curve, cutoff=cutoff)
    scores = [np.array(row, dtype=np.float32) for row in SCORES["full"]]
    return replace(table(), calibration=measure_calibration(stated, QUERIES, scores))


@pytest.mark.parametrize(
    ("cut", "told"),
    [
        (0.85, "irrelevant in what a list shows, first 10 50 % above the promise"),
        (None, "No cut-off: none was found that keeps its promise."),
    ],
)
def test_the_page_tells_whether_probabilities_come_true(cut: float | None, told: str, tmp_path: Path) -> None:
    """At .85 query 1 shows its good product alone, query 3 its only one, which is irrelevant, and query 2 nothing."""
    page = written(calibrated(cut=cut), tmp_path)
    read(page)
    text = " ".join(re.sub("<[^>]+>", " ", page).split())
    found = json.loads((tmp_path / "report.json").read_text())["calibration"]
    assert f"ECE, the mean distance from the diagonal {found['ece']:.4f}" in text
    assert f"ECE that sampling alone would give {found['ece_by_sampling']:.4f}" in text
    assert told in text
    assert ("though a judged product is one 1 of 3" in text) == (cut is not None)
    pictures = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert f'aria-label="Reliability plot: ECE {found["ece"]:.4f}' in pictures[-1]
    ElementTree.fromstring(pictures[-1])  # noqa: S314 - our own
    assert page.index(pictures[-1]) < page.index('id="pairs"')


def test_the_page_says_why_probabilities_were_not_looked_at(page: str, tmp_path: Path) -> None:
    assert "probabilities" not in page.replace('"#probabilities"', "").split("<body>")[1], (
        "nobody asks of a recommender"
    )
    told = written(replace(table(), uncalibrated="the model has <none>"), tmp_path)
    assert "Not measured: the model has <none>." in " ".join(read(told).text.split())
    assert read(written(replace(table(), uncalibrated="none", baselines=[]), tmp_path)).text.count("Not measured") == 1


def test_pictures_are_told_to_those_who_hear_the_page(page: str) -> None:
    pictures = re.findall(r"<svg[^>]*>", page)
    assert all('role="img"' in picture and "aria-label=" in picture for picture in pictures)
    assert page.count("<figcaption") == len(pictures)


def test_a_slice_of_few_is_not_coloured() -> None:
    """The interval of one query has no width, so that every gain would look proven."""
    row = {"n": FEWEST - 1, "gain": 0.2, "gain_low": 0.1, "gain_high": 0.3}
    assert [tone(row), tone(row | {"n": FEWEST}), tone(row | {"n": FEWEST, "gain_low": 0.0})] == [MUTED, GAIN, MUTED]


def test_systems_above_the_subject_are_named(tmp_path: Path) -> None:
    assert "By ndcg@2 better than" not in written(table(), tmp_path)
    text = read(written(replace(table(), subject="BM25 titles", baselines=["full"]), tmp_path)).text
    assert "By ndcg@2 better than BM25 titles: full." in text


def test_the_figures_are_those_of_the_report(page: str) -> None:
    found = report(table(), seed=0)
    text = " ".join(read(page).text.split())
    assert f"{found['metrics']['ndcg@2']:.4f}" in text
    row = found["tests"]["systems"]["full"]["ndcg@2"]
    assert f"{row['gain']:+.4f}" in text
    assert "Holm over" in text


def test_the_same_table_gives_the_same_files(page: str, tmp_path: Path) -> None:
    assert written(table(), tmp_path) == page


def test_the_folder_holds_every_file(tmp_path: Path) -> None:
    written(table(), tmp_path)
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert names == [
        "qrels.trec", "queries.csv", "queries.parquet", "report.html", "report.json", "run.trec",
        "runs/bm25-titles.trec", "slices.json",
    ]  # fmt: skip
    found = report(table(), seed=0)
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(found))
    assert json.loads((tmp_path / "slices.json").read_text())["by"].keys() == {"frequency", "category"}


def test_the_table_has_a_row_for_each_query(tmp_path: Path) -> None:
    written(table(), tmp_path)
    frame = pl.read_parquet(tmp_path / "queries.parquet")
    assert frame.columns[:8] == [
        "query_id", "query", "judged", "positive", "relevant", "searches", "frequency", "category",
    ]  # fmt: skip
    assert frame["query_id"].to_list() == ["q 1", "q2", "q3"]
    assert frame.select("judged", "positive", "relevant", "searches").rows() == [
        (4, 2, 1, 5),
        (3, 2, 1, 2),
        (1, 0, 0, 0),
    ]
    assert frame["full: ndcg@10"].to_list()[2] is None
    assert frame["full: ndcg@10"].mean() == pytest.approx(report(table(), seed=0)["metrics"]["ndcg@10"])
    csv = pl.read_csv(tmp_path / "queries.csv")
    assert csv.columns == frame.columns
    assert csv["query"].to_list() == frame["query"].to_list()


def test_several_tables_have_folders_of_their_own(tmp_path: Path) -> None:
    tables = [replace(table(), variant=name) for name in ("one", "two")]
    write_out(tables, [report(one, seed=0) for one in tables], tmp_path, seed=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]
    assert (tmp_path / "two" / "run.trec").is_file()


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def write(measured: Measured, folder: Path) -> set[str]:
    """The files of a table's folder."""
    write_out([measured], [report(measured, seed=0)], folder, seed=0)
    return names_in(folder)


def test_another_table_takes_the_place_of_the_first_and_of_nothing_else(tmp_path: Path) -> None:
    first = write(table(), tmp_path / "first")
    assert {"report.json", "queries.parquet", "run.trec", "runs/bm25-titles.trec"} <= first
    (tmp_path / "first" / "runs" / "mine.trec").touch()
    assert write(user_table(), tmp_path / "first") == write(user_table(), tmp_path / "alone") | {"runs/mine.trec"}


@pytest.mark.parametrize("name", ["report.json", "queries.parquet", "runs/bm25-titles.trec"])
@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("again", [False, True])
def test_an_end_in_the_middle_leaves_the_earlier_table_or_no_report(
    name: str, moving: bool, again: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    before = write(user_table(), out) if again else set()
    old = {file: (out / file).read_bytes() for file in before}
    move = Path.replace

    def ended(path: Path, target: Path) -> Path:
        folder = out if moving else next(out.glob(".partial-*"))
        if target == folder / name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return move(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", ended)
        with pytest.raises(OSError, match="No space left"):
            write(table(), out)
    if moving:
        assert "report.json" not in names_in(out)
    else:
        assert {file: (out / file).read_bytes() for file in names_in(out)} == old
    assert write(table(), out) == write(table(), tmp_path / "alone")


def test_runs_of_systems_with_like_names_stand_apart() -> None:
    names = ("full", "BM25 titles", "BM25: titles!", "models/x", "+", "?")
    assert run_files(names, subject="full") == {
        "BM25 titles": "bm25-titles.trec", "BM25: titles!": "bm25-titles.2.trec", "models/x": "models-x.trec",
        "+": "system.trec", "?": "system.2.trec",
    }  # fmt: skip


def test_users_stay_out_of_what_is_kept_with_a_version(tmp_path: Path) -> None:
    measured = user_table()
    write_record(measured, report(measured, seed=0), tmp_path, seed=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json", "slices.json"]
    assert not any("secret" in path.read_text() for path in tmp_path.iterdir())
    assert "user 1 of 3" in (tmp_path / "report.html").read_text()
    write_folder(measured, report(measured, seed=0), tmp_path / "out", seed=0)
    assert pl.read_parquet(tmp_path / "out" / "users.parquet")["user_id"][0] == "secret-1"


def test_queries_keep_their_table_with_a_version_but_no_rankings(tmp_path: Path) -> None:
    write_record(table(), report(table(), seed=0), tmp_path, seed=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "qrels.trec", "queries.csv", "queries.parquet", "report.html", "report.json", "slices.json",
    ]  # fmt: skip


@pytest.mark.parametrize("nothing", ["no baseline", "nobody counts", "no query"])
def test_a_page_with_little_to_show(nothing: str, tmp_path: Path) -> None:
    measured = table()
    if nothing == "no baseline":
        measured = replace(measured, baselines=[])
    elif nothing == "nobody counts":
        empty = {name: {"ndcg@2": np.full(3, np.nan)} for name in measured.systems}
        measured = replace(measured, systems=empty)
    else:
        asked = replace(measured.asked, texts=[], judged=[], slicings=(), counts={})
        none = {name: {"ndcg@2": np.zeros(0)} for name in measured.systems}
        lists = dict.fromkeys(measured.runs, Rankings.of([]))
        measured = replace(measured, keys=[], asked=asked, systems=none, runs=lists)
    assert "svg" not in read(written(measured, tmp_path)).seen


def test_best_and_worst_stand_side_by_side() -> None:
    measured = table()
    pairs = pairs_of(measured, baseline="BM25 titles")
    (gained,) = pairs["Gained most"]
    assert gained.name == f"blue sofa {ATTACK}"
    ours, theirs = gained.sides
    assert [hit.product_id for hit in ours.hits] == ["a b", "a%20b", "a_b", '"><b>']
    assert [hit.grade for hit in ours.hits] == [3.0, 1.0, 0.0, 0.0]
    assert [hit.state for hit in ours.hits] == ["relevant", "partly", "irrelevant", "irrelevant"]
    assert [hit.move for hit in ours.hits] == [2, -1, 1, -2]
    assert [hit.move for hit in theirs.hits] == [1, 2, -2, -1]
    assert (ours.relevant, gained.relevant) == (1, 1)
    (lost,) = pairs["Lost most"]
    assert lost.name == "lamp"


def test_words_of_the_query_are_marked() -> None:
    assert marked("Blue sofas, wide", {"sofa"}) == (
        ("Blue", False),
        (" ", False),
        ("sofas", True),
        (", ", False),
        ("wide", False),
    )


def test_unjudged_products_are_not_irrelevant() -> None:
    measured = table()
    found = [(np.array([5, 1]), np.array([2.0, 1.0], dtype=np.float32))] * 3
    pairs = pairs_of(replace(measured, runs={**measured.runs, "full": Rankings.of(found)}), baseline="BM25 titles")
    hits = pairs["Gained most"][0].sides[0].hits
    assert [(hit.state, hit.grade, hit.move) for hit in hits] == [("unjudged", None, None), ("relevant", 3.0, 1)]


def test_thousands_of_gains_are_a_small_picture() -> None:
    gains = np.random.default_rng(0).normal(size=50_000)
    assert len(gains_plot(gains, unit="query", metric="ndcg@10")) < 120 * MOST_POINTS
    assert "50000 queries" in gains_plot(gains, unit="query", metric="ndcg@10")


def test_long_labels_are_cut() -> None:
    assert len(short("x" * 99)) == 34
    assert short(" two\nlines ") == "two lines"
