"""Searching, ranking, recommending: parts, order, ties, filters, and a defined answer to everything unknown."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from recsys.bundle.manifest import RECOMMENDER
from recsys.bundle.read import Bundle
from recsys.catalogue import Catalogue
from recsys.engine.build import build_index
from recsys.engine.engine import Engine
from recsys.engine.policy import ListRules, ListShape, list_rules
from recsys.engine.sessions import followed
from recsys.errors import IndexMismatchError, UsageError
from recsys.settings import Settings
from recsys.types import EVENT_CODES, Answer, Filters, Histories, Mask, Rung
from tests.bundles import bundle_of, components_in
from tests.recsys.engine.conftest import write_item_knn, write_popularity

QUERIES = ["blue sofa", "red velvet chair", "lamp", "steel"]


class Users:
    """A history source with two users."""

    events: ClassVar = {"warm": [("p01", "purchase"), ("p02", "view")], "viewer": [("p01", "view")]}

    def read(self, user_ids: Sequence[str]) -> Histories:
        return histories(
            *(self.events.get(name, []) for name in user_ids),
            segments=["young" if n == "quiet" else "" for n in user_ids],
        )

    def known(self, user_ids: Sequence[str]) -> Mask:
        return np.array([name in {*self.events, "quiet"} for name in user_ids], dtype=np.bool_)


def histories(*users: Sequence[tuple[str, str]], segments: Sequence[str] | None = None) -> Histories:
    events = [event for user in users for event in user]
    return Histories(
        offsets=np.cumsum([0, *map(len, users)], dtype=np.int64),
        product_ids=tuple(product for product, _ in events),
        timestamps=np.arange(len(events), dtype=np.int64),
        event_types=np.array([EVENT_CODES[name] for _, name in events], dtype=np.int8),
        segments=tuple(segments or [""] * len(users)),
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    place = tmp_path_factory.mktemp("home")
    return Settings(home=place, tracking_uri="")


@pytest.fixture(scope="module")
def engine(catalogue: Catalogue, search_bundle: Bundle, recommender_bundle: Bundle, home: Settings) -> Engine:
    folder = home.home / "index"
    build_index(catalogue, search=search_bundle, recommender=recommender_bundle, folder=folder, shop="demo")
    return Engine.open(folder, settings=home, histories=Users(), deterministic=True)


def ids(answer: Answer) -> list[str]:
    return [hit.product_id for hit in answer.hits]


@pytest.mark.parametrize("stages", ["bm25", "dense", "hybrid", "full"])
def test_parts_add_up_to_the_score_and_hits_stand_in_order(engine: Engine, catalogue: Catalogue, stages: str) -> None:
    for answer in engine.search(QUERIES[:3], k=12, explain=True, stages=stages):
        assert answer.rung is Rung.QUERY
        for rank, hit in enumerate(answer.hits, start=1):
            assert hit.rank == rank
            assert sum(hit.parts.values()) == pytest.approx(hit.score, abs=1e-6)
        keys = [(-hit.score, int(catalogue.positions([hit.product_id])[0])) for hit in answer.hits]
        assert keys == sorted(keys)


def test_parts_are_given_only_where_asked_for(engine: Engine) -> None:
    assert all(not hit.parts for hit in engine.search(["sofa"])[0].hits)


def test_the_cross_encoder_settles_the_top_and_only_the_top(engine: Engine) -> None:
    (answer,) = engine.search(["blue sofa"], k=12, explain=True, stages="full")
    settled = [hit.parts["cross_encoder"] > 0 for hit in answer.hits]
    assert settled == [True] * 4 + [False] * (len(answer.hits) - 4)


def test_a_hit_names_the_stages_that_found_it(engine: Engine) -> None:
    (answer,) = engine.search(["blue sofa"], k=12, stages="hybrid")
    sources = {hit.product_id: hit.source for hit in answer.hits}
    assert sources["p00"] == "bm25+dense"
    assert "dense" in sources.values()


@pytest.mark.parametrize("stages", ["bm25", "dense", "hybrid", "full"])
def test_a_batch_answers_as_each_query_alone(engine: Engine, stages: str) -> None:
    together = engine.search(QUERIES, k=5, stages=stages)
    for query, answer in zip(QUERIES, together, strict=True):
        (alone,) = engine.search([query], k=5, stages=stages)
        assert alone == answer


def test_a_faster_engine_answers_almost_alike(engine: Engine, home: Settings) -> None:
    fast = Engine.open(home.home / "index", settings=home)
    for one, other in zip(fast.search(QUERIES, k=12), engine.search(QUERIES, k=12), strict=True):
        scores = {hit.product_id: hit.score for hit in other.hits}
        assert [hit.score for hit in one.hits] == pytest.approx([scores[hit.product_id] for hit in one.hits], abs=0.02)


def test_more_queries_than_are_held_at_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.engine.search.QUERIES", 2)
    assert [len(answer.hits) > 0 for answer in engine.search(["sofa", "lamp", "", "chair", "blue"])] == [1, 1, 0, 1, 1]


@pytest.mark.parametrize("stages", ["bm25", "dense", "hybrid", "full"])
def test_filters_hold_in_every_stage(engine: Engine, stages: str) -> None:
    filters = Filters(brand=("Acme",), price_max=60.0, in_stock=True, exclude=("p01",))
    (answer,) = engine.search(["blue red white sofa"], k=12, filters=filters, stages=stages)
    assert set(ids(answer)) <= {"p05"}
    (answer,) = engine.search(["sofa"], filters=Filters(only=("p02", "p08", "nowhere")), stages=stages)
    assert set(ids(answer)) <= {"p02", "p08"}
    (answer,) = engine.search(["sofa"], filters=Filters(brand=("Nobody",)), stages=stages)
    assert (answer.hits, answer.rung) == ((), Rung.NONE)
    assert answer.message == "the filters let no product pass"


def test_words_that_are_excluded_stay_out_of_every_stage(engine: Engine) -> None:
    (answer,) = engine.search(["sofa -blue"], k=12, stages="full")
    assert set(ids(answer)) == {"p01", "p02", "p03"}


def test_a_query_that_says_nothing_has_a_defined_answer(engine: Engine) -> None:
    blank, punctuation, plain = engine.search(["  ", "...", "sofa"], stages="bm25")
    assert (blank.hits, blank.rung, blank.message) == ((), Rung.NONE, "the query is empty")
    assert (punctuation.rung, punctuation.message) == (Rung.NONE, "no product matches")
    assert plain.rung is Rung.QUERY


def test_wrong_wishes_are_refused(engine: Engine) -> None:
    with pytest.raises(UsageError, match="stages `best`"):
        engine.search(["sofa"], stages="best")
    with pytest.raises(UsageError, match="k is 0"):
        engine.search(["sofa"], k=0)
    with pytest.raises(UsageError, match="1 queries and 2 lists"):
        engine.rank(["sofa"], [["p00"], ["p01"]])


def test_rank_orders_the_callers_products_and_leaves_unknown_ones_out(engine: Engine) -> None:
    first, second = engine.rank(["blue sofa", "lamp"], [["p07", "nowhere", "p00", "p07"], []])
    assert set(ids(first)) == {"p07", "p00"}
    assert first.message == "unknown products left out: nowhere"
    assert [hit.rank for hit in first.hits] == [1, 2]
    assert all(sum(hit.parts.values()) == pytest.approx(hit.score, abs=1e-6) for hit in first.hits)
    assert (second.rung, second.message) == (Rung.NONE, "no candidates")
    (unknown,) = engine.rank(["sofa"], [["a", "b", "c", "d", "e", "f", "g"]])
    assert unknown.message == "unknown products left out: a, b, c, d, e and 2 more"


def test_rank_says_what_search_within_the_same_products_says(engine: Engine) -> None:
    chosen = ["p00", "p01", "p04", "p09"]
    (ranked,) = engine.rank(["blue chair"], [chosen])
    (searched,) = engine.search(["blue chair"], filters=Filters(only=tuple(chosen)), stages="full")
    assert ids(ranked) == ids(searched)
    assert [hit.score for hit in ranked.hits] == pytest.approx([hit.score for hit in searched.hits], abs=1e-5)


def test_texts_of_the_caller_are_scored(engine: Engine) -> None:
    scores = engine.score_texts("blue sofa", ["blue sofa", "steel lamp", ""])
    assert scores.shape == (3,)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert engine.score_texts("blue sofa", []).shape == (0,)


def test_a_warm_user_is_answered_personally_without_what_is_owned(engine: Engine) -> None:
    (answer,) = engine.recommend(["warm"], k=12)
    assert answer.rung is Rung.PERSONAL
    assert answer.hits[0].source == "two-tower"
    assert "p01" not in ids(answer)
    assert len(answer.hits) == 11
    (again,) = engine.recommend(["warm"], k=12, repeats=True)
    assert "p01" in ids(again)


def test_what_was_only_viewed_may_come_back(engine: Engine) -> None:
    assert "p01" in ids(engine.recommend(["viewer"], k=12)[0])


def test_cold_users_go_down_the_ladder(engine: Engine) -> None:
    quiet, stranger = engine.recommend(["quiet", "stranger"], k=4)
    assert (quiet.rung, ids(quiet), quiet.message) == (Rung.SEGMENT, ["p09", "p01", "p05", "p06"], "")
    assert (stranger.rung, ids(stranger)) == (Rung.POPULARITY, ["p05", "p06", "p00"])
    assert stranger.message == "the user is unknown"


def test_sessions_and_histories_of_unknown_products(engine: Engine) -> None:
    session, lost = engine.recommend_histories(histories([("p01", "view")], [("gone", "view")]), k=3)
    assert session.rung is Rung.SESSION
    assert lost.rung is Rung.POPULARITY


def test_a_known_users_session_stands_at_the_end_of_the_history(engine: Engine) -> None:
    """The rung is the session's; without one the history alone answers; both as each alone would be."""
    sessions = histories([("p09", "view"), ("p10", "view")], [], [("p01", "purchase")])
    users = ["warm", "warm", "quiet"]
    both, alone, bought = engine.recommend(users, sessions=sessions, k=5)
    assert [answer.rung for answer in (both, alone, bought)] == [Rung.SESSION, Rung.PERSONAL, Rung.SESSION]
    assert alone == engine.recommend(["warm"], k=5)[0]
    whole = histories([*Users.events["warm"], ("p09", "view"), ("p10", "view")])
    assert ids(both) == ids(engine.recommend_histories(whole, k=5)[0])
    assert "p01" not in ids(engine.recommend(["quiet"], sessions=histories([("p01", "purchase")]), k=12)[0])
    assert ids(engine.recommend(["quiet"], sessions=histories([("p01", "purchase")]), k=5)[0]) == ids(bought)
    with pytest.raises(UsageError, match="1 users and 3 sessions"):
        engine.recommend(["warm"], sessions=sessions)


