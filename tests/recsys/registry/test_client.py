"""Versions carry all that a reviewer needs, are found by alias and number, and are checked at each fetch."""

import os
import zipfile
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from recsys.bundle.read import Bundle
from recsys.errors import BundleError, RegistryError, TrackingError
from recsys.registry.client import Registry
from recsys.registry.version import Version
from recsys.settings import Settings, load_settings
from recsys.tracking import Tracker
from tests.recsys.registry.conftest import MakeBundle, MakeVersion


def artifacts(settings: Settings, version: Version) -> Path:
    """The folder of a version's artefact."""
    return next(settings.artifacts.glob(f"*/models/{version.model_id}/artifacts"))


def test_a_version_carries_all_that_a_reviewer_needs(
    installation: Settings, make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    bundle = make_bundle(shop="acme")
    with Tracker(installation).run("acme/relevance", name="relevance") as run:
        version = Registry(installation).register(
            bundle,
            run_id=run.id,
            metrics={"ndcg@10": 0.5, "loss": 1.0},
            description="Trained for a test.",
            tags={"a": "b"},
        )
    assert (version.name, version.version, version.uri) == ("acme.product-search", 1, "models:/acme.product-search/1")
    assert (version.shop, version.kind, version.digest) == ("acme", "product-search", bundle.digest)
    assert version.run_id == run.id
    assert version.metrics == {"ndcg@10": 0.5, "loss": 1.0}
    assert {
        "a": "b",
        "snapshot": "5a9",
        "components": "cross_encoder",
        "format_version": "1",
    }.items() <= version.tags.items()
    assert version.tags["git_commit"] == bundle.manifest.git_commit
    for said in ("Trained for a test.", bundle.digest, "| ndcg@10 | 0.5000 |", "acme.product-search", "torch"):
        assert said in version.description
    logged = MlflowClient(tracking_uri=installation.tracking_uri).get_run(run.id)
    assert logged.data.metrics["ndcg_at_10"] == 0.5
    assert [model.model_id for model in logged.outputs.model_outputs] == [version.model_id]
    assert os.listdir(tmp_path / "cwd") == []
    assert [path.name for path in installation.home.iterdir() if path.name.startswith(".")] == []


def test_the_artefact_is_plain_files_with_signature_example_card_and_wheel(
    installation: Settings, make_version: MakeVersion
) -> None:
    folder = artifacts(installation, make_version())
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".bin", ".pt", ".joblib"))]
    assert {"data/bundle/manifest.json", "model-card.md", "input_example.json", "requirements.txt"} <= set(names)
    described = yaml.safe_load((folder / "MLmodel").read_text())
    assert described["flavors"]["python_function"]["loader_module"] == "recsys.pyfunc"
    assert '"name": "query"' in described["signature"]["inputs"]
    assert '"name": "score"' in described["signature"]["outputs"]
    wheel = (folder / "requirements.txt").read_text().splitlines()[-1].split("[")[0]
    assert wheel.startswith("wheels/shoprank-")
    assert "recsys/pyfunc.py" in zipfile.ZipFile(folder / wheel).namelist()
    Bundle.open(folder / "data" / "bundle")


def test_aliases_and_numbers_name_versions(installation: Settings, make_version: MakeVersion) -> None:
    first, second = make_version("1", alias="champion"), make_version("2", alias="challenger")
    registry = Registry(installation)
    assert registry.resolve("models:/product-search@champion") == first
    assert registry.resolve("product-search@challenger") == second
    assert registry.resolve("models:/product-search/2") == second
    assert registry.champion("product-search", shop="") == first
    assert [version.version for version in registry.versions("product-search")] == [2, 1]
    assert registry.find("product-search", shop="", alias="shadow") is None
    assert registry.find("recommender", shop="") is None
    assert registry.versions("recommender") == []
    registry.set_alias(first, "shadow")
    assert registry.resolve("product-search@shadow").aliases == ("champion", "shadow")
    registry.drop_alias("product-search", "shadow")
    registry.drop_alias("product-search", "shadow")
    assert registry.find("product-search", shop="", alias="shadow") is None


def test_an_address_that_points_nowhere_is_one_line(installation: Settings, make_version: MakeVersion) -> None:
    make_version()
    wanted = {
        "models:/product-search@champion": "no champion of .*recsys promote models:/product-search@challenger",
        "models:/product-search@shadow": "no shadow of .*recsys history product-search",
        "models:/product-search/7": "no version 7 of .*recsys history product-search",
        "models:/recommender@champion": "no champion of .*recsys train two-tower SNAPSHOT",
        "models:/recommender/1": "no version 1 of .*recsys train two-tower SNAPSHOT",
    }
    for address, said in wanted.items():
        with pytest.raises(RegistryError, match=said) as caught:
            Registry(installation).resolve(address)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["product-search", "models:/product-search/0", "a/b/c", "", "a@b@c", "x y/1"])
