"""All checks of a shop's quality beyond its contract, and what of it deserves a warning."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from feature_store.config import QualityConfig
from feature_store.quality.compare import Comparison, compare
from feature_store.quality.drift import Limits
from feature_store.quality.encoding import Encoding, find_troubles
from feature_store.quality.freshness import Freshness, measure_freshness
from feature_store.quality.references import Reference, check_references
from feature_store.quality.volume import FEWEST, Volume
from feature_store.snapshot import Snapshot
from feature_store.validate import CleanShop

COPIES = "exact copy of another event"
DANGLING = ("user not in users", "query_id not in queries")
"""Rules about references whose share is limited; the others only count."""


@dataclass(frozen=True)
class Warned:
    """Something that a person should look at.

    Attributes:
        check: "drift", "freshness", "volume", "references", "duplicates" or "encoding".
        about: the table, with its column where there is one.
        found: what was found.
        limit: what it exceeds, with the key of shop.toml that holds it.
    """

    check: str
    about: str
    found: str
    limit: str

    def __str__(self) -> str:
        return f"{self.check}: {self.about}: {self.found} ({self.limit})"


@dataclass(frozen=True)
class Quality:
    """A shop's quality beyond its contract.

    Attributes:
        comparison: with the last snapshot; None where there is none.
        freshness: None without a calendar or without events.
        references: what tables say of one another, and rows that repeat.
        encoding: texts in a wrong encoding.
        warnings: what exceeds a limit.
    """

    comparison: Comparison | None
    freshness: Freshness | None
    references: tuple[Reference, ...]
    encoding: tuple[Encoding, ...]
    warnings: tuple[Warned, ...]

    @property
    def since(self) -> str | None:
        """The day of the last snapshot's newest event; None where there is none."""
        return f"{self.comparison.since:%Y-%m-%d}" if self.comparison and self.comparison.since else None

    def as_json(self) -> dict[str, Any]:
        """The report for machines; no text of the shop is inside."""
        comparison = self.comparison
        return {
            "snapshot": comparison.snapshot if comparison else None,
            "drift": [] if comparison is None else [drift_json(one) for one in asdict(comparison)["columns"]],
            "not_compared": comparison.left_out if comparison else {"all": "no earlier snapshot of this shop"},
            "volume": [asdict(one) | {"factor": one.factor} for one in comparison.volumes] if comparison else [],
            "freshness": freshness_json(self.freshness),
            "references": [asdict(one) | {"share": one.share} for one in self.references],
            "encoding": [
                {name: value for name, value in asdict(one).items() if name != "examples"} for one in self.encoding
            ],
            "warnings": [asdict(one) for one in self.warnings],
        }


def drift_json(column: dict[str, Any]) -> dict[str, Any]:
    """One column's drift without its bins, whose names may be the shop's words."""
    told = column["drift"] or {}
    return {"table": column["table"], "column": column["column"]} | {
        name: told.get(name) for name in ("psi", "js", "ks", "reference", "current", "exceeded")
    }


def freshness_json(freshness: Freshness | None) -> dict[str, Any] | None:
    """Ages for machines."""
    if freshness is None:
        return None
    kinds = [asdict(one) | {"silent": one.silent} for one in freshness.kinds]
    return {"newest": freshness.newest, "asked_at": freshness.asked_at, "age_days": freshness.age_days, "kinds": kinds}


def inspect(clean: CleanShop, *, last: Snapshot | None, now: datetime | None = None) -> Quality:
    """Measure a checked shop, whose frames still stand.

    Args:
        clean: the shop.
        last: the snapshot to compare with, None where there is none.
        now: the instant that ages are counted from; the shop's `as_of`, else the clock, where None.
    """
    config = clean.config.quality
    limits = Limits(psi=config.psi, js=config.js, ks=config.ks)
    comparison = None if last is None else compare(clean, last, limits=limits)
    freshness = None
    if clean.watermark is not None:
        asked_at = now or clean.as_of or datetime.now(UTC)
        freshness = measure_freshness(clean.tables["events"], newest=clean.watermark, asked_at=asked_at)
    copies = clean.counts.get("events_exact_duplicates", 0)
    references = check_references(clean.tables, exact_copies=copies)
    encoding = find_troubles(clean.tables)
    return Quality(
        comparison=comparison,
        freshness=freshness,
        references=tuple(references),
        encoding=tuple(encoding),
        warnings=(
            *drift_warnings(comparison, config),
            *volume_warnings(comparison.volumes if comparison else (), config),
            *freshness_warnings(freshness, config),
            *reference_warnings(references, config),
            *encoding_warnings(encoding, config),
        ),
    )


