"""Bundles of tiny networks and hand-made components, written as a training writes them."""

from collections.abc import Mapping
from pathlib import Path

from recsys.bundle.manifest import ComponentInfo
from recsys.bundle.read import Bundle
from recsys.bundle.write import write_bundle
from recsys.models.backbone import load_backbone
from recsys.models.cross_encoder import CrossEncoder
from recsys.models.text_encoder import TextEncoder
from recsys.text.tokenizer import TextTokenizer

Components = dict[str, tuple[Path, ComponentInfo]]


def search_networks(place: Path, backbone: Path, *, max_length: int = 32, text_encoder: bool = True) -> Components:
    """A cross-encoder, and a text encoder beside it, that have learned nothing; their weights are always the same."""
    CrossEncoder(load_backbone(backbone), seed=1, max_length=max_length).save(place / "cross_encoder")
    names = ["cross_encoder"]
    if text_encoder:
        TextEncoder(load_backbone(backbone), max_length=max_length).save(place / "text_encoder")
        names.append("text_encoder")
    for name in names:
        TextTokenizer.load(backbone).save(place / name)
    return components_in(place, *names, parts=["train"])


def components_in(place: Path, *names: str, parts: list[str] | None = None) -> Components:
    """Components that stand in folders of their names."""
    return {name: (place / name, ComponentInfo(name=name, parts=parts or [])) for name in names}


def components_of(bundle: Bundle) -> Components:
    """What a bundle holds, for another bundle."""
    return {name: (bundle.path / name, info) for name, info in bundle.manifest.components.items()}


def bundle_of(
    folder: Path,
    kind: str,
    components: Components,
    *,
    policy: Mapping[str, object] | None = None,
    shop: str = "demo",
    catalogue: Path | None = None,
) -> Bundle:
    """Write a bundle of these components."""
    return write_bundle(
        folder,
        kind=kind,
        shop=shop,
        components=components,
        policy=policy or {},
        snapshot="s",
        config={},
        catalogue=catalogue,
    )
