"""What has been seen of a shop whose shop.toml is still to be written, and how it is written."""

import json
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field

from feature_store.config import ShopConfig


@dataclass
class Draft:
    """What has been seen so far.

    Attributes:
        settings: name, currency, timestamps, timezone.
        columns: for each table the shop's own name of a contract column.
        event_types: the contract's type by the shop's own name.
        max_grade: the best grade, above 0; None without one.
        max_age_days: of the newest event; None where no limit is set.
        points: what a person has to look at.
    """

    settings: dict[str, str | float] = field(default_factory=dict)
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    event_types: dict[str, str] = field(default_factory=dict)
    max_grade: float | None = None
    max_age_days: float | None = None
    points: list[str] = field(default_factory=list)


def written(draft: Draft, *, comments: Iterable[str]) -> str:
    """The draft as TOML that a shop's settings are read from.

    Raises:
        ValidationError: never, but for a mistake here: what is written is read once before it is handed out.
    """
    lines = [f"# {on_one_line(comment)}" for comment in (*comments, *(f"LOOK AT: {point}" for point in draft.points))]
    lines += [f"{name} = {quoted(value)}" for name, value in draft.settings.items()]
    for table, columns in draft.columns.items():
        if columns:
            lines += ["", f"[columns.{table}]", *(f"{ours} = {quoted(theirs)}" for ours, theirs in columns.items())]
    if draft.event_types:
        lines += [
            "",
            "[event_types]",
            *(f"{quoted(theirs)} = {quoted(ours)}" for theirs, ours in draft.event_types.items()),
        ]
    if draft.max_grade:
        lines += ["", "[judgments]", f"max_grade = {quoted(draft.max_grade)}"]
    if draft.max_age_days:
        lines += ["", "[quality]", f"max_age_days = {draft.max_age_days:g}  # recsys validate warns of older events"]
    text = "\n".join(lines).strip() + "\n"
    ShopConfig.model_validate(tomllib.loads(text))
    return text


def quoted(value: object) -> str:
    """A TOML value: text in quotes, as JSON writes it but for DEL, and numbers with all their digits.

    Source: https://toml.io/en/v1.0.0#string (basic strings; escapes name no half of a character).
    """
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value).removesuffix(".0")


def on_one_line(text: str) -> str:
    """A comment's text without line breaks and control characters, which TOML allows in none."""
    return " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", text).split())
