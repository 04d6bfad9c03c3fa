"""Answers as tables for people."""

from collections.abc import Mapping
from typing import Any

from recsys.cli.output import emit_line, emit_table

MEANING = {
    "personal": "from the shopper's own history",
    "session": "from the events of this session",
    "segment": "what is popular in the shopper's segment",
    "popularity": "what is popular in the shop",
    "query": "found by the query",
    "similar": "products like this one",
    "none": "nothing could be found",
}


def show_answer(report: Mapping[str, Any], *, title: str, explain: bool = False) -> None:
    """Write one answer: a table of its hits and a line that says where they come from."""
    hits = report["hits"]
    names = list(dict.fromkeys(name for hit in hits for name in hit.get("parts") or {})) if explain else []
    rows = [
        [hit["rank"], hit["product_id"], hit["fields"].get("title"), price(hit["fields"]), hit["score"], hit["source"]]
        + [(hit.get("parts") or {}).get(name) for name in names]
        for hit in hits
    ]
    emit_line(title)
    if rows:
        emit_table(["#", "product", "title", "price", "score", "source", *names], rows)
    message = f" ({report['message']})" if report["message"] else ""
    emit_line(f"{MEANING[report['rung']]}{message}; answered by {report['model_version']}")


def price(fields: Mapping[str, Any]) -> str:
    """A price with its currency."""
    if fields.get("price") is None:
        return "-"
    return f"{fields['price']:,.2f} {fields.get('currency') or ''}".strip()


def show_night(summary: Mapping[str, Any], *, note: str = "") -> None:
    """Write a night's figures: rows by rung, and who was served."""
    emit_line(f"night {summary['night']}: {summary['rows']:,} rows for {summary['users']:,} users")
    emit_table(
        ["rung", "rows", "share"],
        [[name, row["rows"], f"{row['share']:.1%}"] for name, row in summary["rungs"].items()],
    )
    if summary["loyal_personal_share"] is not None:
        loyal = f"{summary['loyal_users']:,} users with two purchases or more"
        emit_line(f"{summary['loyal_personal_share']:.1%} of {loyal} are served from a personal source")
    if note:
        emit_line(note)
