"""The names of the registry: models, versions, aliases and the addresses that point to them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from recsys.bundle.manifest import KINDS
from recsys.errors import RegistryError
from recsys.server import metric_name

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER, SHADOW = "champion", "challenger", "shadow"
FORGOTTEN, UNCHECKED = "forgotten_users", "forgotten_unchecked"
"""Tags of a version: how many users whom its snapshots knew were forgotten since; snapshots that could not be asked."""
ADDRESS = re.compile(r"(?:models:/)?(?P<name>[^/@:\s]+)(?:@(?P<alias>[\w-]+)|/(?P<version>[1-9]\d*))")
NAME = re.compile(r"(?:models:/)?[A-Za-z0-9_.-]+")
SHOP = re.compile(r"[A-Za-z0-9_-]+")
LEARN = {"product-search": "relevance", "recommender": "two-tower"}


@dataclass(frozen=True, slots=True)
class Version:
    """One registered version of a model.

    Attributes:
        name: the registered model, e.g. "product-search" or "my-shop.product-search".
        version: its number, from 1.
        kind: the bundle's kind.
        shop: the shop's name, "" where it has none.
        digest: the bundle's digest.
        run_id: the MLflow run that made it.
        model_id: MLflow's id of the logged model that holds the artefact.
        aliases: the aliases that point to it now.
        tags: the version's tags.
        metrics: what was measured when it was made.
        description: the model card.
        created_at: when it was registered, UTC.
    """

    name: str
    version: int
    kind: str
    shop: str
    digest: str
    run_id: str
    model_id: str
    aliases: tuple[str, ...]
    tags: dict[str, str]
    metrics: dict[str, float]
    description: str
    created_at: datetime

    @property
    def uri(self) -> str:
        """The address that names this version for good."""
        return f"models:/{self.name}/{self.version}"

    @property
    def label(self) -> str:
        """The short name people know it by, e.g. "recommender/3"."""
        return f"{self.name}/{self.version}"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a version stands: under an alias, or under its number."""

    name: str
    alias: str
    version: int

    def __str__(self) -> str:
        return f"models:/{self.name}@{self.alias}" if self.alias else f"models:/{self.name}/{self.version}"


def model_name(kind: str, *, shop: str) -> str:
    """The registered model's name: the kind, after the shop's name and a dot where the shop has one.

    Raises:
        RegistryError: an unknown kind, or a shop name that can't stand in a model's name.
    """
    if kind not in KINDS:
        raise RegistryError(f"model `{kind}`", expected=f"one of {', '.join(KINDS)}", action="correct the name")
    if shop and not SHOP.fullmatch(shop):
        raise RegistryError(f"shop name `{shop}`", expected="letters, digits, - and _", action="correct shop.toml")
    return f"{shop}.{kind}" if shop else kind


def split_name(name: str) -> tuple[str, str]:
    """Kind and shop of a registered model's name.

    Raises:
        RegistryError: it ends with no known kind.
    """
    shop, _, kind = name.rpartition(".")
    model_name(kind, shop=shop)
    return kind, shop


def parse_address(text: str) -> Address:
    """Read models:/NAME@ALIAS, models:/NAME/VERSION, or either without "models:/".

    Raises:
        RegistryError: neither of the two.
    """
    found = ADDRESS.fullmatch(text)
    if found is None:
        raise RegistryError(
            f"`{text}` names no model version" + ("" if text.startswith("models:") else " and no folder that exists"),
            expected="models:/NAME@ALIAS or models:/NAME/VERSION",
            action=f"try {text}@challenger" if NAME.fullmatch(text) else "try models:/recommender@champion",
        )
    return Address(name=found["name"], alias=found["alias"] or "", version=int(found["version"] or 0))


def absent(address: Address, *, exists: bool) -> RegistryError:
    """The error for an address that points nowhere, with the command that would make it point somewhere.

    Args:
        address: what was asked for.
        exists: True where the model has versions.
    """
    kind = address.name.rpartition(".")[2]
    if exists and address.alias == CHAMPION:
        action = f"run `recsys promote models:/{address.name}@challenger` or `recsys history {address.name}`"
    elif exists:
        action = f"run `recsys history {address.name}`"
    else:
        action = f"run `recsys train {LEARN.get(kind, 'relevance')} SNAPSHOT`"
    wanted = f"a {address.alias}" if address.alias else f"version {address.version}"
    found = f"no {address.alias}" if address.alias else f"no version {address.version}"
    return RegistryError(f"{found} of model `{address.name}`", expected=wanted, action=action)


def check_tags(found: ModelVersion) -> None:
    """Refuse a version that something else than `register` has made.

    Raises:
        RegistryError: it lacks a tag that `register` gives.
    """
    missing = [tag for tag in ("shop", "kind", "digest", "model_id") if tag not in found.tags]
    if missing:
        raise RegistryError(
            f"models:/{found.name}/{found.version} has no tag {', '.join(missing)}",
            expected="a version registered by `recsys train`",
            action="name another version",
        )


def as_version(found: ModelVersion, model: LoggedModel) -> Version:
    """MLflow's version, and the logged model behind it, as one of ours."""
    measured = sorted(model.metrics or [], key=lambda metric: int(metric.timestamp))
    return Version(
        name=found.name,
        version=int(found.version),
        kind=found.tags["kind"],
        shop=found.tags["shop"],
        digest=found.tags["digest"],
        run_id=found.run_id or "",
        model_id=model.model_id,
        aliases=tuple(sorted(found.aliases)),
        tags=dict(found.tags),
        metrics={metric_name(metric.key): float(metric.value) for metric in measured},
        description=found.description or "",
        created_at=datetime.fromtimestamp(found.creation_timestamp / 1000, tz=UTC),
    )


def foreign(place: str, shop: str, *, wanted: str) -> RegistryError:
    """The error for a model of another shop."""
    return RegistryError(
        f"{place} was learned for shop `{shop}`", expected=f"a model of shop `{wanted}`", action="name one of that shop"
    )