def test_a_sessions_events_are_now(engine: Engine) -> None:
    users, sessions = histories([("p01", "view")], []), histories([("p02", "view"), ("p03", "view")], [("p04", "view")])
    joined = followed(users, sessions, now=1000)
    assert joined.timestamps.tolist() == [0, 999, 1000, 1000]
    assert joined.product_ids == ("p01", "p02", "p03", "p04")
    assert joined.offsets.tolist() == [0, 3, 4]
    assert followed(users, sessions, now=None).timestamps.tolist() == [0, 1, 2, 1]
    assert followed(users, sessions, now=np.array([50, 70])).timestamps.tolist() == [0, 49, 50, 70]


@pytest.fixture(scope="module")
def counted(catalogue: Catalogue, search_bundle: Bundle, home: Settings) -> Engine:
    """Item-kNN over the first four products, popularity, and the search's text vectors."""
    write_item_knn(home.home / "item_knn", catalogue.product_ids[:4])
    write_popularity(home.home / "popularity", {"": ["p05", "p06", "p00"], "young": ["p09", "p01"]})
    parts = components_in(home.home, "item_knn", "popularity", parts=["train"])
    bundle = bundle_of(home.home / "counted", RECOMMENDER, parts)
    folder = home.home / "counted-index"
    build_index(catalogue, search=search_bundle, recommender=bundle, folder=folder, shop="demo")
    return Engine.open(folder, settings=home, histories=Users())