def test_what_is_no_address_is_refused(installation: Settings, address: str) -> None:
    with pytest.raises(RegistryError, match="names no model version"):
        Registry(installation).resolve(address)


def test_a_bare_name_is_told_how_to_go_on(installation: Settings) -> None:
    with pytest.raises(RegistryError, match=r"try acme\.recommender@challenger"):
        Registry(installation).resolve("acme.recommender")


def test_another_shops_model_is_refused(
    installation: Settings, make_version: MakeVersion, make_bundle: MakeBundle
) -> None:
    version = make_version(shop="acme", alias="champion")
    registry = Registry(installation)
    with pytest.raises(RegistryError, match="was learned for shop `acme`; expected a model of shop `other`"):
        registry.open(version.uri, shop="other")
    with pytest.raises(RegistryError, match=r"no champion of model `other\.product-search`"):
        registry.champion("product-search", shop="other")
    with pytest.raises(RegistryError, match="was learned for shop `acme`"):
        registry.open(make_bundle(shop="acme").path, shop="")
    assert registry.open(version.uri, shop="acme")[1] == "acme.product-search/1"
    bundle, label = registry.open(str(make_bundle(shop="acme").path))
    assert label == f"bundle/{bundle.digest[:12]}"


def test_a_version_is_downloaded_once_and_checked_each_time(installation: Settings, make_version: MakeVersion) -> None:
    version, registry = make_version("[1]"), Registry(installation)
    bundle = registry.fetch(version)
    assert bundle.path == installation.bundles / version.digest
    assert os.listdir(installation.bundles) == [version.digest]
    source = artifacts(installation, version) / "data" / "bundle"
    kept = source.rename(source.with_name("moved"))
    assert registry.fetch(version).digest == version.digest
    kept.rename(source)
    (bundle.path / "cross_encoder" / "config.json").write_text("[2]")
    assert Bundle.open(registry.fetch(version).path).digest == version.digest


def test_an_altered_artefact_is_refused_by_name(
    installation: Settings, make_version: MakeVersion, make_bundle: MakeBundle
) -> None:
    version, registry = make_version("[1]"), Registry(installation)
    source = artifacts(installation, version) / "data" / "bundle"
    (source / "cross_encoder" / "config.json").write_text("[2]")
    with pytest.raises(BundleError, match=r"config\.json altered"):
        registry.fetch(version)
    assert os.listdir(installation.bundles) == []
    for name in ("manifest.json", "cross_encoder/config.json"):
        (source / name).write_bytes((make_bundle("[3]").path / name).read_bytes())
    with pytest.raises(BundleError, match=r"has digest .*as it was registered"):
        registry.fetch(version)


def test_an_artefact_that_is_gone_is_one_line(installation: Settings, make_version: MakeVersion) -> None:
    version = make_version()
    (artifacts(installation, version) / "data" / "bundle").rename(installation.home / "gone")
    with pytest.raises(TrackingError, match="could not download product-search/1") as caught:
        Registry(installation).fetch(version)
    assert "\n" not in str(caught.value)


def test_a_version_that_someone_else_registered_is_refused(installation: Settings) -> None:
    client = MlflowClient(tracking_uri=installation.tracking_uri, registry_uri=installation.tracking_uri)
    client.create_registered_model("product-search")
    client.create_model_version("product-search", source=(installation.home / "x").as_uri())
    with pytest.raises(RegistryError, match="has no tag shop, kind, digest, model_id"):
        Registry(installation).resolve("models:/product-search/1")


def test_metrics_can_be_added_later(installation: Settings, make_version: MakeVersion) -> None:
    version, registry = make_version(loss=2.0), Registry(installation)
    registry.measure(version, {"loss": 1.0, "gain@5": 0.25})
    assert registry.version(version.name, 1).metrics == {"loss": 1.0, "gain@5": 0.25}


def test_a_failed_upload_registers_nothing(
    installation: Settings, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    registry = Registry(installation)
    monkeypatch.setattr(MlflowClient, "log_model_artifacts", full)
    with pytest.raises(Exception, match="disk is full"), Tracker(installation).run("full", name="full") as run:
        registry.register(make_bundle(), run_id=run.id, metrics={})
    assert registry.versions("product-search") == []
    found = MlflowClient(tracking_uri=installation.tracking_uri).search_logged_models(["1"])
    assert [str(model.status) for model in found] == ["FAILED"]


def test_an_unreachable_registry_is_one_line(tmp_path: Path) -> None:
    registry = Registry(load_settings(home=tmp_path, tracking_uri="http://127.0.0.1:9"))
    with pytest.raises(TrackingError, match="no MLflow server answers at http"):
        registry.champion("recommender", shop="")


@pytest.mark.parametrize("shop", ["a.b", "a/b", "a b", "a:b"])
def test_a_shop_name_that_fits_no_model_name_is_refused(installation: Settings, shop: str) -> None:
    with pytest.raises(RegistryError, match="shop name"):
        Registry(installation).champion("recommender", shop=shop)
