"""The model card: what a version is, what it learned from, how good it is and what it must not be used for."""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from string import Template

from recsys.bundle.read import Bundle

SUMMARY = {
    "product-search": "Scores how relevant products are to a query.",
    "recommender": "Recommends products to a shopper from what the shopper did before.",
}
USE = {
    "product-search": "Ranking the products of a shop's search page; not for judging people or prices.",
    "recommender": "Lists of products for known users and for running sessions; it never sees who a user is.",
}


def render_card(bundle: Bundle, *, name: str, metrics: Mapping[str, float], note: str = "") -> str:
    """The card of a bundle as Markdown.

    Args:
        bundle: what was learned.
        name: the registered model.
        metrics: what was measured, by name.
        note: a sentence of the person or job that registers it.
    """
    manifest = bundle.manifest
    return template().substitute(
        name=name,
        summary=" ".join(filter(None, [SUMMARY[bundle.kind], note])),
        use=USE[bundle.kind],
        shop=manifest.shop or "(without a name)",
        snapshot=manifest.snapshot,
        digest=manifest.digest,
        git_commit=manifest.git_commit,
        created_at=manifest.created_at.isoformat(timespec="seconds"),
        components=rows(
            (component.name, f"`{component.snapshot[:12]}`", ", ".join(component.parts), f"`{component.digest[:12]}`")
            for component in manifest.components.values()
        ),
        policy=rows((name, f"`{json.dumps(value)}`") for name, value in sorted(manifest.policy.items())),
        why=why(bundle),
        metrics=rows((name, f"{value:.4f}") for name, value in sorted(metrics.items())),
        libraries=", ".join(f"{name} {version}" for name, version in sorted(manifest.libraries.items())),
    )


def why(bundle: Bundle) -> str:
    """What the calibration says of the weights that it chose or left; "" where it says nothing."""
    known = bundle.manifest.components.get("calibration")
    told = "" if known is None else str(known.config.get("why", ""))
    return f" Weights of the stages: {told}." if told else ""


@cache
def template() -> Template:
    """The card with its gaps; the same file stands in mlflow/ for people."""
    return Template((files("recsys.registry") / "model_card.md").read_text(encoding="utf-8"))


def rows(cells: Iterable[tuple[str, ...]]) -> str:
    """Rows of a Markdown table; a bar inside a cell is written so that it does not split it."""
    body = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in cells]
    return "\n".join(body) or "| - | - |"
