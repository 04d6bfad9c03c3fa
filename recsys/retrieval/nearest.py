"""The door to FAISS: the kinds of index behind one protocol, made, read and moved to a GPU."""

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from recsys.errors import IndexMismatchError, MissingDependencyError
from recsys.retrieval.scan import Rows
from recsys.types import Mask, Scores, Vectors

Kind = Literal["flat", "hnsw", "ivf-pq"]
FILE = "index.faiss"
FLAT_UP_TO = 200_000  # rows a flat index scans in milliseconds; beyond, "auto" takes the graph
CELLS_FROM = 1_000  # rows below which ivf-pq has nothing to learn from and a flat index is made
LINKS, BUILD_EFFORT, SEARCH_EFFORT = 32, 100, 128  # of HNSW: links per row, beam while building, least beam searching
PROBES = 0.03  # share of the cells that ivf-pq looks into, at least LEAST_PROBES
LEAST_PROBES = 32
ROUGH = 4  # how many times as many rows ivf-pq fetches, to be scored exactly
GPU_LIMIT = 2048  # neighbours that FAISS gives on a GPU
FEW = 7  # queries up to which comparing them with all rows one by one is as fast as one product of matrices
SHARE = 4  # numbers of a vector that a byte of ivf-pq stands for
CODES = (1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96)  # bytes of a code that FAISS knows on a GPU


class Nearest(Protocol):
    """Finds rows with a high dot product.

    Attributes:
        exact: True where nothing better can be overlooked.
        filters: True where it can be told which rows may come back.
        limit: the most rows it gives.
        queries: at how many queries at once it is still worth asking; more are scanned exactly in less time.
    """

    exact: bool
    filters: bool
    limit: int
    queries: int

    def nearest(self, queries: Vectors, *, k: int, rows: Mask | None) -> tuple[Scores, Rows]:
        """The k nearest rows and their scores, float32 and int64 [batch, k]; empty slots hold row -1.

        Args:
            queries: float32 [batch, width].
            k: at most `limit`.
            rows: bool [all]; only True rows may come back; None where `filters` is False.
        """
        ...


class Flat:
    """Compares with every row; no structure of its own, it reads the vectors where they lie."""

    exact = True
    filters = False  # the scan is as exact and faster for it
    limit = GPU_LIMIT
    queries = FEW

    def __init__(self, faiss: Any, vectors: Vectors) -> None:
        self.faiss = faiss
        self.vectors = vectors

    def nearest(self, queries: Vectors, *, k: int, rows: Mask | None) -> tuple[Scores, Rows]:
        """See `Nearest`."""
        metric = self.faiss.METRIC_INNER_PRODUCT
        scores, found = self.faiss.knn(queries, self.vectors, min(k, len(self.vectors)), metric=metric)
        return scores, found


class Graph:
    """HNSW: walks a graph of near neighbours. Source: Malkov and Yashunin, arXiv 1603.09320."""

    exact = False
    filters = True
    limit = GPU_LIMIT
    queries = sys.maxsize

    def __init__(self, faiss: Any, index: Any) -> None:
        self.faiss = faiss
        self.index = index

    def nearest(self, queries: Vectors, *, k: int, rows: Mask | None) -> tuple[Scores, Rows]:
        """See `Nearest`."""
        effort = min(math.ceil(max(SEARCH_EFFORT, 2 * k) / share_of(rows)), self.index.ntotal)
        options = {"efSearch": effort, **selector(self.faiss, rows)}
        scores, found = self.index.search(queries, k, params=self.faiss.SearchParametersHNSW(**options))
        return scores, found


class Cells:
    """IVF-PQ: looks into the nearest cells, over compressed vectors. Source: Jégou and others, TPAMI 2011."""

    exact = False
    filters = True
    limit = GPU_LIMIT
    queries = sys.maxsize

    def __init__(self, faiss: Any, index: Any) -> None:
        self.faiss = faiss
        self.index = index
        self.probes = min(max(LEAST_PROBES, math.ceil(PROBES * index.nlist)), index.nlist)

    def nearest(self, queries: Vectors, *, k: int, rows: Mask | None) -> tuple[Scores, Rows]:
        """See `Nearest`; more are fetched, since compressed scores are rough."""
        probes = min(math.ceil(self.probes / share_of(rows)), self.index.nlist)
        options = {"nprobe": probes, **selector(self.faiss, rows)}
        wide = min(ROUGH * k, self.limit)
        asked = widened(queries, width=self.index.d)
        scores, found = self.index.search(asked, wide, params=self.faiss.SearchParametersIVF(**options))
        return scores, found


class OnGpu:
    """A flat or ivf-pq index copied to a GPU; filtered searches stay with the index it was copied from."""

    filters = False
    limit = GPU_LIMIT
    queries = sys.maxsize

    def __init__(self, index: Any, *, exact: bool, resources: Any) -> None:
        self.index = index
        self.exact = exact
        self.resources = resources  # the GPU's memory lives as long as this does

    def nearest(self, queries: Vectors, *, k: int, rows: Mask | None) -> tuple[Scores, Rows]:
        """See `Nearest`."""
        asked = widened(queries, width=self.index.d)
        scores, found = self.index.search(asked, k if self.exact else min(ROUGH * k, self.limit))
        return scores, found


