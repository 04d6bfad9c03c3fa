"""Join bundles with a catalogue: an index, written whole or not at all."""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from recsys.bundle.manifest import PRODUCT_SEARCH, RECOMMENDER
from recsys.bundle.read import Bundle
from recsys.catalogue import Catalogue
from recsys.engine.cutoff import find_calibration
from recsys.engine.image_vectors import build_images
from recsys.engine.manifest import (
    CATALOGUE,
    COSINE,
    DENSE,
    ENCODER,
    IMAGES,
    INNER,
    LEXICAL,
    MANIFEST,
    TEXT,
    TWO_TOWER,
    UNDERSTANDING,
    BundleRecord,
    IndexManifest,
    stored_files,
)
from recsys.engine.policy import ListRules, search_policy
from recsys.engine.text_vectors import text_vectors
from recsys.errors import IndexMismatchError, MissingDependencyError
from recsys.models.backbone import FILES, STOCK, resolve_backbone
from recsys.models.two_tower import TwoTower
from recsys.retrieval.dense import DenseIndex
from recsys.retrieval.lexical import LexicalIndex
from recsys.retrieval.nearest import Kind
from recsys.retrieval.two_tower import component_vectors
from recsys.retrieval.vocabulary import catalogue_rows
from recsys.settings import NAMELESS
from recsys.storage import atomic_folder
from recsys.types import Vectors
from recsys.understanding.reader import QueryReader

log = logging.getLogger(__name__)

UNIT = 1e-5
"""How far from 1 the length of a unit vector may be in float32."""


@dataclass(slots=True)
class Contents:
    """What an index has and what it lacks, filled while it is built; see IndexManifest."""

    stages: dict[str, str] = field(default_factory=lambda: {"bm25": "tantivy"})
    absent: dict[str, str] = field(default_factory=dict)


