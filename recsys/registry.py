"""The model registry: complete bundles as versions of two models, and the aliases that say which one is live.

One of the two doors to MLflow. It is imported on first use, for it takes two seconds.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from recsys.bundle.manifest import KINDS
from recsys.bundle.read import Bundle
from recsys.errors import BundleError, RegistryError
from recsys.server import first_use, prepare, speaking
from recsys.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER, SHADOW = "champion", "challenger", "shadow"
ALIASES = (CHAMPION, CHALLENGER, SHADOW)


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
    aliases: tuple[str, ...]
    tags: dict[str, str]
    metrics: dict[str, float]
    description: str
    created_at: datetime

    @property
    def uri(self) -> str:
        """The address that names this version for good."""
        return f"models:/{self.name}/{self.version}"


def model_name(kind: str, *, shop: str) -> str:
    """The registered model's name: the kind, after the shop's name and a dot where the shop has one.

    Raises:
        RegistryError: an unknown kind, or a shop name that can't stand in a model's name.
    """
    if kind not in KINDS:
        raise RegistryError(f"model `{kind}`", expected=f"one of {', '.join(KINDS)}", action="correct the name")
    if shop and not re.fullmatch(r"[A-Za-z0-9_-]+", shop):
        raise RegistryError(f"shop name `{shop}`", expected="letters, digits, - and _", action="correct shop.toml")
    return f"{shop}.{kind}" if shop else kind


class Registry:
    """The client of one installation's registry; nothing is asked of the server before the first call."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def register(
        self,
        bundle: Bundle,
        *,
        run_id: str,
        metrics: Mapping[str, float],
        description: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> Version:
        """Log a bundle as a pyfunc model without pickle and register it as a new version.

        Args:
            bundle: what was learned.
            run_id: the run that made it; it holds the artefact.
            metrics: what was measured on it, by name.
            description: added to the model card.
            tags: added to those that every version carries.

        Raises:
            TrackingError: the server can't be reached or refuses.
        """
        raise NotImplementedError

    def resolve(self, address: str, *, shop: str | None = None) -> Version:
        """The version that an address names.

        Args:
            address: models:/NAME@ALIAS or models:/NAME/VERSION.
            shop: where given, versions of another shop are refused.

        Raises:
            RegistryError: no such version, or another shop's; the message holds the command to run.
        """
        raise NotImplementedError

    def find(self, kind: str, *, shop: str, alias: str = CHAMPION) -> Version | None:
        """The version that an alias of a shop's model points to, None where there is none."""
        raise NotImplementedError

    def champion(self, kind: str, *, shop: str) -> Version:
        """The champion; RegistryError with the command to run where there is none."""
        raise NotImplementedError

    def versions(self, name: str) -> list[Version]:
        """All versions of a registered model, newest first."""
        raise NotImplementedError

    def fetch(self, version: Version) -> Bundle:
        """The version's bundle, downloaded once, checked against its digest each time.

        Raises:
            BundleError: the artefact is altered or not the one that was registered.
        """
        raise NotImplementedError

    def open(self, address: str | Path, *, shop: str | None = None) -> tuple[Bundle, str]:
        """The bundle at an address or in a folder, and the name people know it by.

        Args:
            address: models:/NAME@ALIAS, models:/NAME/VERSION or a bundle folder.
            shop: where given, another shop's bundle is refused.

        Returns:
            The bundle and "NAME/VERSION", or "bundle/DIGEST" for a folder.
        """
        raise NotImplementedError

    def set_alias(self, version: Version, alias: str) -> None:
        """Point an alias to a version."""
        raise NotImplementedError

    def drop_alias(self, name: str, alias: str) -> None:
        """Remove an alias; it may be gone already."""
        raise NotImplementedError

    def tag(self, version: Version, values: Mapping[str, str]) -> None:
        """Set tags on a version."""
        raise NotImplementedError
