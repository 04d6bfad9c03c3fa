"""Writing a bundle: components are copied into one folder, sealed by a manifest and renamed into place."""

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys.bundle.manifest import (
    CATALOGUE,
    FORMAT_VERSION,
    KINDS,
    MANIFEST,
    ComponentInfo,
    FileInfo,
    Manifest,
    component_digest,
    manifest_text,
    safe_path,
    seal,
)
from recsys.bundle.read import Bundle, hash_file
from recsys.errors import BundleError
from recsys.provenance import git_commit, library_versions
from recsys.storage import atomic_folder


def write_bundle(
    folder: Path,
    *,
    kind: str,
    shop: str,
    components: Mapping[str, tuple[Path, ComponentInfo]],
    policy: Mapping[str, Any],
    snapshot: str,
    config: Mapping[str, Any],
    catalogue: Path | None = None,
) -> Bundle:
    """Write a complete bundle, whole or not at all.

    Args:
        folder: where it goes; a bundle that stands there is replaced.
        kind: "product-search" or "recommender".
        shop: the shop's name, "" where it has none.
        components: folder and description of each component, by name.
        policy: how the components work together, e.g. the recommenders' order.
        snapshot: the snapshot that the newest component was learned from.
        config: the resolved configuration of the newest training.
        catalogue: the snapshot's catalogue.parquet. A recommender carries it so that it can answer with products by
            itself, outside any index.

    Raises:
        BundleError: an unknown kind or component, a file of a format that bundles never hold, or a carried-over
            component whose files do not fit its digest.
    """
    check_components(kind, components)
    with atomic_folder(folder) as partial:
        for name, (source, _) in components.items():
            copy_component(source, partial / name)
        if catalogue is not None:
            shutil.copyfile(catalogue, partial / CATALOGUE)
        files = list_files(partial)
        fields = Manifest(
            format_version=FORMAT_VERSION,
            kind=kind,
            shop=shop,
            snapshot=snapshot,
            created_at=datetime.now(UTC),
            git_commit=git_commit(),
            libraries=library_versions(),
            config=dict(config),
            policy=dict(policy),
            components={name: settled(info, files) for name, (_, info) in components.items()},
            files=files,
            digest="",
        ).model_dump(mode="json")
        fields["digest"] = seal(fields)
        (partial / MANIFEST).write_text(manifest_text(fields), encoding="utf-8")
    return Bundle.open(folder, verify=False)


def check_components(kind: str, components: Mapping[str, tuple[Path, ComponentInfo]]) -> None:
    """Refuse kinds and components that no reader would know."""
    if kind not in KINDS:
        raise BundleError(f"bundle kind `{kind}`", expected=f"one of {', '.join(KINDS)}", action="correct the kind")
    for name, (_, info) in components.items():
        if name not in KINDS[kind] or info.name != name:
            raise BundleError(
                f"component `{info.name}` as `{name}` of a {kind} bundle",
                expected=f"one of {', '.join(KINDS[kind])} under its own name",
                action="correct the component's name",
            )


def copy_component(source: Path, target: Path) -> None:
    """Copy a component's plain files; links and formats that can run code are refused."""
    if not source.is_dir():
        raise BundleError(f"no component folder {source}", expected="a folder of files", action="train it again")
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise BundleError(f"{path} is no plain file", expected="plain files", action="copy the file itself")
        if path.is_file():
            if not safe_path(name):
                raise BundleError(
                    f"{path} in a component", expected="safetensors, JSON, Parquet, npy or ONNX", action="leave it out"
                )
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / name)


def list_files(folder: Path) -> dict[str, FileInfo]:
    """Checksum and length of every file below a folder, by relative path in sorted order."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in paths}


def settled(info: ComponentInfo, files: Mapping[str, FileInfo]) -> ComponentInfo:
    """The description with its digest; one that is already there must fit the files."""
    digest = component_digest(files, name=info.name)
    if info.digest not in ("", digest):
        raise BundleError(
            f"component {info.name} with files of digest {digest[:12]}",
            expected=f"digest {info.digest[:12]}, as it was registered",
            action="fetch the base version again",
        )
    return info.model_copy(update={"digest": digest})
