"""The demo: what it tells, and (slow) that all of it comes out of one command on a fresh folder."""

from typing import Any

from serving.story import tell


def hit(rank: int, title: str, grade: float | None = None) -> dict[str, Any]:
    fields = {"title": title, "price": 899.0, "currency": "EUR"}
    return {"product_id": f"P{rank}", "rank": rank, "score": 1.5, "source": "bm25", "fields": fields, "grade": grade}


def told() -> dict[str, Any]:
    interval = {"mean": 0.02, "low": 0.01, "high": 0.03}
    measured = {
        "protocol": "time, test part",
        "system": "engine",
        "metrics": {"ndcg@10": 0.12, "recall@10": 0.2},
        "baselines": {
            "popularity": {"metrics": {"ndcg@10": 0.1, "recall@10": 0.15}, "difference": {"ndcg@10": interval}}
        },
    }
    answer = {
        "hits": [hit(1, "Red sofa", 3.0)],
        "rung": "query",
        "message": "",
        "model_version": "sample.recommender/7",
    }
    batch = {
        "night": "2024-12-25",
        "path": "nights/2024-12-25",
        "rows": 1000,
        "users": 100,
        "rungs": {"personal": {"rows": 900, "share": 0.9}, "popularity": {"rows": 100, "share": 0.1}},
        "loyal_users": 50,
        "loyal_personal_share": 1.0,
    }
    return {
        "shop": {"folder": "demo/shop", "rows": {"products": 1500, "users": 1000, "events": 200_000}},
        "night": {
            "snapshot": "abc",
            "trained": ["popularity", "als"],
            "models": {"product-search": {}, "recommender": {"measured": {"challenger": measured}}},
            "batch": batch,
        },
        "search": {
            "query": "davenport",
            "max_grade": 3.0,
            "answers": {"bm25": answer | {"hits": []}, "all stages": answer},
        },
        "recommend": {"user_id": "U1", "bought": ["Blue lamp"], "answer": answer | {"rung": "personal"}},
        "seconds": 171.0,
    }


def test_the_story_tells_figures_examples_and_what_comes_next(capsys: Any) -> None:
    tell(told())
    out = capsys.readouterr().out
    for piece in (
        "1,500 products, 1,000 users and 200,000 events",
        "learned popularity, als",
        "recommender: time, test part",
        "+0.0200 [+0.0100, +0.0300]",
        "“davenport”",
        "by words alone (BM25): nothing found",
        "Red sofa",
        "Customer U1 bought last: Blue lamp.",
        "from the shopper's own history",
        "90.0%",
        "171 seconds in all",
        "recsys nightly SHOP -o OUT",
    ):
        assert piece in out
