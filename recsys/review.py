"""A version beside the champion: what it measures, what changed in it."""

from dataclasses import dataclass

from recsys.bundle.read import Bundle
from recsys.registry.version import Version


@dataclass(frozen=True, slots=True)
class Review:
    """What a reviewer compares.

    Attributes:
        version: the version under review.
        champion: the live one, None where there is none.
        metrics: name, the version's value, the champion's, their difference; None where one was not measured.
        components: name, and what became of it: "new", "same", "changed" or "gone".
        settings: dotted name, the version's value, the champion's, where the resolved configurations differ.
    """

    version: Version
    champion: Version | None
    metrics: list[tuple[str, float | None, float | None, float | None]]
    components: list[tuple[str, str]]
    settings: list[tuple[str, object, object]]


def compare(version: Version, bundle: Bundle, *, champion: Version | None, live: Bundle | None) -> Review:
    """Put a version and its bundle beside the champion and its bundle."""
    other = champion.metrics if champion else {}
    metrics = []
    for name in sorted({*version.metrics, *other}):
        mine, its = version.metrics.get(name), other.get(name)
        metrics.append((name, mine, its, None if mine is None or its is None else mine - its))
    return Review(
        version=version,
        champion=champion,
        metrics=metrics,
        components=changed_components(bundle, live),
        settings=changed_settings(bundle, live),
    )


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
