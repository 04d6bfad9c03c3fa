"""What `recsys demo` tells: what happened, how well it went, two examples, where to look next."""

from collections.abc import Mapping
from typing import Any

from recsys.cli.output import emit_line, emit_table
from serving.report import show_measured
from serving.show import price, show_answer, show_night

NEXT = (
    'recsys search "..." --explain          what each stage adds to a product\'s score',
    "recsys recommend USER                  what a customer would be shown",
    "recsys serve                           the same answers over HTTP, described at /docs",
    "recsys history                         who promoted which model, and why",
    "recsys nightly SHOP -o OUT             the same line on your own tables; `recsys validate SHOP` checks them first",
)


def tell(told: Mapping[str, Any]) -> None:
    """Write the whole story."""
    rows, night = told["shop"]["rows"], told["night"]
    emit_line("")
    emit_line(
        f"A made-up shop with {rows['products']:,} products, {rows['users']:,} users and {rows['events']:,} events "
        f"was written to {told['shop']['folder']}."
    )
    emit_line(
        f"One night turned it into snapshot {night['snapshot']}, learned {', '.join(night['trained']) or 'nothing'}"
    )
    emit_line("and put first models live where they beat their baseline. Held out from all of it:")
    for kind, step in night["models"].items():
        for measured in step.get("measured", {}).values():
            emit_line("")
            show_measured(measured, title=f"{kind}: {measured['protocol']}")
    tell_search(told["search"])
    tell_recommend(told["recommend"])
    if night["batch"] is not None:
        emit_line("")
        show_night(night["batch"], note=f"The rows are Parquet in {night['batch']['path']}.")
    emit_line("")
    emit_line(f"{told['seconds']:.0f} seconds in all. Next:")
    for line in NEXT:
        emit_line(f"  {line}")


def tell_search(told: Mapping[str, Any]) -> None:
    """A query with a word that no product has: by words alone, then by all stages."""
    emit_line("")
    emit_line(
        f"A shopper types “{told['query']}”, with a word that stands in no title. Grades reach {told['max_grade']:g}."
    )
    for stages, answer in told["answers"].items():
        table = [
            [hit["rank"], hit["fields"]["title"], price(hit["fields"]), hit["score"], hit["grade"]]
            for hit in answer["hits"]
        ]
        title = "by words alone (BM25)" if stages == "bm25" else f"by {stages}"
        emit_line(title if table else f"{title}: nothing found")
        if table:
            emit_table(["#", "title", "price", "score", "judged grade"], table)


def tell_recommend(told: Mapping[str, Any]) -> None:
    """What a customer bought, and what comes next."""
    emit_line("")
    emit_line(f"Customer {told['user_id']} bought last: {'; '.join(told['bought'])}.")
    show_answer(told["answer"], title=f"recommended to {told['user_id']}")
