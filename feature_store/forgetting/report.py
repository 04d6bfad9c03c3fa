"""What `recsys forget` says: what went, what goes next, and what remains. No id and no pseudonym is told."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from feature_store.forgetting.forget import Outcome
from feature_store.forgetting.places import Place
from recsys.cli.output import emit_line, emit_table


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The report for machines."""
    standing, swept = outcome.standing, outcome.swept
    return {
        "shop": outcome.shop,
        "dry_run": swept is None,
        "users": outcome.users,
        "forgotten": outcome.forgotten,
        "forgotten_before": outcome.before,
        "unknown": outcome.unknown,
        "tombstones": outcome.tombstones,
        "erased": None
        if swept is None
        else {
            "keys": len(standing.keys),
            "events": swept.events,
            "histories": swept.histories,
            "features": swept.features,
            "served": swept.served,
        },
        "finished": outcome.finished,
        "found": {
            "keys": len(standing.keys),
            "events": standing.log.total(),
            "histories": len(standing.histories),
            "event_files": rows(standing.files),
            "snapshots": rows(standing.snapshots),
            "nights": rows(standing.nights),
        },
        "at_next_compaction": rows(standing.files),
        "remains": {
            "snapshots": held(standing.snapshots),
            "nights": held(standing.nights),
            "models": {label: dict(tags) for label, tags in swept.models.items()} if swept else {},
        },
    }


def rows(places: Sequence[Place]) -> int:
    """Rows of all the users in some places."""
    return sum(place.rows.total() for place in places)


def held(places: Sequence[Place]) -> list[dict[str, Any]]:
    """The places that hold any of the users."""
    return [{"path": str(place.path), "rows": place.rows.total()} for place in places if place.rows]


def show_outcome(outcome: Outcome) -> None:
    """Write what was done, a line for each thing that is to be known."""
    standing, swept = outcome.standing, outcome.swept
    emit_line(f"{'would forget' if swept is None else 'forgot'} {users(outcome.forgotten)}")
    if outcome.before:
        emit_line(f"{users(outcome.before)} forgotten before, and left nothing since")
    if outcome.unknown:
        emit_line(f"{users(outcome.unknown)} known nowhere: check the id; whatever of them is read later stays out")
    if swept is None:
        found = (len(standing.keys), standing.log.total(), len(standing.histories))
    else:
        found = (len(standing.keys), swept.events, swept.histories)
    title = "would go" if swept is None else "gone"
    emit_table(("what", title), zip(("keys", "events in the log", "histories"), found, strict=True))
    if outcome.finished:
        emit_line(f"finished what an earlier call had left over for {users(outcome.finished)}")
    if files := rows(standing.files):
        emit_line(f"{files:,} rows in files of the event log go at the next `recsys events compact`, or night")
    show_remains(outcome)


def show_remains(outcome: Outcome) -> None:
    """Write what stays, and what to do about it."""
    standing = outcome.standing
    why = "under a pseudonym that no key leads to" if standing.keys else "under the users' names until you remove it"
    for what, places in (("snapshot", standing.snapshots), ("night", standing.nights)):
        for path, count in told(places):
            emit_line(f"remains: {what} {path}, {count:,} rows {why}")
    for label, tags in (outcome.swept.models if outcome.swept else {}).items():
        emit_line(f"remains: {label}, marked {', '.join(f'{name}={value}' for name, value in tags.items())}")
    emit_line("remains: the shop's own tables, copies and backups are the shop's to clean; their rows are passed over")


def told(places: Sequence[Place]) -> list[tuple[Path, int]]:
    """Place and rows, where there are any."""
    return [(place.path, place.rows.total()) for place in places if place.rows]


def users(number: int) -> str:
    """A number of users in words."""
    return "1 user" if number == 1 else f"{number:,} users"
