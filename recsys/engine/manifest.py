"""What an index says of itself: which bundles and which catalogue it joins, and which stages it has."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recsys.digest import file_sha256
from recsys.errors import IndexMismatchError

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
CATALOGUE = "catalogue.parquet"
LEXICAL, DENSE, ENCODER, TWO_TOWER = "lexical", "dense", "text-encoder", "two-tower"
INNER, COSINE = "inner", "cosine"
TEXT = "text"
IMAGES = "images"
UNDERSTANDING = "understanding"
HASHED_AT_ONCE = 4


class BundleRecord(BaseModel):
    """One bundle behind an index.

    Attributes:
        digest: the bundle's digest; an index answers with this bundle only.
        path: where the bundle lay when the index was built.
        version: the name people know it by ("models:/product-search/3"), "" for a plain folder.
    """

    model_config = ConfigDict(frozen=True)

    digest: str
    path: Path
    version: str = ""


class StoredFile(BaseModel):
    """One file of an index as it was written.

    Attributes:
        size: in bytes; compared whenever the index is opened.
        sha256: of its bytes; compared as well, unless whoever opens the index asks for speed.
    """

    model_config = ConfigDict(frozen=True)

    size: int
    sha256: str


class IndexManifest(BaseModel):
    """The manifest of an index folder.

    Attributes:
        shop: the shop's name, "" where it has none.
        catalogue_digest: digest of the catalogue that was indexed.
        products: number of products.
        bundles: by kind, "product-search" and "recommender", where there is one.
        stages: by stage, what stands behind it ("dense": "stock backbone, flat").
        absent: by stage, why the index does not have it.
        lists: what the shop asks of all lists of recommendations, as `ListRules.told` gives it.
        created_at: when it was built.
        files: every other file of the folder, by its path in it.
    """

    model_config = ConfigDict(frozen=True)

    format_version: int = FORMAT_VERSION
    shop: str = ""
    catalogue_digest: str
    products: int
    bundles: dict[str, BundleRecord] = Field(default_factory=dict)
    stages: dict[str, str] = Field(default_factory=dict)
    absent: dict[str, str] = Field(default_factory=dict)
    lists: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    files: dict[str, StoredFile] = Field(default_factory=dict)

    @property
    def digest(self) -> str:
        """sha256 over the catalogue's and the bundles' digests, stages and rules: equal for equal contents."""
        parts = [
            self.catalogue_digest,
            json.dumps(self.stages, sort_keys=True),
            *([json.dumps(self.lists, sort_keys=True)] if self.lists else []),
            *(f"{kind}:{self.bundles[kind].digest}" for kind in sorted(self.bundles)),
        ]
        return sha256("\n".join(parts).encode()).hexdigest()

    @property
    def model_version(self) -> str:
        """The versions that answer, for people: "product-search/3+recommender/7"."""
        names = [record.version.removeprefix("models:/") or record.digest[:12] for record in self.bundles.values()]
        return "+".join(names) or "stock"


def read_manifest(folder: Path) -> IndexManifest:
    """The manifest of an index folder; IndexMismatchError where it is missing, damaged or of another format."""
    path = folder / MANIFEST
    if not path.is_file():
        raise IndexMismatchError(f"no {MANIFEST} in {folder}", expected="an index folder", action="run `recsys index`")
    try:
        manifest = IndexManifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise IndexMismatchError(
            f"{path} can't be read ({error.error_count()} faults)",
            expected="the manifest of an index",
            action="build it again with `recsys index`",
        ) from None
    if manifest.format_version != FORMAT_VERSION:
        raise IndexMismatchError(
            f"{path} has format {manifest.format_version}",
            expected=f"format {FORMAT_VERSION}",
            action="build it again with `recsys index`",
        )
    return manifest


def stored_files(folder: Path) -> dict[str, StoredFile]:
    """Every file of an index but its manifest, by its path; tantivy's locks come and go and are left out."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {
        path.relative_to(folder).as_posix(): StoredFile(size=path.stat().st_size, sha256=file_sha256(path))
        for path in found
        if path != folder / MANIFEST
    }


def is_index(folder: Path) -> bool:
    """True for a folder whose manifest is that of an index."""
    try:
        read_manifest(folder)
    except IndexMismatchError:
        return False
    return True


def check_sizes(folder: Path, manifest: IndexManifest) -> None:
    """Hold the files against the sizes in the manifest; IndexMismatchError names the first that is gone or torn."""
    for name, stored in manifest.files.items():
        path = folder / name
        found = path.stat().st_size if path.is_file() else None
        if found != stored.size:
            raise IndexMismatchError(
                f"{path} is missing" if found is None else f"{path} has {found} bytes",
                expected=f"{stored.size} bytes, as it was built",
                action="build the index again with `recsys index SHOP`",
            )


def check_contents(folder: Path, manifest: IndexManifest) -> None:
    """Hold the files' bytes against the manifest; IndexMismatchError names the first that was altered.

    Files are hashed on several threads, about a gigabyte in a second on each.
    """
    with ThreadPoolExecutor(max_workers=min(HASHED_AT_ONCE, os.cpu_count() or 1)) as threads:
        found = threads.map(file_sha256, (folder / name for name in manifest.files))
        for (name, stored), sha256_found in zip(manifest.files.items(), found, strict=True):
            if sha256_found != stored.sha256:
                raise IndexMismatchError(
                    f"{folder / name} was altered (its sha256 differs)",
                    expected="the bytes that were written when it was built",
                    action="build the index again with `recsys index SHOP`, and check the disk",
                )


def is_whole(folder: Path) -> bool:
    """True where every file of an index has the bytes that it was built with."""
    try:
        manifest = read_manifest(folder)
        check_sizes(folder, manifest)
        check_contents(folder, manifest)
    except (IndexMismatchError, OSError):
        return False
    return bool(manifest.files)
