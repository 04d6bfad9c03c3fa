"""A version beside the champion: what it measures, what changed in it."""

from dataclasses import dataclass

from recsys.bundle.read import Bundle
from recsys.parity import KeptParity
from recsys.registry.evaluation import MEASURED, SHORT, Evaluation, comparisons, evaluations
from recsys.registry.version import FORGOTTEN, UNCHECKED, Version


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric of both versions, measured on the same data.

    Attributes:
        name: the metric.
        measured_on: snapshot and protocol; "" where nobody noted them.
        value: the version's, None where it was not measured there.
        champion: the champion's, likewise.
    """

    name: str
    measured_on: str
    value: float | None
    champion: float | None

    @property
    def gain(self) -> float | None:
        """The difference; None where one is missing, or where nobody knows whether the two compare."""
        if self.value is None or self.champion is None or not self.measured_on:
            return None
        return self.value - self.champion


@dataclass(frozen=True, slots=True)
class Review:
    """What a reviewer compares.

    Attributes:
        version: the version under review.
        champion: the live one, None where there is none.
        figures: by name and by what they were measured on, so that only those of the same data stand in one row.
        comparisons: the newest paired comparison with the champion, table by table.
        components: name, and what became of it: "new", "same", "changed" or "gone".
        settings: dotted name, the version's value, the champion's, where the resolved configurations differ.
        forgotten: users whom the version's snapshots knew and who were forgotten since.
        unchecked: its snapshots that could not be asked for them.
        parity: how the shop's features were served when that was measured last; None where it never was.
    """

    version: Version
    champion: Version | None
    figures: list[Figure]
    comparisons: list[Evaluation]
    components: list[tuple[str, str]]
    settings: list[tuple[str, object, object]]
    forgotten: int = 0
    unchecked: tuple[str, ...] = ()
    parity: KeptParity | None = None


def compare(
    version: Version,
    bundle: Bundle,
    *,
    champion: Version | None,
    live: Bundle | None,
    parity: KeptParity | None = None,
) -> Review:
    """Put a version and its bundle beside the champion and its bundle."""
    mine = measured(version, bundle)
    its = measured(champion, live) if champion and live else {}
    return Review(
        version=version,
        champion=champion,
        figures=[Figure(*row, value=mine.get(row), champion=its.get(row)) for row in sorted({*mine, *its})],
        comparisons=comparisons(version, against=champion.label) if champion else [],
        components=changed_components(bundle, live),
        settings=changed_settings(bundle, live),
        forgotten=int(version.tags.get(FORGOTTEN, "0")),
        unchecked=tuple(name for name in version.tags.get(UNCHECKED, "").split(",") if name),
        parity=parity,
    )


def measured(version: Version, bundle: Bundle) -> dict[tuple[str, str], float]:
    """A version's figures by name and by what they were measured on.

    A training measures its component on the validation part of its own snapshot, which a carried-over component does
    not share with the others.
    """
    components = bundle.manifest.components
    found = {}
    for name, value in version.metrics.items():
        if not name.startswith(MEASURED):
            component = components.get(name.partition(".")[0])
            found[name, component.snapshot[:SHORT] if component else ""] = value
    for one in evaluations(version):
        variant = "" if one.variant == "all" else f"{one.variant} "
        for name, interval in one.metrics.items():
            found[f"{one.task} {variant}{name}", f"{one.snapshot[:SHORT]}, {one.protocol}"] = interval.mean
    return found


def changed_components(bundle: Bundle, live: Bundle | None) -> list[tuple[str, str]]:
    """What became of each component since the champion."""
    mine = bundle.manifest.components
    its = live.manifest.components if live else {}
    changes = []
    for name in sorted({*mine, *its}):
        if name not in mine:
            changes.append((name, "gone"))
        elif name not in its:
            changes.append((name, "new"))
        else:
            changes.append((name, "same" if mine[name].digest == its[name].digest else "changed"))
    return changes


def changed_settings(bundle: Bundle, live: Bundle | None) -> list[tuple[str, object, object]]:
    """Settings of the components, and of the policy, that differ from the champion's."""
    if live is None:
        return []
    mine, its = all_settings(bundle), all_settings(live)
    names = sorted({*mine, *its})
    return [(name, mine.get(name), its.get(name)) for name in names if mine.get(name) != its.get(name)]


def all_settings(bundle: Bundle) -> dict[str, object]:
    """The resolved configuration of each component and the policy, by dotted name."""
    found: dict[str, object] = {f"policy.{name}": value for name, value in bundle.manifest.policy.items()}
    for name, component in bundle.manifest.components.items():
        found.update({f"{name}.{setting}": value for setting, value in component.config.items()})
    return found
