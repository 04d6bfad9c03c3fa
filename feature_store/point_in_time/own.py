"""A shop's own features: `features.toml` beside its shop.toml, a table for each.

[user_big_carts_30d]
about = "Views and cart additions in 30 days."
entity = "user"
kind = "total"
measure = { kinds = ["view", "add_to_cart"] }
window = "30d"
"""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from feature_store.config import FEATURES
from feature_store.point_in_time.defaults import DEFAULTS
from feature_store.point_in_time.definitions import (
    ENTITIES,
    NUMBER,
    Age,
    Aggregate,
    Change,
    Distinct,
    Entity,
    Feature,
    Latest,
    Measure,
    Rate,
    Stream,
    Total,
    Window,
)
from feature_store.point_in_time.rows import TIME
from feature_store.point_in_time.values import VALUES
from recsys.errors import UsageError
from recsys.toml import read_toml

STRICT = ConfigDict(extra="forbid", frozen=True)
KINDS: dict[str, type[Aggregate]] = {
    "total": Total,
    "rate": Rate,
    "age": Age,
    "latest": Latest,
    "change": Change,
    "distinct": Distinct,
}
COMMON = {"entity", "about", "kind"}
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
ABOUT = re.compile(r"(?=.*\S)[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,300}")
TAKEN = {TIME, *(key for keys in ENTITIES.values() for key in keys), *(one.name for one in DEFAULTS)}
MOST = 400
"""Own features of a shop: an online record has room for the numbers that all of them together need."""
LONGEST = 100 * 365
"""Days of a window."""


def worth(name: str) -> str:
    """A name of VALUES; ValueError where it is none that means something by itself."""
    if name not in VALUES or name == NUMBER:
        raise ValueError(f"one of {', '.join(one for one in VALUES if one != NUMBER)}, not {name}")
    return name


def once(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """The kinds; ValueError where one stands among them twice."""
    if twice := [kind for number, kind in enumerate(kinds) if kind in kinds[:number]]:
        raise ValueError(f"{twice[0]} stands there twice")
    return kinds


class WrittenMeasure(BaseModel):
    """See `Measure`."""

    model_config = STRICT

    stream: Stream = "events"
    kinds: Annotated[tuple[str, ...], AfterValidator(once)] = ()
    value: Annotated[str, AfterValidator(worth)] = "one"


class Written(BaseModel):
    """A feature as it is written down; which of the keys after `kind` it takes, `of_kind` tells.

    Attributes:
        entity: whose feature it is.
        about: a sentence for people.
        kind: one of KINDS.
        window: "30d" or "6h"; all that is known where it is left out.
    """

    model_config = STRICT

    entity: Entity
    about: str
    kind: Literal["total", "rate", "age", "latest", "change", "distinct"]
    measure: WrittenMeasure | None = None
    top: WrittenMeasure | None = None
    bottom: WrittenMeasure | None = None
    window: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,5}[dh]$")] | None = None
    strength: Annotated[float, Field(allow_inf_nan=False, strict=True)] | None = None
    end: Literal["first", "last"] | None = None

    @model_validator(mode="after")
    def of_kind(self) -> "Written":
        """ValueError where a key is missing that this kind needs, or one is there that it does not know."""
        known = fields(KINDS[self.kind])
        given = self.model_dump(exclude_none=True, exclude=COMMON).keys()
        if unknown := sorted(given - {one.name for one in known}):
            raise ValueError(f"{unknown[0]} is unknown: {takes(self.kind)}")
        if missing := [one.name for one in known if one.default is MISSING and one.name not in given]:
            raise ValueError(f"{missing[0]} is missing: {takes(self.kind)}")
        if self.window is not None and window_of(self.window).hours > LONGEST * 24:
            raise ValueError(f"window {self.window} is too long: at most {LONGEST}d")
        return self


def takes(kind: str) -> str:
    """Which keys a kind takes, in words."""
    listed = (one.name if one.default is MISSING else f"{one.name} (optional)" for one in fields(KINDS[kind]))
    return f"kind {kind} takes {', '.join(listed)}"


