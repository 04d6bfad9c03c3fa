"""Opening a bundle: every file is checked against the manifest before anything is loaded from it."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from recsys.bundle.manifest import (
    CATALOGUE,
    FORMAT_VERSION,
    KINDS,
    MANIFEST,
    FileInfo,
    Manifest,
    component_digest,
    manifest_text,
    safe_path,
    seal,
)
from recsys.errors import BundleError

FETCH = "fetch it again from the registry, or train it anew"


@dataclass(frozen=True, slots=True)
class Bundle:
    """What was learned, as plain files in one folder.

    Attributes:
        path: the folder.
        manifest: what the bundle says about itself.
    """

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path, *, verify: bool = True) -> "Bundle":
        """Read the manifest and check the folder against it.

        Args:
            folder: the bundle.
            verify: also hash every file; without it only names and lengths are compared.

        Raises:
            BundleError: the folder is no bundle, of another format, incomplete or altered; the message names the file.
        """
        manifest = read_manifest(folder)
        check_names(folder, manifest)
        for name, info in manifest.files.items():
            check_file(folder / name, name, info, verify=verify)
        for name, component in manifest.components.items():
            if component.digest != component_digest(manifest.files, name=name):
                raise broken(folder, f"component {name} with another digest than its files")
        return cls(path=folder, manifest=manifest)

    @property
    def kind(self) -> str:
        """The registered model it belongs to: "product-search" or "recommender"."""
        return self.manifest.kind

    @property
    def shop(self) -> str:
        """The shop it was learned for; "" where the shop has no name."""
        return self.manifest.shop

    @property
    def digest(self) -> str:
        """The sha256 that names this bundle and seals its manifest."""
        return self.manifest.digest

    def component(self, name: str) -> Path | None:
        """The folder of a component, None where this bundle has no such stage.

        Raises:
            BundleError: bundles of this kind never have such a component.
        """
        if name not in KINDS[self.kind]:
            raise BundleError(
                f"no component `{name}` in bundles of kind {self.kind}",
                expected=f"one of {', '.join(KINDS[self.kind])}",
                action="ask the other model for it",
            )
        return self.path / name if name in self.manifest.components else None

    @property
    def catalogue(self) -> Path | None:
        """The products that the bundle was learned with (catalogue.parquet), None where it carries none."""
        return self.path / CATALOGUE if CATALOGUE in self.manifest.files else None


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder, its format, kind and seal checked."""
    path = folder / MANIFEST
    if not path.is_file() or path.is_symlink():
        raise BundleError(f"no {MANIFEST} in {folder}", expected="a bundle folder", action="check the path")
    try:
        text = path.read_bytes()
        fields = json.loads(text)
        if not isinstance(fields, dict) or fields.get("format_version") != FORMAT_VERSION:
            version = fields.get("format_version") if isinstance(fields, dict) else None
            raise BundleError(
                f"{path} has format version {version}",
                expected=f"format version {FORMAT_VERSION}",
                action="use the release that wrote it, or train it anew",
            )
        if seal(fields) != fields.get("digest") or manifest_text(fields).encode() != text:
            raise broken(folder, f"{MANIFEST} altered")
        manifest = Manifest.model_validate(fields)
    except (ValueError, ValidationError) as error:
        raise broken(folder, f"{MANIFEST} unreadable") from error
    check_content(folder, manifest)
    return manifest


def is_bundle(folder: Path) -> bool:
    """True for a folder whose manifest is that of a bundle."""
    try:
        read_manifest(folder)
    except BundleError:
        return False
    return True


def check_content(folder: Path, manifest: Manifest) -> None:
    """Refuse unknown kinds, components foreign to the kind, and paths that leave the folder."""
    if manifest.kind not in KINDS:
        raise broken(folder, f"kind `{manifest.kind}`", expected=f"one of {', '.join(KINDS)}")
    for name, component in manifest.components.items():
        if name not in KINDS[manifest.kind] or component.name != name:
            raise broken(folder, f"component `{name}`", expected=f"one of {', '.join(KINDS[manifest.kind])}")
    for name in manifest.files:
        if not safe_path(name):
            raise broken(folder, f"the path `{name}`", expected="plain data files inside the folder")
        if name != CATALOGUE and name.split("/")[0] not in manifest.components:
            raise broken(folder, f"{name}, which belongs to no component")


def check_names(folder: Path, manifest: Manifest) -> None:
    """Refuse links, files that the manifest does not name and files that are missing."""
    found: set[str] = set()
    for root, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(root) / name
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise broken(folder, f"{path.relative_to(folder)} is no plain file")
        found.update((Path(root) / name).relative_to(folder).as_posix() for name in names)
    named = {*manifest.files, MANIFEST}
    if extra := sorted(found - named):
        raise broken(folder, f"{extra[0]}, which the manifest does not name")
    if missing := sorted(named - found):
        raise broken(folder, f"{missing[0]} missing")


def check_file(path: Path, name: str, info: FileInfo, *, verify: bool) -> None:
    """Compare a file's length, and where `verify` is set its checksum, with the manifest."""
    size = path.stat().st_size
    if size != info.size:
        raise broken(path, f"{name} has {size} bytes", expected=f"{info.size} bytes")
    if verify and hash_file(path).sha256 != info.sha256:
        raise broken(path, f"{name} altered (its sha256 differs)")


def hash_file(path: Path) -> FileInfo:
    """A file's checksum and length."""
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return FileInfo(sha256=digest, size=path.stat().st_size)


def broken(place: Path, found: str, *, expected: str = "the files that its manifest names, unaltered") -> BundleError:
    """The error for a bundle that is not what its manifest says."""
    return BundleError(f"bundle {place}: {found}", expected=expected, action=FETCH)