def test_a_new_product_is_answered_by_its_text_from_its_first_minute(counted: Engine) -> None:
    """No event names p11, so no recommender knows it; item-kNN knows two neighbours of p00."""
    new, known = counted.recommend_histories(histories([("p11", "view")], [("p00", "view")]), k=4)
    assert (new.rung, {hit.source for hit in new.hits}) == (Rung.TEXT, {"text"})
    assert len(new.hits) == 4
    assert "p11" not in ids(new)
    assert ids(new) == ids(counted.similar(["p11"], k=4)[0])
    assert known.rung is Rung.SESSION
    assert [hit.rung for hit in known.hits] == [None, None, Rung.TEXT, Rung.TEXT]
    assert [hit.source for hit in known.hits] == ["item-knn", "item-knn", "text", "text"]


def test_two_tower_recommends_a_product_that_no_event_names_by_its_text(engine: Engine) -> None:
    (answer,) = engine.recommend_histories(histories([("p00", "view"), ("p08", "view")]), k=12)
    assert [(hit.source, hit.rung) for hit in answer.hits if hit.product_id == "p11"] == [("two-tower", None)]


def test_what_is_missing_after_the_text_is_what_sells(counted: Engine) -> None:
    filters = Filters(only=("p05", "p09", "p11"))
    (answer,) = counted.recommend_histories(histories([("p11", "view")], segments=["young"]), k=4, filters=filters)
    assert [(hit.rung or answer.rung) for hit in answer.hits] == [Rung.TEXT] * 2
    (quiet,) = counted.recommend(["quiet"], k=4, filters=filters)
    assert [(hit.product_id, hit.rung or quiet.rung) for hit in quiet.hits] == [
        ("p09", Rung.SEGMENT),
        ("p05", Rung.POPULARITY),
    ]


