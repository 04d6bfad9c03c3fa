"""What a bundle says about itself: its kind, its components and the checksum of every file."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
CATALOGUE = "catalogue.parquet"
PRODUCT_SEARCH = "product-search"
RECOMMENDER = "recommender"
KINDS: dict[str, tuple[str, ...]] = {
    PRODUCT_SEARCH: ("text_encoder", "image_tower", "cross_encoder", "calibration", "blender"),
    RECOMMENDER: (
        *("two_tower", "text_encoder", "als", "bpr", "item_knn", "popularity"),
        *("bought_together", "repeat", "trending", "category_popularity", "recommend_blender"),
    ),
}
SUFFIXES = (".json", ".safetensors", ".parquet", ".npy", ".onnx", ".txt", ".toml", ".md")


class ComponentInfo(BaseModel):
    """One learned part of a bundle.

    Attributes:
        name: one of the kind's components, also its folder's name.
        digest: sha256 over the component's files; "" lets the writer fill it in.
        snapshot: the snapshot it was learned from; "" for stock weights.
        metrics: what was measured on the validation part, by name.
        config: the resolved configuration of its training.
        parts: the parts of the snapshot it saw, e.g. ["train", "validation"] after the refit.
        created_at: when training ended, UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    digest: str = ""
    snapshot: str = ""
    metrics: dict[str, float] = Field(default_factory=dict)
    config: dict[str, Any] = Field(default_factory=dict)
    parts: list[str] = Field(default_factory=list)
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))


class FileInfo(BaseModel):
    """A file's checksum and length in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class Manifest(BaseModel):
    """The manifest of a bundle; `digest` seals everything else in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int
    kind: str
    shop: str
    snapshot: str
    created_at: datetime
    git_commit: str
    libraries: dict[str, str]
    config: dict[str, Any]
    policy: dict[str, Any]
    components: dict[str, ComponentInfo]
    files: dict[str, FileInfo]
    digest: str


def snapshots_behind(manifest: Manifest) -> list[str]:
    """The snapshots that a bundle and its components were learned from, carried-over ones included; sorted."""
    return sorted({manifest.snapshot, *(one.snapshot for one in manifest.components.values())} - {""})


def seal(fields: Mapping[str, Any]) -> str:
    """The sha256 of a manifest's fields other than `digest`, as sorted compact JSON."""
    body = {name: value for name, value in fields.items() if name != "digest"}
    return hashlib.sha256(canonical(body).encode()).hexdigest()


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, UTF-8, no NaN."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def manifest_text(fields: Mapping[str, Any]) -> str:
    """The one text of a manifest's file; any other byte in it is an alteration."""
    return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"


def component_digest(files: Mapping[str, FileInfo], *, name: str) -> str:
    """The sha256 over the names and checksums of the files below a component's folder.

    Args:
        files: files by path relative to the bundle.
        name: the component, the first part of its files' paths.
    """
    own = {path.removeprefix(f"{name}/"): info.sha256 for path, info in files.items() if path.startswith(f"{name}/")}
    return hashlib.sha256(canonical(own).encode()).hexdigest()


def safe_path(path: str) -> bool:
    """True where a manifest's path stays inside the bundle and holds no executable format."""
    pure = PurePosixPath(path)
    plain = not pure.is_absolute() and ".." not in pure.parts and "\\" not in path and str(pure) == path
    return plain and pure.suffix in SUFFIXES and not any(part.startswith(".") for part in pure.parts)
