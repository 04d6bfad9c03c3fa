"""The model registry: complete bundles as versions of two models, and the aliases that say which one is live.

One of the two doors to MLflow. It is imported on first use, for it takes two seconds.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from recsys.bundle.manifest import KINDS
from recsys.bundle.read import Bundle
from recsys.errors import BundleError
from recsys.registry.artifact import log_model, open_artifact, version_tags
from recsys.registry.calls import default_address, download, log_metrics, make_model
from recsys.registry.card import render_card
from recsys.registry.version import (
    CHAMPION,
    Address,
    Version,
    absent,
    as_version,
    check_tags,
    foreign,
    model_name,
    parse_address,
)
from recsys.server import first_use, prepare, speaking
from recsys.settings import Settings
from recsys.storage import atomic_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import RegisteredModel

LONGEST_DESCRIPTION = 5_000


class Registry:
    """The client of one installation's registry; nothing is asked of the server before the first call."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._opened: MlflowClient | None = None

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

        The version appears only when its artefact is complete. The project's wheel travels with it.

        Args:
            bundle: what was learned.
            run_id: the run that made it.
            metrics: what was measured on it, by name.
            description: a sentence for the model card.
            tags: added to those that every version carries.

        Raises:
            TrackingError: the server can't be reached or refuses.
        """
        name = model_name(bundle.kind, shop=bundle.shop)
        card = render_card(bundle, name=name, metrics=metrics, note=description)
        with self._calling(f"register a version of {name}") as client:
            model = log_model(client, bundle, run_id=run_id, card=card, home=self.settings.home)
            log_metrics(client, metrics, run_id=run_id, model_id=model.model_id)
            make_model(client, name, kind=bundle.kind, shop=bundle.shop)
            with default_address(self.settings.tracking_uri):
                made = client.create_model_version(
                    name,
                    f"models:/{model.model_id}",
                    run_id=run_id,
                    tags={**version_tags(bundle), "model_id": model.model_id, **(tags or {})},
                    description=card[:LONGEST_DESCRIPTION],
                    model_id=model.model_id,
                )
        return self.version(name, int(made.version))

    def resolve(self, address: str, *, shop: str | None = None) -> Version:
        """The version that an address names.

        Args:
            address: models:/NAME@ALIAS or models:/NAME/VERSION.
            shop: where given, versions of another shop are refused.

        Raises:
            RegistryError: no such version, or another shop's; the message holds the command to run.
        """
        wanted = parse_address(address)
        model = self._model(wanted.name)
        number = wanted.version or int((model.aliases if model else {}).get(wanted.alias, 0))
        if model is None or number == 0:
            raise absent(wanted, exists=model is not None)
        found = self.version(wanted.name, number)
        if shop is not None and found.shop != shop:
            raise foreign(found.uri, found.shop, wanted=shop)
        return found

    def find(self, kind: str, *, shop: str, alias: str = CHAMPION) -> Version | None:
        """The version that an alias of a shop's model points to, None where there is none."""
        name = model_name(kind, shop=shop)
        model = self._model(name)
        if model is None or alias not in model.aliases:
            return None
        return self.resolve(f"models:/{name}@{alias}", shop=shop)

    def champion(self, kind: str, *, shop: str) -> Version:
        """The champion of a shop's model.

        Raises:
            RegistryError: there is none; the message holds the command to run.
        """
        return self.resolve(f"models:/{model_name(kind, shop=shop)}@{CHAMPION}", shop=shop)

    def version(self, name: str, number: int) -> Version:
        """One version by its number.

        Raises:
            RegistryError: there is none, or something else than this project has registered it.
        """
        from mlflow.exceptions import MlflowException

        with self._calling(f"read {name}/{number}") as client:
            try:
                found = client.get_model_version(name, str(number))
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                address = Address(name=name, alias="", version=number)
                raise absent(address, exists=self._model(name) is not None) from error
            check_tags(found)
            return as_version(found, client.get_logged_model(found.tags["model_id"]))

    def models(self) -> list[str]:
        """The names of this project's registered models, of all shops."""
        with self._calling("list the models") as client:
            names = [model.name for model in client.search_registered_models(max_results=1000)]
        return sorted(name for name in names if name.rpartition(".")[2] in KINDS)

    def versions(self, name: str) -> list[Version]:
        """All versions of a registered model, newest first; none where there is no such model."""
        with self._calling(f"list the versions of {name}") as client:
            listed = list(client.search_model_versions(f"name = '{name}'", max_results=10_000))
            return [
                self.version(name, int(found.version))
                for found in sorted(listed, key=lambda found: int(found.version), reverse=True)
            ]

    def fetch(self, version: Version) -> Bundle:
        """The version's bundle, downloaded once into settings.bundles and checked against its digest each time.

        Raises:
            BundleError: the artefact is altered or not the one that was registered.
        """
        target = self.settings.bundles / version.digest
        if target.is_dir():
            try:
                return open_artifact(target, version)
            except BundleError:
                shutil.rmtree(target)
        with atomic_folder(target) as partial:
            with self._calling(f"download {version.label}") as client:
                download(client, version, partial, address=self.settings.tracking_uri)
            open_artifact(partial, version)
        return Bundle.open(target, verify=False)

    def open(self, address: str | Path, *, shop: str | None = None) -> tuple[Bundle, str]:
        """The bundle at an address or in a folder, and the name people know it by.

        Args:
            address: models:/NAME@ALIAS, models:/NAME/VERSION or a bundle folder.
            shop: where given, another shop's bundle is refused.

        Returns:
            The bundle and "NAME/VERSION", or "bundle/DIGEST" for a folder.
        """
        if isinstance(address, Path) or Path(address).is_dir():
            bundle = Bundle.open(Path(address))
            if shop is not None and bundle.shop != shop:
                raise foreign(str(address), bundle.shop, wanted=shop)
            return bundle, f"bundle/{bundle.digest[:12]}"
        version = self.resolve(address, shop=shop)
        return self.fetch(version), version.label

    def set_alias(self, version: Version, alias: str) -> None:
        """Point an alias to a version."""
        with self._calling(f"set {alias} of {version.name}") as client:
            client.set_registered_model_alias(version.name, alias, str(version.version))

    def drop_alias(self, name: str, alias: str) -> None:
        """Remove an alias; it may be gone already."""
        with self._calling(f"remove {alias} of {name}") as client:
            client.delete_registered_model_alias(name, alias)

    def tag(self, version: Version, values: Mapping[str, str]) -> None:
        """Set tags on a version."""
        with self._calling(f"tag {version.label}") as client:
            for name, value in values.items():
                client.set_model_version_tag(version.name, str(version.version), name, value)

    def measure(self, version: Version, metrics: Mapping[str, float], *, run_id: str = "") -> None:
        """Add what was measured on a version after it was registered; the newest value of a name counts.

        Args:
            version: what was measured.
            metrics: by name.
            run_id: the run that measured it; the one that made it where left empty.
        """
        with self._calling(f"log metrics of {version.label}") as client:
            log_metrics(client, metrics, run_id=run_id or version.run_id, model_id=version.model_id)

    @contextmanager
    def _calling(self, step: str) -> Iterator[MlflowClient]:
        if self._opened is None:
            prepare(self.settings)
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        with speaking(self.settings, step=step, failures=MlflowException):
            if self._opened is None:
                with first_use(self.settings):
                    address = self.settings.tracking_uri
                    self._opened = MlflowClient(tracking_uri=address, registry_uri=address)
                    self._opened.search_registered_models(max_results=1)
            yield self._opened

    def _model(self, name: str) -> RegisteredModel | None:
        from mlflow.exceptions import MlflowException

        with self._calling(f"read {name}") as client:
            try:
                return client.get_registered_model(name)
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return None
                raise