def build_index(
    catalogue: Catalogue,
    *,
    search: Bundle | None,
    recommender: Bundle | None,
    folder: Path,
    shop: str,
    dense_kind: Kind | Literal["auto"] = "auto",
    versions: Mapping[str, str] | None = None,
    backbone: str = STOCK,
    cache: Path | None = None,
    pictures: Path | None = None,
    lists: ListRules | None = None,
) -> Path:
    """Write the index of a catalogue and give its folder.

    Bundles are not copied: the index names them by digest and is refused with any others.

    Args:
        catalogue: the products; there may be none.
        search: the product-search bundle; None takes the stock backbone, or lexical search alone where it is missing.
        recommender: the recommender bundle; None leaves recommendations to nobody, and the manifest says so.
        folder: where the index comes to stand; written beside it first, then renamed.
        shop: the shop's name, "" where it has none.
        dense_kind: "flat", "hnsw", "ivf-pq" or "auto".
        versions: by bundle kind, the name people know the version by.
        backbone: the text encoder taken where the search bundle has none; "" takes none.
        cache: folder of text and image vectors that are kept from build to build, by shop; see text_vectors.
        pictures: the shop folder, in which pictures (`image_url`) are looked up; None where it is not known.
        lists: what the shop asks of all lists of recommendations; None asks nothing.

    Raises:
        IndexMismatchError: a bundle belongs to another shop or is of the wrong kind; what stood at `folder` stays.
        MissingDependencyError: FAISS is not installed, or a backbone other than the stock one is not to be had.
    """
    bundles = {kind: bundle for kind, bundle in ((PRODUCT_SEARCH, search), (RECOMMENDER, recommender)) if bundle}
    for kind, bundle in bundles.items():
        check_bundle(bundle, kind=kind, shop=shop)
    contents = Contents()
    kept = None if cache is None else cache / (shop or NAMELESS)
    with atomic_folder(folder) as partial:
        catalogue.frame.write_parquet(partial / CATALOGUE)
        LexicalIndex.build(catalogue, partial / LEXICAL)
        contents.stages[UNDERSTANDING] = ", ".join(QueryReader.build(catalogue, partial / UNDERSTANDING).parts)
        build_dense(
            catalogue,
            partial,
            bundle=search,
            kind=dense_kind,
            backbone=backbone,
            cache=kept,
            pictures=pictures,
            contents=contents,
        )
        note_cross_encoder(search, contents)
        note_blender(search, contents)
        build_recommender(catalogue, partial, bundle=recommender, kind=dense_kind, cache=kept, contents=contents)
        manifest = IndexManifest(
            shop=shop,
            catalogue_digest=catalogue.digest,
            products=len(catalogue),
            bundles={kind: record(bundle, (versions or {}).get(kind, "")) for kind, bundle in bundles.items()},
            stages=contents.stages,
            absent=contents.absent,
            lists={} if lists is None else lists.told(),
            files=stored_files(partial),
        )
        (partial / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return folder


def check_bundle(bundle: Bundle, *, kind: str, shop: str) -> None:
    """Refuse a bundle of another kind or shop."""
    if bundle.kind != kind:
        raise IndexMismatchError(f"{bundle.path} is a {bundle.kind} bundle", expected=kind, action="name the right one")
    if bundle.shop != shop:
        raise IndexMismatchError(
            f"{bundle.path} was learned for the shop `{bundle.shop}`",
            expected=f"a model of the shop `{shop}`",
            action="train one with `recsys train`",
        )


def record(bundle: Bundle, version: str) -> BundleRecord:
    """How the manifest names a bundle."""
    return BundleRecord(digest=bundle.digest, path=bundle.path.resolve(), version=version)


def build_dense(
    catalogue: Catalogue,
    folder: Path,
    *,
    bundle: Bundle | None,
    kind: Kind | Literal["auto"],
    backbone: str,
    cache: Path | None,
    pictures: Path | None,
    contents: Contents,
) -> None:
    """Encode the products, texts joined with pictures, and index the vectors; says in `contents` what came of it."""
    source, name = text_encoder_folder(bundle, backbone=backbone, contents=contents)
    if source is None:
        return
    if not len(catalogue):
        contents.absent["dense"] = "the catalogue is empty"
        return
    vectors = text_vectors(catalogue.texts(), source, cache=cache)
    vectors, images, why = build_images(
        catalogue, vectors, folder / IMAGES, bundle=bundle, text_encoder=source, pictures=pictures, cache=cache
    )
    contents.stages |= {IMAGES: images} if images else {}
    contents.absent |= {IMAGES: why} if why else {}
    contents.stages["dense"] = f"{name}, {said(DenseIndex.build(vectors, folder / DENSE, kind=kind))}"
    if bundle is None or bundle.component("text_encoder") is None:
        keep_encoder(source, folder / ENCODER)


def keep_encoder(source: Path, folder: Path) -> None:
    """Put a stock encoder beside its vectors, linked where the disk allows it: a serving host needs no other copy."""
    folder.mkdir()
    for path in sorted({path for pattern in FILES for path in source.glob(pattern) if path.is_file()}):
        real = path.resolve()
        try:
            (folder / path.name).hardlink_to(real)
        except OSError:
            shutil.copyfile(real, folder / path.name)


def text_encoder_folder(bundle: Bundle | None, *, backbone: str, contents: Contents) -> tuple[Path | None, str]:
    """Where the search's text encoder lies, and its name: the bundle's own, else the stock backbone."""
    own = bundle.component("text_encoder") if bundle is not None else None
    if own is not None:
        return own, "fine-tuned text encoder"
    if not backbone:
        contents.absent["dense"] = "no text encoder asked for"
        return None, ""
    try:
        return resolve_backbone(backbone), f"not fine-tuned {backbone}"
    except MissingDependencyError as error:
        if backbone != STOCK:
            raise
        log.warning("no dense search: %s", error)
        contents.absent["dense"] = error.found
        return None, ""


def note_cross_encoder(bundle: Bundle | None, contents: Contents) -> None:
    """Say whether a search ends in a cross-encoder, and whether its scores are probabilities."""
    if bundle is None:
        contents.absent["cross-encoder"] = "no product-search model"
    elif bundle.component("cross_encoder") is None:
        contents.absent["cross-encoder"] = "the product-search model has none"
    else:
        contents.stages["cross-encoder"] = "fine-tuned cross-encoder"
        calibration, missing = find_calibration(bundle)
        if calibration is None:
            contents.absent["calibration"] = missing
        else:
            contents.stages["calibration"] = calibration.said


def note_blender(bundle: Bundle | None, contents: Contents) -> None:
    """Say whether a blender can order the best products."""
    if bundle is not None and bundle.component("blender") is not None:
        off = "blender" in search_policy(bundle.manifest.policy).off
        contents.stages["blender"] = "off unless asked for" if off else "on"


def build_recommender(
    catalogue: Catalogue,
    folder: Path,
    *,
    bundle: Bundle | None,
    kind: Kind | Literal["auto"],
    cache: Path | None,
    contents: Contents,
) -> None:
    """Index the products' vectors that the recommenders read; says which recommenders there are."""
    if bundle is None:
        contents.absent["recommender"] = "no recommender model"
        return
    contents.stages |= {
        name.replace("_", "-"): "bundle" for name in bundle.manifest.components if name != "text_encoder"
    }
    encoder = bundle.component("text_encoder")
    text = None if encoder is None else text_vectors(catalogue.texts(), encoder, cache=cache)
    if text is not None and len(catalogue):
        contents.stages["text"] = f"bundle, {said(DenseIndex.build(text, folder / TEXT, kind=kind))}"
    towers = bundle.component("two_tower")
    if towers is None:
        contents.absent["two-tower"] = "the recommender model has none"
        return
    index = build_towers(catalogue, folder / TWO_TOWER, component=towers, text=text, kind=kind)
    contents.stages["two-tower"] = f"bundle, {said(index)}"


def build_towers(
    catalogue: Catalogue, folder: Path, *, component: Path, text: Vectors | None, kind: Kind | Literal["auto"]
) -> DenseIndex:
    """Index the product tower's vectors, by inner product for users and by cosine for neighbours; gives the former.

    Where all vectors are of length 1 both are the same, and the second is left out.
    """
    network, rows = TwoTower.load(component), catalogue_rows(component, catalogue=catalogue)
    vectors = component_vectors(network, component, catalogue=catalogue, rows=rows, text=text)
    kind = kind if len(catalogue) else "flat"
    index = DenseIndex.build(vectors, folder / INNER, kind=kind)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.allclose(lengths, 1.0, rtol=0.0, atol=UNIT):
        DenseIndex.build(vectors / lengths, folder / COSINE, kind=kind)
    return index


def said(index: DenseIndex) -> str:
    """Whether an index is exact, in words."""
    return "exact" if index.exact else "approximate"