def test_text_answers_the_same_in_every_company(counted: Engine) -> None:
    users = [[("p11", "view")], [("p00", "view")], [], [("p02", "view"), ("p07", "view")]]
    for events, answer in zip(users, counted.recommend_histories(histories(*users), k=5), strict=True):
        (alone,) = counted.recommend_histories(histories(events), k=5)
        assert alone == answer


def test_a_shop_without_events_recommends_by_text_alone(
    catalogue: Catalogue, search_bundle: Bundle, home: Settings
) -> None:
    folder = home.home / "no-recommender"
    build_index(catalogue, search=search_bundle, recommender=None, folder=folder, shop="demo")
    bare = Engine.open(folder, settings=home, histories=Users())
    session, nobody = bare.recommend_histories(histories([("p03", "view")], []), k=3)
    assert (session.rung, len(session.hits)) == (Rung.TEXT, 3)
    assert session.message == nobody.message == "no recommender has been trained for this shop"
    assert nobody.rung is Rung.NONE


def test_a_shops_rules_hold_for_all_its_lists(catalogue: Catalogue, search_bundle: Bundle, home: Settings) -> None:
    """Written into the index, so by night as online; a request's own wishes win."""
    rules = ListRules.model_validate({"repeats": True, "shape": {"per_brand": 1, "available": True}})
    engines = []
    for name, own in (("ruled", rules), ("free", None)):
        build_index(catalogue, search=search_bundle, recommender=None, folder=home.home / name, shop="demo", lists=own)
        engines.append(Engine.open(home.home / name, settings=home, histories=Users()))
    ruled, free = engines
    session = histories([("p02", "view")])
    brands = dict(catalogue.frame.select("product_id", "brand").iter_rows())
    (answer,) = ruled.recommend_histories(session, k=8)
    assert sorted(brands[name] for name in ids(answer)) == ["Acme", "Oakly"]
    assert "p03" not in ids(ruled.recommend_histories(session, k=12, shape=ListShape(per_brand=None))[0])
    assert ids(ruled.recommend_histories(session, k=12, shape=ListShape(per_brand=None, available=False))[0]) == ids(
        free.recommend_histories(session, k=12)[0]
    )
    assert ruled.recommendations.policy.repeats is True
    assert ruled.manifest.digest != free.manifest.digest
    broken = ruled.manifest.model_copy(update={"lists": {"shape": {"magic": 1}}})
    with pytest.raises(IndexMismatchError, match="build it again"):
        list_rules(broken.lists)


def test_recommendations_obey_filters(engine: Engine) -> None:
    (answer,) = engine.recommend(["warm"], k=12, filters=Filters(category=("Home > Lamps",)))
    assert set(ids(answer)) == {"p08", "p09", "p10", "p11"}
    (answer,) = engine.recommend(["warm"], filters=Filters(price_min=1e9))
    assert (answer.rung, answer.message) == (Rung.NONE, "the filters let no product pass")


def test_a_batch_of_users_answers_as_each_alone(engine: Engine) -> None:
    names = ["warm", "stranger", "quiet", "viewer", "warm"]
    for name, answer in zip(names, engine.recommend(names, k=6), strict=True):
        (alone,) = engine.recommend([name], k=6)
        assert ids(alone) == ids(answer)
        assert alone.rung is answer.rung


