"""A review as one JSON report, and as tables."""

from typing import Any

from recsys.cli.output import emit_line, emit_table
from recsys.registry.evaluation import COMPARED, MEASURED, SHORT, Evaluation
from recsys.review import Figure, Review


def as_json(review: Review) -> dict[str, Any]:
    """The report for machines."""
    return {
        "model": review.version.uri,
        "champion": review.champion.uri if review.champion else None,
        "tags": {name: tag for name, tag in review.version.tags.items() if not name.startswith((MEASURED, COMPARED))},
        "metrics": [
            {"name": one.name, "measured_on": one.measured_on}
            | {"value": one.value, "champion": one.champion, "gain": one.gain}
            for one in review.figures
        ],
        "comparisons": [
            {"snapshot": one.snapshot, "protocol": one.protocol, "against": one.against, "at": one.at}
            | {"difference": {name: interval._asdict() for name, interval in one.differences.items()}}
            for one in review.comparisons
        ],
        "components": dict(review.components),
        "parity": review.parity.as_json() if review.parity else None,
        "forgotten": {"users": review.forgotten, "unchecked": list(review.unchecked)},
        "settings": [dict(zip(("name", "value", "champion"), row, strict=True)) for row in review.settings],
    }


def show_review(review: Review) -> None:
    """Print the tables, and what to do next."""
    version, champion = review.version, review.champion
    emit_line(
        f"{version.uri}  {version.tags.get('status', 'not decided')}  aliases: {', '.join(version.aliases) or '-'}"
    )
    emit_line(f"champion: {champion.uri if champion else 'none'}")
    for line in forgotten_lines(review):
        emit_line(line)
    emit_line(f"parity: {review.parity.told() if review.parity else 'not measured'}")
    rows = [(one.name, one.measured_on or "not noted", one.value, one.champion, one.gain) for one in review.figures]
    emit_table(("metric", "measured on", "this version", "champion", "gain"), rows, title="Metrics")
    if apart(review.figures):
        emit_line("Figures of different snapshots or protocols stand in different rows: they do not compare.")
    for one in review.comparisons:
        show_comparison(one)
    if champion and not review.comparisons and champion.version != version.version:
        emit_line(f"not compared in pairs yet: recsys evaluate {version.uri} SNAPSHOT --against {champion.uri}")
    emit_table(("component", "since the champion"), review.components, title="Components")
    if review.settings:
        emit_table(("setting", "this version", "champion"), review.settings, title="Settings that differ")
    emit_line(f"next: recsys promote {version.uri} | recsys reject {version.uri} --reason TEXT")


def forgotten_lines(review: Review) -> list[str]:
    """What a reviewer is to know of users who were forgotten since the version was trained."""
    lines = []
    if review.forgotten:
        users = "1 user" if review.forgotten == 1 else f"{review.forgotten} users"
        lines.append(f"learned from {users} who asked to be forgotten since: train it again to leave them out")
    if review.unchecked:
        names = ", ".join(name[:SHORT] for name in review.unchecked)
        lines.append(f"users were forgotten since, and whether snapshot {names} knew them can't be told: it is gone")
    return lines


def apart(figures: list[Figure]) -> bool:
    """True where a metric of both versions has no row in common."""
    mine = {one.name for one in figures if one.value is not None}
    its = {one.name for one in figures if one.champion is not None}
    return bool((mine & its) - {one.name for one in figures if one.gain is not None})


def show_comparison(one: Evaluation) -> None:
    """Print a paired comparison."""
    rows = [(name, *interval) for name, interval in one.differences.items()]
    emit_line(f"This version minus {one.against}, on {one.snapshot[:SHORT]}, {one.protocol} ({one.at}):")
    emit_table(("metric", "mean", "low", "high"), rows, title="Paired, 95 %")
