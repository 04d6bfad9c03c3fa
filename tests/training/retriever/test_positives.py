"""Which pairs are right, by judgments, events and titles; and what is known beyond them."""

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from feature_store.snapshot import Snapshot, build_snapshot
from feature_store.splits import query_part
from tests.shops import START, small_tables, write_shop
from training.retriever.config import RetrieverConfig
from training.retriever.positives import Positives, read_positives
from training.retriever.pseudo import LEAST, MOST, pseudo_queries

CLICKED = ["green lamp", "Blue  SOFA", "yellow cupboard", "violet bench", "pink stool", "grey shelf", "white rug"]


def config_of(**values: object) -> RetrieverConfig:
    return RetrieverConfig.model_validate(values)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """The small shop with clicks after searches on the first day, judged queries among them, and one late click."""
    tables = small_tables()
    clicks = pl.DataFrame(
        [
            {
                "user_id": "u00",
                "product_id": f"p{product:02d}",
                "timestamp": START + timedelta(minutes=number + product),
                "event_type": kind,
                "query": query,
            }
            for number, query in enumerate(CLICKED)
            for product, kind in ((number, "click"), (39 - number, "purchase"), (20, "view"))
        ]
        + [
            {
                "user_id": "u01",
                "product_id": "p05",
                "timestamp": START + timedelta(days=89),
                "event_type": "click",
                "query": "late query",
            }
        ]
    )
    tables["events"] = pl.concat([tables["events"], clicks], how="diagonal")
    folder = tmp_path_factory.mktemp("searched")
    return build_snapshot(write_shop(folder / "shop", tables), out=folder / "snapshot")


def pairs_of(snapshot: Snapshot, *parts: str, **values: object) -> tuple[Positives, dict[tuple[str, str], float]]:
    """What is read, and the weight of each pair by query and product id."""
    catalogue = snapshot.catalogue()
    found = read_positives(snapshot, *parts, catalogue=catalogue, config=config_of(**values))
    ids = catalogue.ids(found.position)
    texts = [found.texts[query] for query in found.query]
    return found, dict(zip(zip(texts, ids, strict=True), found.weights.tolist(), strict=True))


def test_judged_pairs_are_right_from_a_share_of_the_best_grade_and_weigh_by_grade(small_snapshot: Snapshot) -> None:
    judgments = small_snapshot.judgments("train")
    found, weights = pairs_of(small_snapshot, "train")
    kept = judgments.filter(pl.col("grade") >= 1.5)
    expected = kept["grade"] / kept["grade"].mean()
    assert weights == {
        (query, product): pytest.approx(weight)
        for query, product, weight in zip(kept["query"], kept["product_id"], expected, strict=True)
    }
    good = judgments.filter(pl.col("grade") > 0)
    assert len(found.known.codes) == good.filter(pl.col("query").is_in(kept["query"].implode())).height
    assert found.query.tolist() == sorted(found.query.tolist())


def test_clicks_after_searches_join_what_was_judged(searched: Snapshot) -> None:
    """A judged pair keeps its judgment; queries of other parts and views are left out; known holds both."""
    judged = {
        (query.casefold(), product) for query, product in searched.judgments().select("query", "product_id").rows()
    }
    fold = searched.manifest.split.fold
    expected = {
        (" ".join(query.casefold().split()), f"p{product:02d}")
        for number, query in enumerate(CLICKED)
        for product in (number, 39 - number)
        if query_part(query, fold=fold) == "train"
    } - judged
    assert expected
    _, before = pairs_of(searched, "train")
    found, after = pairs_of(searched, "train", search_events=True)
    spelled = {(" ".join(query.casefold().split()), product) for query, product in after}
    assert spelled == {(query.casefold(), product) for query, product in before} | expected
    least = min(after.values())
    assert all(
        weight == pytest.approx(least)
        for (query, product), weight in after.items()
        if (" ".join(query.casefold().split()), product) in expected
    )
    catalogue = searched.catalogue()
    texts = [" ".join(text.casefold().split()) for text in found.texts]
    for query, product in expected:
        position = catalogue.positions([product])
        assert found.known.holds(position * 0 + texts.index(query), found.twin[position]).all()


def test_late_events_wait_for_the_test_part(searched: Snapshot) -> None:
    for parts in (("train",), ("train", "validation")):
        found, _ = pairs_of(searched, *parts, search_events=True)
        assert "late query" not in found.texts


def test_no_query_of_the_test_part_is_learned_from(searched: Snapshot) -> None:
    found, _ = pairs_of(searched, "train", "validation", search_events=True)
    fold = searched.manifest.split.fold
    assert {query_part(text, fold=fold) for text in found.texts} == {"train", "validation"}


def test_without_judgments_no_judgment_is_read(small_snapshot: Snapshot) -> None:
    found, weights = pairs_of(small_snapshot, "train", judgments=False)
    assert len(found) == 0
    assert not weights
    assert not len(found.known.codes)


def test_titles_become_queries_of_their_products(small_snapshot: Snapshot) -> None:
    found, weights = pairs_of(small_snapshot, "train", judgments=False, pseudo_queries=3)
    titles = dict(small_snapshot.catalogue().frame.select("product_id", "title").rows())
    assert {product for _, product in weights} == set(titles)
    for query, product in weights:
        assert set(query.split()) <= set(titles[product].split())
    assert found.whole.any()
    assert not found.whole.all()
    assert found.known.holds(found.query, found.twin[found.position]).all()


def test_pseudo_queries_keep_the_order_of_words_and_hang_on_seed_and_title_alone() -> None:
    titles = ["one two three four five six seven eight nine ten eleven twelve thirteen", "solo", "", "a b"]
    queries, rows = pseudo_queries(titles, number=4, seed=0)
    assert rows == sorted(rows)
    assert set(rows) == {0, 1, 3}
    for query, row in zip(queries, rows, strict=True):
        words = iter(titles[row].split())
        assert all(word in words for word in query.split())
        assert min(LEAST, len(titles[row].split())) <= len(query.split()) <= MOST
    assert len(set(zip(queries, rows, strict=True))) == len(queries)
    again, where = pseudo_queries(titles[::-1], number=4, seed=0)
    assert {titles[::-1][row]: query for query, row in zip(again, where, strict=True)} == {
        titles[row]: query for query, row in zip(queries, rows, strict=True)
    }
    assert pseudo_queries(titles, number=4, seed=1) != (queries, rows)


def test_a_shop_without_any_pair_says_so(small_snapshot: Snapshot, tmp_path: Path) -> None:
    from recsys.errors import SnapshotError
    from training.metric_log import Silent
    from training.retriever.stage import RetrieverStage

    with pytest.raises(SnapshotError, match="pseudo_queries"):
        RetrieverStage().train(
            small_snapshot,
            config=config_of(judgments=False),
            folder=tmp_path / "component",
            work=tmp_path / "work",
            run=Silent(),
            base=None,
            start=None,
            refit=True,
        )