def test_similar_products_never_hold_the_product_itself(engine: Engine) -> None:
    for name, answer in zip(["p00", "p11"], engine.similar(["p00", "p11"], k=12), strict=True):
        assert answer.rung is Rung.SIMILAR
        assert name not in ids(answer)
        assert len(set(ids(answer))) == len(answer.hits) == 11
    assert engine.similar(["p00"], k=2)[0].hits[0].source == "item-knn"


def test_an_unknown_product_gets_what_is_popular(engine: Engine) -> None:
    (answer,) = engine.similar(["nowhere"], k=2)
    assert (answer.rung, ids(answer), answer.message) == (Rung.POPULARITY, ["p05", "p06"], "product nowhere is unknown")


def test_similar_products_obey_filters(engine: Engine) -> None:
    (answer,) = engine.similar(["p00"], k=12, filters=Filters(brand=("Acme",), exclude=("p01",)))
    assert set(ids(answer)) == {"p03", "p05", "p07", "p09", "p11"}


def test_no_history_source_is_one_clear_line(engine: Engine) -> None:
    blind = Engine(engine.manifest, engine.catalogue, engine.finder, engine.recommendations)
    with pytest.raises(UsageError, match="no history source"):
        blind.recommend(["warm"])


def test_only_what_was_learned_is_there(catalogue: Catalogue, tmp_path: Path, settings: Settings) -> None:
    build_index(catalogue, search=None, recommender=None, folder=tmp_path / "index", shop="demo", backbone="")
    bare = Engine.open(tmp_path / "index", settings=settings, histories=Users())
    assert bare.finder.available == ("bm25",)
    assert ids(bare.search(["blue sofa"], k=1)[0]) == ["p00"]
    with pytest.raises(UsageError, match="no dense stage"):
        bare.search(["sofa"], stages="hybrid")
    (answer,) = bare.recommend(["warm"])
    assert (answer.rung, answer.message) == (Rung.NONE, "no recommender has been trained for this shop")
    assert bare.similar(["p00"])[0].rung is Rung.NONE
    assert bare.score_texts("blue sofa", ["sofa", "lamp"]).tolist() == [0.5, 0.0]
    assert bare.model_version == "stock"


@pytest.mark.parametrize("stages", ["bm25", "dense", "hybrid", "full"])
def test_a_thousand_identical_products_stand_in_the_order_of_their_ids(many: Engine, stages: str) -> None:
    (answer,) = many.search(["blue sofa"], k=300, stages=stages)
    assert ids(answer) == [f"t{number:04}" for number in range(300)]
    assert answer.hits[10].score == answer.hits[4].score


def test_neighbours_among_a_thousand_identical_products_stand_in_the_order_of_their_ids(many: Engine) -> None:
    (answer,) = many.similar(["t0005"], k=7)
    assert ids(answer) == ["t0000", "t0001", "t0002", "t0003", "t0004", "t0006", "t0007"]


def test_a_filter_on_identical_products_keeps_their_order(many: Engine) -> None:
    hidden = tuple(f"t{number:04}" for number in range(0, 1000, 2))
    (answer,) = many.search(["blue sofa"], k=5, filters=Filters(exclude=hidden))
    assert ids(answer) == ["t0001", "t0003", "t0005", "t0007", "t0009"]


@pytest.fixture(scope="module")
def many(search_bundle: Bundle, home: Settings, twins: Catalogue) -> Engine:
    folder = home.home / "twins"
    build_index(twins, search=search_bundle, recommender=None, folder=folder, shop="demo")
    return Engine.open(folder, settings=home)


def test_an_empty_catalogue_answers_everything(
    empty: Catalogue, search_bundle: Bundle, recommender_bundle: Bundle, home: Settings
) -> None:
    build_index(empty, search=search_bundle, recommender=recommender_bundle, folder=home.home / "empty", shop="demo")
    bare = Engine.open(home.home / "empty", settings=home, histories=Users())
    answers = [
        *bare.search(["sofa"]), *bare.recommend(["warm", "stranger"]), *bare.similar(["p00"]),
        *bare.recommend_histories(histories([("p00", "view")])),
    ]  # fmt: skip
    assert {(answer.hits, answer.rung, answer.message) for answer in answers} == {
        ((), Rung.NONE, "the catalogue is empty"), ((), Rung.NONE, "the user is unknown; the catalogue is empty"),
    }  # fmt: skip
    assert bare.rank(["sofa"], [["p00"]])[0].rung is Rung.NONE