def load_faiss() -> Any:
    """The FAISS module.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise MissingDependencyError(
            "FAISS is not installed", expected="one of its two builds", action="install shoprank[cpu] or shoprank[gpu]"
        ) from error
    return faiss


def chosen_kind(kind: Kind | Literal["auto"], *, rows: int) -> Kind:
    """The kind that is built: "auto" by size; nothing is learned from a handful of rows."""
    if kind == "auto":
        return "flat" if rows <= FLAT_UP_TO else "hnsw"
    return "flat" if kind == "ivf-pq" and rows < CELLS_FROM else kind


def write_index(vectors: Vectors, folder: Path, *, kind: Kind, seed: int) -> None:
    """Learn and write index.faiss; a flat index needs none."""
    faiss = load_faiss()
    if kind == "flat":
        return
    index = new_graph(faiss, vectors) if kind == "hnsw" else new_cells(faiss, vectors, seed=seed)
    index.add(widened(vectors, width=index.d))
    faiss.write_index(index, str(folder / FILE))


def new_graph(faiss: Any, vectors: Vectors) -> Any:
    """An empty HNSW index."""
    # Vectors of unequal lengths go in as they are: made equally long by one more number, or linked by cosine and then
    # walked by inner product, they were found less often wherever it was measured.
    index = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BUILD_EFFORT
    return index


def new_cells(faiss: Any, vectors: Vectors, *, seed: int) -> Any:
    """A trained, empty IVF-PQ index; cells and code length by size."""
    rows, width = vectors.shape
    cells = max(int(4 * math.sqrt(rows)) if rows < 1_000_000 else int(8 * math.sqrt(rows)), 1)
    cells = min(cells, rows // 39)  # FAISS wants 39 rows for each centre that it learns
    bits = min(8, int(math.log2(rows / 39)))
    parts = code_length(width)
    whole = parts * math.ceil(width / parts)
    index = faiss.IndexIVFPQ(faiss.IndexFlatIP(whole), whole, cells, parts, bits, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = index.pq.cp.seed = seed
    sample = np.random.default_rng(seed).choice(rows, size=min(rows, 100 * cells), replace=False)
    index.train(widened(vectors[np.sort(sample)], width=whole))
    return index


def code_length(width: int) -> int:
    """Bytes that ivf-pq keeps of a vector of this width."""
    wanted = math.ceil(width / SHARE)
    return next((parts for parts in CODES if parts >= wanted), wanted)


def widened(vectors: Vectors, *, width: int) -> Vectors:
    """The vectors with zeros behind them up to this width: they change no inner product, and any width divides."""
    missing = width - vectors.shape[1]
    return np.ascontiguousarray(np.pad(vectors, ((0, 0), (0, missing))) if missing else vectors)


def open_nearest(kind: Kind, vectors: Vectors, folder: Path) -> Nearest:
    """The index of a folder, mapped into memory where it isn't the vectors themselves.

    Raises:
        IndexMismatchError: the file is absent, damaged or of another size.
        MissingDependencyError: FAISS is not installed.
    """
    faiss = load_faiss()
    if kind == "flat":
        return Flat(faiss, vectors)
    try:
        index = faiss.read_index(str(folder / FILE), faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_READ_ONLY)
    except RuntimeError as error:
        raise IndexMismatchError(
            f"{folder / FILE} can't be read", expected="a FAISS index", action="build it again with `recsys index`"
        ) from error
    if index.ntotal != len(vectors):
        raise IndexMismatchError(
            f"{folder / FILE} holds {index.ntotal} rows",
            expected=f"{len(vectors)}, as vectors.npy",
            action="build it again with `recsys index`",
        )
    return Graph(faiss, index) if kind == "hnsw" else Cells(faiss, index)


def on_gpu(nearest: Nearest, vectors: Vectors) -> Nearest | None:
    """A copy on the first GPU; None where FAISS or the machine has none, or the kind can't go there."""
    faiss = load_faiss()
    if not hasattr(faiss, "StandardGpuResources") or faiss.get_num_gpus() == 0 or isinstance(nearest, Graph):
        return None
    resources = faiss.StandardGpuResources()
    if isinstance(nearest, Cells):
        moved = faiss.index_cpu_to_gpu(resources, 0, nearest.index)
        moved.nprobe = nearest.probes
        return OnGpu(moved, exact=False, resources=resources)
    index = faiss.GpuIndexFlatIP(resources, vectors.shape[1])
    index.add(vectors)
    return OnGpu(index, exact=True, resources=resources)


def share_of(rows: Mask | None) -> float:
    """The share of rows that may come back; the smaller it is, the further a search must go to find as many."""
    return 1.0 if rows is None else max(float(rows.mean()), 1e-3)


def selector(faiss: Any, rows: Mask | None) -> Mapping[str, Any]:
    """The search option that lets only some rows come back."""
    if rows is None:
        return {}
    bits = np.packbits(rows, bitorder="little")
    chosen = faiss.IDSelectorBitmap(len(rows), faiss.swig_ptr(bits))
    chosen.bits = bits  # FAISS keeps a bare pointer; the bits must live as long as the selector
    return {"sel": chosen}