def drift_warnings(comparison: Comparison | None, config: QualityConfig) -> Iterable[Warned]:
    """Columns of which a measure exceeds its limit and what chance gives, and those that came or went as a whole."""
    for one in comparison.columns if comparison else ():
        about = f"{one.table}.{one.column}"
        if one.drift is None:
            yield Warned("drift", about, "has values on one side alone", "a column that stays")
        elif one.drift.exceeded:
            told = [f"{name.upper()} {getattr(one.drift, name):.3f}" for name in one.drift.exceeded]
            limits = [f"{name} {getattr(config, name):g}" for name in one.drift.exceeded]
            yield Warned("drift", about, ", ".join(told), f"quality.{', quality.'.join(limits)}")


def volume_warnings(volumes: Iterable[Volume], config: QualityConfig) -> Iterable[Warned]:
    """Tables that lost or gained much, kinds of event that come much more or less often than before.

    Where events are counted by day, a table of them may grow.
    """
    measured = list(volumes)
    by_day = any(one.daily for one in measured)
    for one in measured:
        if max(one.expected, 0 if one.daily else one.now) < FEWEST:
            continue
        lowest = 1 / config.max_rate if one.daily else 1 - config.max_drop
        highest = config.max_rate if one.daily else config.max_growth
        if one.of == "events" and by_day:
            highest = float("inf")
        if not lowest <= one.factor <= highest:
            key = "max_rate" if one.daily else "max_drop" if one.factor < lowest else "max_growth"
            found = f"{one.now:,.6g} where {one.before:,.6g} were in the last snapshot"
            yield Warned("volume", one.of, found, f"quality.{key} {getattr(config, key):g}")


def freshness_warnings(freshness: Freshness | None, config: QualityConfig) -> Iterable[Warned]:
    """Events that are too old, kinds of event that fell silent."""
    if freshness is None:
        return
    if config.max_age_days is not None and freshness.age_days > config.max_age_days:
        found = f"the newest is {freshness.age_days:.1f} days old"
        yield Warned("freshness", "events", found, f"quality.max_age_days {config.max_age_days:g}")
    for kind in freshness.kinds:
        if kind.silent:
            found = f"none since {kind.newest:%Y-%m-%d %H:%M}, about {kind.overdue:,.0f} should have come"
            yield Warned("freshness", f"events of type {kind.event_type}", found, "a kind that goes on as others do")


def reference_warnings(references: Iterable[Reference], config: QualityConfig) -> Iterable[Warned]:
    """Kept rows that point nowhere, and copies, where they are more than a share."""
    for one in references:
        if one.rule in DANGLING and one.share > config.max_unknown:
            found = f"{one.rule}: {one.rows} of {one.of}"
            yield Warned("references", one.table, found, f"quality.max_unknown {config.max_unknown:g}")
        if one.rule == COPIES and one.share > config.max_copies:
            found = f"{one.rows} exact copies of {one.of}"
            yield Warned("duplicates", one.table, found, f"quality.max_copies {config.max_copies:g}")


def encoding_warnings(encoding: Iterable[Encoding], config: QualityConfig) -> Iterable[Warned]:
    """Columns of whose texts more than a share are in trouble."""
    for one in encoding:
        if one.rows > config.max_damaged * one.filled:
            found = f"{one.trouble.replace('_', ' ')} in {one.rows} of {one.filled} texts"
            limit = f"quality.max_damaged {config.max_damaged:g}"
            yield Warned("encoding", f"{one.table}.{one.column}", found, limit)
