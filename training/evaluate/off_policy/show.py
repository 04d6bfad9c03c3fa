"""What `recsys evaluate --task off-policy` prints for people."""

from collections.abc import Mapping
from typing import Any

from recsys.cli.output import emit_line, emit_table


def show_off_policy(found: Mapping[str, Any]) -> None:
    """Print a row for each system and estimate, the gains and what was refused."""
    logged = found["logged"]
    rows: list[list[object]] = [["as logged", "", logged["mean"], logged["low"], logged["high"], None]]
    for name, system in found["systems"].items():
        for kind, row in system["estimates"].items():
            if row is not None:
                rows.append([name, kind, row["mean"], row["low"], row["high"], round(system["effective"])])
    title = f"{found['model']}: {found['protocol']}"
    emit_table(["system", "estimate", "mean", "low", "high", "effective"], rows, title=title)
    gains = [
        [name, gap["mean"], gap["low"], gap["high"]]
        for name, row in found["baselines"].items()
        if (gap := row["difference"]["clicks dr"]) is not None
    ]
    if gains:
        title = f"{found['system']} minus, doubly robust, 95 % paired by user"
        emit_table(["", "mean", "low", "high"], gains, title=title)
    for name, system in found["systems"].items():
        if system["refused"]:
            emit_line(f"{name}: {system['verdict']}")
    emit_line(", ".join(f"{name}: {number}" for name, number in found["counts"].items()))
