"""The report of a night, for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from recsys.cli.output import emit_line, emit_table
from recsys.parity import named_shares
from serving.learning import METRIC
from serving.show import show_night

RECALL = "recall@10"


def show_nightly(report: Mapping[str, Any]) -> None:
    """Write what was learned, who is live, and the night's figures."""
    updated = report.get("updated", ())
    show_parity(report.get("parity"))
    if report.get("events"):
        emit_line(f"{report['events']['events']:,} events came out of the log")
    told = [f"{stage} (went on from its newest model)" if stage in updated else stage for stage in report["trained"]]
    trained = ", ".join(told) or "nothing was due"
    emit_line(f"snapshot {report['snapshot']}; trained: {trained}")
    for one in report.get("warnings", ()):
        emit_line(f"warning: {one['check']}: {one['about']}: {one['found']} ({one['limit']})")
    for stage, reason in report.get("skipped", {}).items():
        emit_line(f"not trained: {stage}, {reason}")
    show_blend(report.get("blend", ()))
    for kind, told in report["models"].items():
        emit_line(f"{kind}: {told['champion'] or 'stock models'} ({told['step']})")
        for alias, measured in told.get("measured", {}).items():
            show_measured(measured, title=f"{kind} {alias}: {measured['protocol']}")
    if not report["index"]["live"]:
        emit_line(f"a backfill: the live index stays, which knows what happened until {report['index']['behind']}")
    emit_line(f"{report['seconds']:.0f} s in all")
    emit_table(
        ["stage", "time"],
        [[one["stage"], "kept" if one["resumed"] else f"{one['seconds']:.1f} s"] for one in report["stages"]],
    )
    if report["batch"] is not None:
        show_night(report["batch"], note=f"rows are in {report['batch']['path']}")


def show_parity(told: Mapping[str, Any] | None) -> None:
    """Write how the features were served that services logged; nothing where none did."""
    if told is None:
        return
    if "failure" in told:
        emit_line(f"parity: not measured, {told['failure']}")
    elif not told["rows"]:
        emit_line("parity: no served row could be compared; what was measured before goes on to count")
    elif told["failed"]:
        shares = {one["name"]: one["share"] for one in told["features"] if one["name"] in told["failed"]}
        emit_line(f"parity: {named_shares(shares)} of {told['rows']:,} served rows as known then: promotion is refused")
    else:
        emit_line(f"parity: every feature reaches {told['least']:.1%} over {told['rows']:,} served rows")


def show_blend(tables: Sequence[Mapping[str, Any]]) -> None:
    """Write what the blend gains over the best recommender on held-out users, and where it goes first."""
    rows: list[list[object]] = [
        [
            one["table"],
            (one["blend"] or {}).get("mean"),
            f"{one['best source']} {one['sources'][one['best source']]:.4f}",
            spread(one["gain"]),
            one["users"],
            "goes first" if one["on"] else "off: no gain shown",
        ]
        for one in tables
    ]
    if rows:
        gain = "gain over it (95 %)"
        emit_table(["blend of all recommenders", tables[0]["metric"], "best source", gain, "users", ""], rows)


def show_measured(measured: Mapping[str, Any], *, title: str) -> None:
    """Write an evaluation: the system, then each it is held against with the interval of the difference."""
    rows: list[list[object]] = [[measured["system"], *figures(measured["metrics"]), ""]]
    for name, told in measured["baselines"].items():
        rows.append([name, *figures(told["metrics"]), spread(told["difference"].get(METRIC))])
    emit_line(title)
    emit_table(["system", METRIC, RECALL, f"gain over it in {METRIC} (95 %)"], rows)
    if len(measured.get("stages", ())) > 1:
        show_stages(measured["stages"])


def show_stages(stages: Sequence[Mapping[str, Any]]) -> None:
    """Write what each stage of a search gains over the list of those before it, and what a search with it takes."""
    rows: list[list[object]] = [
        [
            stage["stage"],
            (stage[METRIC] or {}).get("mean"),
            spread(stage.get("gain")),
            f"{stage['milliseconds']['p50']:.1f} ms" if "milliseconds" in stage else "",
            ", ".join(f"{one['by']} {one['class']}" for one in stage.get("classes", ()) if one["earns"]),
            "on" if stage["on"] else "off",
        ]
        for stage in stages
    ]
    emit_table(["stage", METRIC, "gain over those before (95 %)", "a search", "query classes it earns in", ""], rows)


def spread(interval: Mapping[str, float] | None) -> str:
    """A gain with its interval; "" where there is none."""
    return f"{interval['mean']:+.4f} [{interval['low']:+.4f}, {interval['high']:+.4f}]" if interval else ""


def figures(metrics: Mapping[str, float | None]) -> list[float | None]:
    """The two figures of the table."""
    return [metrics.get(METRIC), metrics.get(RECALL)]
