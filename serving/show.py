"""Answers as tables for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recsys.cli.output import emit_line, emit_table, emit_words

if TYPE_CHECKING:
    from serving.forgotten import ForgottenSince

LISTED = 5
MEANING = {
    "session": "from the events of this session",
    "personal": "from the shopper's own history",
    "text": "near in its text to what was looked at last",
    "segment": "what is popular in the shopper's segment",
    "popularity": "what is popular in the shop",
    "query": "found by the query",
    "similar": "products like this one",
    "none": "nothing could be found",
}
WISHED = {
    "spelling": "ask for “{query}”",
    "filter": "leave out the filter {what}",
    "operators": "ask for “{query}”, without operators",
    "words": "leave out “{what}”: “{query}”",
    "closest": "see what is closest, without {what}",
}


def show_answer(report: Mapping[str, Any], *, title: str, explain: bool = False) -> None:
    """Write one answer: a table of its hits and a line that says where they come from, or what else to ask."""
    hits = report["hits"]
    names = list(dict.fromkeys(name for hit in hits for name in hit.get("parts") or {})) if explain else []
    sure = ["good match"] if any("probability" in hit for hit in hits) else []
    rows = [
        [hit["rank"], hit["product_id"], hit["fields"].get("title"), price(hit["fields"]), hit["score"]]
        + [likely(hit) for _ in sure]
        + [hit["source"]]
        + [(hit.get("parts") or {}).get(name) for name in names]
        for hit in hits
    ]
    emit_line(title)
    for line in readings(report):
        emit_line(line)
    if rows:
        emit_table(["#", "product", "title", "price", "score", *sure, "source", *names], rows)
    for hit in hits:
        show_words(hit)
    if report.get("no_good_match"):
        show_relaxations(report.get("relaxations") or [])
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


def likely(hit: Mapping[str, Any]) -> str:
    """The probability of a hit to be a good match."""
    return f"{hit['probability']:.0%}" if "probability" in hit else "-"


def show_words(hit: Mapping[str, Any]) -> None:
    """Write the words behind a hit's score, where they are known."""
    found = hit.get("words")
    if found is None:
        return
    logit, baseline, remainder = found["logit"], found["baseline"], found["remainder"]
    emit_line(
        f"{hit['rank']}. {hit['product_id']}: the words move the network's logit from {baseline:+.2f} to {logit:+.2f}"
        f" ({remainder:+.2f} not explained)"
    )
    for label, side in (("   query", "query_words"), ("   product", "text_words")):
        emit_words(label, [(word["word"], word["weight"]) for word in found[side]])


def show_relaxations(tried: Sequence[Mapping[str, Any]]) -> None:
    """Write that nothing is a good match, and what else was tried."""
    emit_line("no good match")
    if tried:
        rows = [
            [WISHED[one["kind"]].format(**one), one["good"], best["fields"].get("title"), likely(best)]
            if (best := next(iter(one["hits"]), None))
            else [WISHED[one["kind"]].format(**one), one["good"], None, None]
            for one in tried
        ]
        emit_table(["instead", "good matches", "the first", "good match"], rows)


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


def show_forgotten(since: "ForgottenSince") -> None:
    """Write what a night holds of users who were forgotten after it; nothing where there is none."""
    if since.users:
        users = "1 user was" if since.users == 1 else f"{since.users:,} users were"
        emit_line(f"{users} forgotten since this night: {since.rows:,} rows, which whoever reads it is to leave out")
