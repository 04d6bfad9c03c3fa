"""The last step of a search: the blender puts the best products in a new order, on all signals at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsys.bundle.read import Bundle
from recsys.catalogue import Catalogue
from recsys.engine.ranked import Ranked, ordered
from recsys.meaning import Understanding
from recsys.ranking.blender import Blender
from recsys.ranking.product_signals import ProductSignals
from recsys.ranking.signals import UNDERSTANDING, group_of, signal_matrix
from recsys.ranking.text_signals import TextSignals
from recsys.retrieval.lexical import LexicalIndex
from recsys.retrieval.lexical_signals import LexicalSignals
from recsys.retrieval.popularity import TABLE, PopularityRecommender
from recsys.types import Positions, Scores, Signals
from recsys.understanding.agreement import UnderstandingSignals
from recsys.understanding.reader import QueryReader

BELOW = "below"
"""The part that keeps the products under the blended ones below them."""
GAP = 1e-3
COMPONENTS = ("text_encoder", "image_tower", "cross_encoder")
"""The components whose scores a blender reads."""


@dataclass(frozen=True, slots=True)
class Blending:
    """A blender with the signals that it reads.

    Attributes:
        blender: the fitted blender.
        sources: who computes the signals that no stage has computed before.
    """

    blender: Blender
    sources: tuple[Signals, ...]

    def apply(self, ranked: Ranked, *, query: Understanding, top: Positions, known: Mapping[str, Scores]) -> Ranked:
        """The ranking with some of its products put in the blender's order, above all others.

        Args:
            ranked: by the weighted sum.
            query: as the search reads it.
            top: the products to order anew, each one of the ranking's.
            known: what the stages have computed about them, float32 [top] by the signal's name.
        """
        if not len(top):
            return ranked
        matrix = signal_matrix(self.blender.signals, self.sources, query=query, positions=top, known=known)
        inside = places(ranked.positions, top)
        base = {name: part[inside] for name, part in ranked.parts.items()}
        blended = self.blender.parts(matrix, base=base)
        scale = np.float32(self.blender.settings.scale or 1.0)  # a sum that counts nothing above still orders the rest
        parts = {name: np.zeros(len(ranked.positions), dtype=np.float32) for name in (*blended, BELOW)}
        for name, part in ranked.parts.items():
            parts[name] = scale * part
        for name, part in blended.items():
            parts[name][inside] = part
        rest = np.ones(len(ranked.positions), dtype=np.bool_)
        rest[inside] = False
        if rest.any():
            lowest = float(np.stack(list(blended.values())).sum(axis=0, dtype=np.float32).min())
            highest = float(scale * ranked.scores[rest].max())
            parts[BELOW][rest] = min(0.0, lowest - highest - GAP)
        return ordered(ranked.positions, parts, sources=ranked.sources, probabilities=ranked.probabilities)


def places(positions: Positions, wanted: Positions) -> Positions:
    """Where each wanted position stands in a list that holds it."""
    order = np.argsort(positions)
    return np.asarray(order[np.searchsorted(positions, wanted, sorter=order)], dtype=np.int64)


def signal_sources(
    catalogue: Catalogue, lexical: LexicalIndex, *, reader: QueryReader | None, popularity: Scores | None
) -> tuple[Signals, ...]:
    """Everyone who computes signals for an index.

    Args:
        catalogue: the products.
        lexical: the index of their words.
        reader: what queries mean; None where the index was built without.
        popularity: float32 [products], what each sold; None where nothing is known.
    """
    return (
        LexicalSignals(lexical, catalogue),
        TextSignals(catalogue),
        *(() if reader is None else (UnderstandingSignals(reader),)),
        ProductSignals(catalogue, popularity=popularity),
    )


def open_blending(
    bundle: Bundle, catalogue: Catalogue, *, lexical: LexicalIndex, reader: QueryReader | None
) -> tuple[Blending | None, str]:
    """The blender of a bundle, or None and the reason why it is left out; "" where the bundle has none.

    A blender that was fitted on the scores of other networks than the bundle's stays out: their scores mean other
    things. That happens where a network is trained anew and the blender carried over. One that reads what queries mean
    stays out of an index that was built without query understanding.

    Raises:
        BundleError: the blender can't be read, or wants signals that this release does not compute.
    """
    folder = bundle.component("blender")
    if folder is None:
        return None, ""
    blender = Blender.load(folder)
    if blender.settings.learned_over != component_digests(bundle):
        return None, "it was fitted on the scores of other networks; run `recsys train blender`"
    if reader is None and any(group_of(name) == UNDERSTANDING for name in blender.signals):
        return None, "it reads what queries mean, which this index can't say; run `recsys index` again"
    sources = signal_sources(catalogue, lexical, reader=reader, popularity=read_popularity(folder, catalogue))
    return Blending(blender, sources), ""


def component_digests(bundle: Bundle | None) -> dict[str, str]:
    """The digests of a bundle's components whose scores a blender reads, by name."""
    known = {} if bundle is None else bundle.manifest.components
    return {name: known[name].digest for name in COMPONENTS if name in known}


def read_popularity(folder: Path, catalogue: Catalogue) -> Scores | None:
    """float32 [products]: what each sold by the blender's own table; None where it has none."""
    if not (folder / TABLE).is_file():
        return None
    return PopularityRecommender.load(folder, catalogue=catalogue).scores[""]