def window_of(text: str) -> Window:
    """A window as it is written."""
    number = int(text[:-1])
    return Window(hours=number * 24 if text[-1] == "d" else number)


def read(name: str, content: Mapping[str, Any]) -> Feature:
    """The feature that is written down; ValueError (pydantic's own where a key is wrong) where it is none."""
    told = Written.model_validate(content)
    of: dict[str, Any] = told.model_dump(exclude_none=True, exclude=COMMON)
    for key in ("measure", "top", "bottom"):
        if key in of:
            of[key] = Measure(**of[key])
    if "window" in of:
        of["window"] = window_of(of["window"])
    return Feature(name, told.entity, told.about, KINDS[told.kind](**of))


def write(feature: Feature) -> dict[str, Any]:
    """A feature written down; `read` gives it back."""
    kind = next(name for name, one in KINDS.items() if isinstance(feature.of, one))
    of = {key: value for key, value in asdict(feature.of).items() if value is not None}
    window = {"window": f"{of['window']['hours']}h"} if "window" in of else {}
    return {"entity": feature.entity, "about": feature.about, "kind": kind} | of | window


def definitions_of(shop: Path) -> tuple[Feature, ...]:
    """Every feature that can be named in a shop: those that all shops get, then its own.

    Raises:
        UsageError: its features.toml is no TOML, or it or a feature in it can't be read, or a name is taken.
    """
    file = shop / FEATURES
    try:
        found = read_toml(file) or {}
    except ValueError as error:
        raise UsageError(f"{file} {error}", expected="a table for each feature", action="correct it") from error
    if len(found) > MOST:
        raise UsageError(f"{file}: {len(found)} features", expected=f"at most {MOST}", action="leave some out")
    return (*DEFAULTS, *(own(file, name, content) for name, content in found.items()))


def own(file: Path, name: str, content: object) -> Feature:
    """One feature of a file; UsageError where it can't be read."""
    try:
        if NAME.fullmatch(name) is None:
            raise ValueError("a name has small letters, digits and _, 64 at most, and begins with a letter")
        if name in TAKEN:
            raise ValueError("the name is taken by a column of rows or a feature that every shop has")
        feature = read(name, TypeAdapter(dict[str, Any]).validate_python(content))
        if ABOUT.fullmatch(feature.about) is None:
            raise ValueError("about is one line of 1 to 300 characters, not all blank and none a control character")
    except ValidationError as error:
        first = error.errors()[0]
        key, message = ".".join(str(part) for part in first["loc"]), first["msg"].removeprefix("Value error, ")
        told = f"`{key}`: {message}" if key else message
        raise wrong(file, name, told) from error
    except ValueError as error:
        raise wrong(file, name, str(error).removeprefix(f"{name}: ")) from error
    return feature


def wrong(file: Path, name: str, told: str) -> UsageError:
    """What is wrong with a feature."""
    return UsageError(
        f"{file}: feature `{name}`: {told}",
        expected=f"entity, about, kind ({', '.join(KINDS)}) and what it takes",
        action="correct it; README, Features, has an example of each",
    )


def carried(features: Iterable[Feature]) -> dict[str, dict[str, Any]]:
    """What has to stand beside values of these features so that they can be read without the shop: all but DEFAULTS."""
    return {feature.name: write(feature) for feature in features if feature not in DEFAULTS}


def behind(versions: Mapping[str, str], own_features: Mapping[str, Mapping[str, Any]]) -> list[Feature]:
    """The definitions that something was written with.

    Args:
        versions: by name, as they were then.
        own_features: what was `carried` beside them.

    Raises:
        ValueError: this release has others; the names.
    """
    known = {feature.name: feature for feature in DEFAULTS}
    for name, content in own_features.items():
        with suppress(ValueError):
            known[name] = read(name, content)
    features = [known[name] for name in versions if name in known]
    same = {feature.name for feature in features if feature.version == versions[feature.name]}
    if changed := [name for name in versions if name not in same]:
        raise ValueError(", ".join(changed))
    return features
