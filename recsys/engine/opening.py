"""Opening an index: catalogue and bundles must be those that it was built from."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from recsys.bundle.manifest import PRODUCT_SEARCH, RECOMMENDER
from recsys.bundle.read import Bundle
from recsys.catalogue import Catalogue
from recsys.engine.blending import open_blending
from recsys.engine.cutoff import find_calibration
from recsys.engine.ladder import Ladder
from recsys.engine.manifest import (
    CATALOGUE,
    COSINE,
    DENSE,
    ENCODER,
    IMAGES,
    INNER,
    LEXICAL,
    TEXT,
    TWO_TOWER,
    UNDERSTANDING,
    BundleRecord,
    IndexManifest,
    check_contents,
    check_sizes,
    read_manifest,
)
from recsys.engine.policy import ListRules, RecommendPolicy, list_rules, recommend_policy, search_policy
from recsys.engine.recommend import ByHistory, ByVectors, Neighbours, Recommendations
from recsys.engine.recommend_blending import find_blends
from recsys.engine.recommenders import load_recommenders, own_histories
from recsys.engine.search import Search
from recsys.errors import IndexMismatchError
from recsys.ranking.attribution import Attributor
from recsys.ranking.candidate_blender import ALLOWED, EXCLUDED
from recsys.ranking.cross_encoder import CrossEncoderRanker
from recsys.retrieval.dense import DenseIndex
from recsys.retrieval.dense_text import DenseTextRetriever
from recsys.retrieval.lexical import LexicalIndex
from recsys.retrieval.popularity import PopularityRecommender
from recsys.retrieval.repeat import RepeatRecommender
from recsys.retrieval.text_neighbours import TextNeighbours
from recsys.retrieval.two_tower import TwoTowerRecommender
from recsys.settings import Settings
from recsys.types import Recommender
from recsys.understanding.reader import QueryReader

log = logging.getLogger(__name__)

IMPERSONAL = ("popularity", "trending")
REBUILD = "build it again with `recsys index`"


@dataclass(frozen=True, slots=True)
class Opened:
    """What an index folder holds, ready to answer."""

    manifest: IndexManifest
    catalogue: Catalogue
    search: Search
    recommendations: Recommendations


def open_index(folder: Path, *, settings: Settings, deterministic: bool = False, verify: bool = True) -> Opened:
    """Read an index and the bundles behind it.

    Args:
        folder: the index.
        settings: where downloaded bundles lie.
        deterministic: see Search.
        verify: hash every file of the index and of its bundles; without it lengths alone are compared, and a disk
            that gives other bytes than were written goes unnoticed.

    Raises:
        IndexMismatchError: the folder is no index, a file is torn or altered, or the catalogue or a bundle is not the
            one it was built from.
        BundleError: a bundle is damaged.
    """
    manifest = read_manifest(folder)
    check_sizes(folder, manifest)
    if verify:
        check_contents(folder, manifest)
    catalogue = Catalogue.read(folder / CATALOGUE)
    if catalogue.digest != manifest.catalogue_digest:
        raise IndexMismatchError(
            f"{folder / CATALOGUE} has digest {catalogue.digest[:12]}",
            expected=f"{manifest.catalogue_digest[:12]}, which was indexed",
            action=REBUILD,
        )
    bundles = {kind: find_bundle(record, settings=settings, verify=verify) for kind, record in manifest.bundles.items()}
    search = bundles.get(PRODUCT_SEARCH)
    dense = open_dense(folder, manifest, search, deterministic=deterministic)
    return Opened(
        manifest=manifest,
        catalogue=catalogue,
        search=open_search(folder, manifest, catalogue, bundle=search, dense=dense, deterministic=deterministic),
        recommendations=open_recommendations(
            folder, catalogue, bundle=bundles.get(RECOMMENDER), dense=dense, rules=list_rules(manifest.lists)
        ),
    )


def find_bundle(record: BundleRecord, *, settings: Settings, verify: bool) -> Bundle:
    """The bundle that an index names: where it lay, or among the downloaded ones; any other is refused."""
    for place in (record.path, settings.bundles / record.digest):
        if place.is_dir():
            bundle = Bundle.open(place, verify=verify)
            if bundle.digest == record.digest:
                return bundle
    raise IndexMismatchError(
        f"no bundle {record.digest[:12]} at {record.path} or in {settings.bundles}",
        expected=f"the bundle that the index was built from ({record.version or record.path.name})",
        action=REBUILD,
    )


def open_dense(
    folder: Path, manifest: IndexManifest, bundle: Bundle | None, *, deterministic: bool
) -> DenseTextRetriever | None:
    """Retrieval by text vectors, joined with pictures where there are any; None where the index has none."""
    if "dense" not in manifest.stages:
        return None
    own = bundle.component("text_encoder") if bundle is not None else None
    encoder = own or folder / ENCODER
    return DenseTextRetriever.open(
        folder / DENSE,
        encoder=encoder,
        images=folder / IMAGES if IMAGES in manifest.stages else None,
        precision="fp32" if deterministic else "auto",
    )


def open_search(
    folder: Path,
    manifest: IndexManifest,
    catalogue: Catalogue,
    *,
    bundle: Bundle | None,
    dense: DenseTextRetriever | None,
    deterministic: bool,
) -> Search:
    """The search stages."""
    place = bundle.component("cross_encoder") if bundle is not None else None
    lexical = LexicalIndex.open(folder / LEXICAL)
    reader = QueryReader.open(folder / UNDERSTANDING) if UNDERSTANDING in manifest.stages else None
    blending, why = (None, "") if bundle is None else open_blending(bundle, catalogue, lexical=lexical, reader=reader)
    return Search(
        catalogue=catalogue,
        lexical=lexical,
        dense=dense,
        ranker=None if place is None else CrossEncoderRanker.load(place, deterministic=deterministic),
        policy=search_policy({} if bundle is None else bundle.manifest.policy),
        reader=reader,
        absent={**manifest.absent, **({"blender": why} if why else {})},
        calibration=find_calibration(bundle)[0],
        attributor=None if place is None else cache(partial(Attributor.load, place)),
        vocabulary=lexical,
        deterministic=deterministic,
        blending=blending,
    )


def open_recommendations(
    folder: Path,
    catalogue: Catalogue,
    *,
    bundle: Bundle | None,
    dense: DenseTextRetriever | None,
    rules: ListRules,
) -> Recommendations:
    """The recommenders in the order of the bundle's policy, and the neighbours of products.

    What is near by its text is told by the recommender's own text vectors, else by the search's.
    """
    policy = rules.over(recommend_policy({} if bundle is None else bundle.manifest.policy))
    found = own_histories()
    text = None if dense is None else TextNeighbours(dense.index)
    if bundle is not None:
        found |= load_recommenders(bundle, catalogue, vectors=partial(DenseIndex.open, folder / TWO_TOWER / INNER))
    if (folder / TEXT).is_dir():
        found["text"] = text = TextNeighbours(DenseIndex.open(folder / TEXT))
    popularity = found.get("popularity")
    neighbours = open_neighbours(folder, found, dense=dense, policy=policy)
    near = neighbours.get("two-tower", neighbours.get("text"))
    blends, why = ({}, "") if bundle is None else find_blends(bundle, catalogue, recommenders=found)
    if why:
        log.warning("recommendations without their blend: %s", why)
    lists = {
        table: Ladder(
            personal=(
                *((blends[table],) if table in policy.blend and table in blends else ()),
                *(found[name] for name in order if name in found),
            ),
            text=text,
            popularity=popularity if isinstance(popularity, PopularityRecommender) else None,
        )
        for table, order in ((EXCLUDED, policy.order), (ALLOWED, policy.repeat_order or policy.order))
    }
    return Recommendations(
        catalogue=catalogue,
        ladder=lists[EXCLUDED],
        repeating=lists[ALLOWED],
        neighbours=tuple(neighbours[name] for name in policy.similar if name in neighbours),
        policy=policy,
        learned_from={} if bundle is None else {n: tuple(c.parts) for n, c in bundle.manifest.components.items()},
        missing="no recommender has been trained for this shop" if bundle is None else "",
        repeat=repeat if isinstance(repeat := found.get("repeat"), RepeatRecommender) else None,
        vectors=near.index.at if isinstance(near, ByVectors) else None,
    )


def open_neighbours(
    folder: Path, found: Mapping[str, Recommender], *, dense: DenseTextRetriever | None, policy: RecommendPolicy
) -> dict[str, Neighbours]:
    """Who brings the neighbours of a product: recommenders, and the vectors of the index."""
    neighbours: dict[str, Neighbours] = {
        name: ByHistory(found[name]) for name in policy.similar if name in found and name not in IMPERSONAL
    }
    towers = found.get("two-tower")
    if isinstance(towers, TwoTowerRecommender) and isinstance(towers.products, DenseIndex):
        by_cosine = folder / TWO_TOWER / COSINE
        index = DenseIndex.open(by_cosine) if by_cosine.is_dir() else towers.products
        neighbours["two-tower"] = ByVectors("two-tower", index)
    if dense is not None:
        neighbours["text"] = ByVectors("text", dense.index)
    return neighbours
