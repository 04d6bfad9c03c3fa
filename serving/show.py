"""Answers as tables for people."""

from collections.abc import Iterator, Mapping
from typing import Any

from recsys.cli.output import emit_line, emit_table

LISTED = 5
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
    for line in readings(report):
        emit_line(line)
    if rows:
        emit_table(["#", "product", "title", "price", "score", "source", *names], rows)
    message = f" ({report['message']})" if report["message"] else ""
    emit_line(f"{MEANING[report['rung']]}{message}; answered by {report['model_version']}")


def readings(report: Mapping[str, Any]) -> Iterator[str]:
    """How a query was taken, line by line; nothing where it was taken as it stands."""
    if report.get("corrected_query"):
        yield f"searched for “{report['corrected_query']}”; --no-correction searches for what was typed"
    if report.get("did_you_mean"):
        yield f"did you mean “{report['did_you_mean']}”?"
    read = report.get("understanding")
    if not read:
        return
    text = read["text"]
    for one in read["quantities"]:
        yield f"  {text[one['start'] : one['end']]}: {one['value']:g} {one['unit']}"
    for one in read["spans"]:
        named = f"{one['kind']} {one['name']}".strip() + f" {' or '.join(one['values'][:LISTED])}"
        yield f"  {text[one['start'] : one['end']]}: {named} ({one['confidence']:.0%})"
    for one in read["categories"][:LISTED]:
        yield f"  {one['probability']:.0%} in {one['path']}"
    for part, reason in read["absent"].items():
        yield f"  no {part} is read: {reason}"


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
