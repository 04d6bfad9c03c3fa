"""Dense retrieval against brute force: every kind, ties, filters, exclusions, damage."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import BundleError, IndexMismatchError, MissingDependencyError
from recsys.retrieval import dense, nearest, scan
from recsys.retrieval.dense import DenseIndex
from recsys.retrieval.nearest import Flat, chosen_kind, load_faiss, on_gpu
from recsys.retrieval.order import top_k
from recsys.retrieval.scan import exact_scores, tolerance
from recsys.retrieval.vectors import distinct, spread
from recsys.testing.conformance import require_list
from recsys.types import Candidates, Mask, Positions, Vectors

KINDS = ("flat", "hnsw", "ivf-pq")
PRODUCTS, WIDTH = 2000, 16


def drawn(count: int, width: int, *, seed: int) -> Vectors:
    vectors = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


VECTORS = drawn(PRODUCTS, WIDTH, seed=0)
QUERIES = drawn(24, WIDTH, seed=1)


def brute(
    vectors: Vectors,
    query: Vectors,
    *,
    k: int,
    allowed: Mask | None = None,
    exclude: Positions | None = None,
) -> tuple[Positions, np.ndarray]:
    scores = np.array([np.sum(row.astype(np.float64) * query) for row in vectors]).astype(np.float32)
    return top_k(scores, k=k, allowed=allowed, exclude=exclude)


def recall(found: Sequence[Candidates], truth: Sequence[Positions]) -> float:
    both = zip(found, truth, strict=True)
    return float(np.mean([len(np.intersect1d(one.positions, best)) / len(best) for one, best in both]))


@pytest.fixture(scope="module", params=KINDS)
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DenseIndex:
    return DenseIndex.build(VECTORS, tmp_path_factory.mktemp(request.param), kind=request.param)


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> DenseIndex:
    return DenseIndex.build(VECTORS, tmp_path_factory.mktemp("flat"), kind="flat")


def test_flat_is_brute_force(flat: DenseIndex) -> None:
    assert flat.exact
    for k in (1, 10, 300, PRODUCTS, PRODUCTS + 9):
        for one, query in zip(flat.search(QUERIES, k=k), QUERIES, strict=True):
            positions, scores = brute(VECTORS, query, k=k)
            assert np.array_equal(one.positions, positions)
            assert np.array_equal(one.scores, scores)


def test_many_queries_are_scanned_and_a_few_are_not(flat: DenseIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """A night's users are one product of matrices, a shopper's request is FAISS's; both give the same."""
    singles = [flat.search(QUERIES[row : row + 1], k=9)[0] for row in range(len(QUERIES))]
    with monkeypatch.context() as patch:
        patch.setattr(Flat, "nearest", lambda *_, **__: pytest.fail("many queries were compared one by one"))
        together = flat.search(QUERIES, k=9)
    for one, other in zip(together, singles, strict=True):
        assert one.positions.tolist() == other.positions.tolist()
        assert one.scores.tolist() == other.scores.tolist()
    with monkeypatch.context() as patch:
        patch.setattr(dense, "scan", lambda *_, **__: pytest.fail("a few queries were scanned"))
        assert len(flat.search(QUERIES[:3], k=9)) == 3


def test_every_kind_finds_most_and_scores_them_exactly(index: DenseIndex) -> None:
    found = index.search(QUERIES, k=10)
    truth = [brute(VECTORS, query, k=10)[0] for query in QUERIES]
    assert recall(found, truth) > (0.8 if isinstance(index.nearest, nearest.Cells) else 0.97)
    assert index.exact == isinstance(index.nearest, Flat)
    for one, query in zip(found, QUERIES, strict=True):
        require_list(one, k=10, catalogue=PRODUCTS, what="dense")
        assert len(one.positions) == 10
        assert np.array_equal(one.scores, exact_scores(VECTORS, one.positions, query))


def test_scores_do_not_hang_on_the_batch(index: DenseIndex) -> None:
    together = index.search(QUERIES, k=20)
    for row, one in enumerate(together):
        alone = index.search(QUERIES[row : row + 1], k=20)[0]
        assert np.array_equal(alone.positions, one.positions)
        assert np.array_equal(alone.scores, one.scores)


@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_equal_vectors_stand_in_the_order_of_positions(kind: str, tmp_path: Path) -> None:
    vectors = VECTORS.copy()
    vectors[500:1500] = vectors[77]
    index = DenseIndex.build(vectors, tmp_path, kind=kind)  # type: ignore[arg-type]
    twins = [77, *range(500, 1500)]
    for k in (1, 10, 999, 1000, 1001):
        answer = index.search(vectors[77:78], k=k)[0]
        assert answer.positions.tolist() == twins[:k]
        assert set(answer.scores.tolist()) == {answer.scores[0]}
    allowed = np.zeros(PRODUCTS, dtype=np.bool_)
    allowed[1400:] = True
    answer = index.search(vectors[77:78], k=5, allowed=allowed, exclude=[np.array([1401])])[0]
    assert answer.positions.tolist() == [1400, 1402, 1403, 1404, 1405]


def test_nothing_but_equal_vectors(tmp_path: Path) -> None:
    index = DenseIndex.build(np.ones((1000, 4), dtype=np.float32), tmp_path)
    assert index.search(QUERIES[:2, :4], k=3)[1].positions.tolist() == [0, 1, 2]


def test_equal_scores_of_different_vectors(tmp_path: Path) -> None:
    vectors = np.tile(np.eye(4, dtype=np.float32), (300, 1))
    vectors[:, 3] += np.arange(1200, dtype=np.float32) + 1  # all different, all with the same score for the query
    index = DenseIndex.build(vectors, tmp_path, kind="flat")
    query = np.array([[1.0, 1.0, 1.0, 0.0]], dtype=np.float32)
    answer = index.search(query, k=50)[0]
    expected = [position for position in range(1200) if position % 4 != 3][:50]
    assert answer.positions.tolist() == expected


@pytest.mark.parametrize("share", [0.0005, 0.01, 0.049, 0.051, 0.3, 1.0])
def test_filters(index: DenseIndex, share: float) -> None:
    allowed = np.random.default_rng(3).random(PRODUCTS) < share
    allowed[5] = True
    found = index.search(QUERIES, k=10, allowed=allowed)
    truth = [brute(VECTORS, query, k=10, allowed=allowed)[0] for query in QUERIES]
    for one, best in zip(found, truth, strict=True):
        require_list(one, k=10, catalogue=PRODUCTS, allowed=allowed, what="dense")
        assert len(one.positions) == len(best)  # a slot that the index leaves empty is filled by the scan
        if allowed.mean() < dense.SELECTIVE or index.exact:
            assert np.array_equal(one.positions, best)
    assert recall(found, truth) > (0.7 if isinstance(index.nearest, nearest.Cells) else 0.95)


@given(
    k=st.integers(0, 60),
    share=st.floats(0, 1),
    hidden=st.lists(st.integers(0, 99), max_size=40, unique=True),
    seed=st.integers(0, 50),
    fetch=st.integers(1, 64),
)
def test_flat_against_brute_force(k: int, share: float, hidden: list[int], seed: int, fetch: int) -> None:
    generator = np.random.default_rng(seed)
    vectors = generator.integers(-2, 3, size=(100, 3)).astype(np.float32)  # many ties, many twins
    vectors[~vectors.any(axis=1)] = 1.0
    queries = generator.integers(-2, 3, size=(3, 3)).astype(np.float32)
    allowed = generator.random(100) < share
    first, rows = distinct(vectors)
    faiss = load_faiss()
    flat = Flat(faiss, vectors[first])
    flat.limit = fetch  # below it FAISS answers, above it the scan
    index = DenseIndex(vectors[first], rows, longest=4.0, nearest=flat, filtered=flat)
    exclude = [np.array(hidden, dtype=np.int64)] * 3
    for mask in (None, allowed):
        for one, query in zip(index.search(queries, k=k, allowed=mask, exclude=exclude), queries, strict=True):
            positions, scores = brute(vectors, query, k=k, allowed=mask, exclude=exclude[0])
            assert np.array_equal(one.positions, positions)
            assert np.array_equal(one.scores, scores)


def test_exclusions_are_by_query(index: DenseIndex) -> None:
    plain = index.search(QUERIES[:2], k=6)
    exclude = [plain[0].positions[:3], np.empty(0, dtype=np.int64)]
    answer = index.search(QUERIES[:2], k=3, exclude=exclude)
    assert np.array_equal(answer[0].positions, plain[0].positions[3:])
    assert np.array_equal(answer[1].positions, plain[1].positions[:3])


def test_bounds_of_a_call(index: DenseIndex) -> None:
    assert index.search(np.empty((0, WIDTH), dtype=np.float32), k=3) == []
    for k, allowed in ((0, None), (-1, None), (5, np.zeros(PRODUCTS, dtype=np.bool_))):
        assert len(index.search(QUERIES[:1], k=k, allowed=allowed)[0].positions) == 0
    everything = np.arange(PRODUCTS)
    assert len(index.search(QUERIES[:1], k=5, exclude=[everything])[0].positions) == 0
    assert index.search(QUERIES[:1], k=5, source="two-tower")[0].source == "two-tower"


def test_a_zero_query_ties_everything(flat: DenseIndex) -> None:
    assert flat.search(np.zeros((1, WIDTH)), k=4)[0].positions.tolist() == [0, 1, 2, 3]


def test_opening_again(index: DenseIndex, tmp_path: Path) -> None:
    kind = {"Flat": "flat", "Graph": "hnsw", "Cells": "ivf-pq"}[type(index.filtered).__name__]
    DenseIndex.build(VECTORS, tmp_path, kind=kind)  # type: ignore[arg-type]
    again = DenseIndex.open(tmp_path)
    assert (len(again), again.width, again.exact) == (PRODUCTS, WIDTH, kind == "flat")
    base = again.vectors
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)  # on the disk, not in memory
    assert np.array_equal(again.at(np.array([3, 1])), VECTORS[[3, 1]])
    if kind != "hnsw":  # threads build the graph in any order
        for one, other in zip(index.search(QUERIES, k=9), again.search(QUERIES, k=9), strict=True):
            assert np.array_equal(one.positions, other.positions)


def test_an_empty_catalogue(tmp_path: Path) -> None:
    DenseIndex.build(np.empty((0, 8), dtype=np.float32), tmp_path)
    index = DenseIndex.open(tmp_path)
    assert len(index) == 0
    assert len(index.search(np.ones((1, 8)), k=3)[0].positions) == 0
    assert len(index.search(np.ones((1, 8)), k=3, allowed=np.zeros(0, dtype=np.bool_))[0].positions) == 0


@pytest.mark.parametrize(("value", "word"), [(np.nan, "not finite"), (np.inf, "not finite"), (0.0, "all zero")])
def test_broken_vectors_are_refused_by_position(value: float, word: str, tmp_path: Path) -> None:
    vectors = VECTORS.copy()
    vectors[1234] = value
    with pytest.raises(BundleError, match=f"position 1234 is {word}"):
        DenseIndex.build(vectors, tmp_path)
    assert not (tmp_path / "vectors.npy").exists()


def test_broken_queries_are_refused(flat: DenseIndex) -> None:
    for queries in (np.full((1, WIDTH), np.nan), np.ones((1, WIDTH + 1)), np.ones(WIDTH)):
        with pytest.raises(BundleError, match="query vector"):
            flat.search(queries.astype(np.float32), k=3)


@pytest.mark.parametrize("damage", ["absent", "settings", "format", "rows", "vectors", "index", "other"])
def test_damaged_folders_are_refused(tmp_path: Path, damage: str) -> None:
    if damage != "absent":
        DenseIndex.build(VECTORS[:300], tmp_path, kind="hnsw")
    settings = tmp_path / "dense.json"
    if damage == "settings":
        settings.write_text("[")
    elif damage == "format":
        settings.write_text(json.dumps(json.loads(settings.read_text()) | {"format": 2}))
    elif damage == "rows":
        np.save(tmp_path / "rows.npy", np.arange(5))
    elif damage == "vectors":
        path = tmp_path / "vectors.npy"
        path.write_bytes(path.read_bytes()[:-64])
    elif damage == "index":
        path = tmp_path / "index.faiss"
        path.write_bytes(path.read_bytes()[:500])
    elif damage == "other":
        DenseIndex.build(VECTORS[:100], tmp_path / "other", kind="hnsw")
        (tmp_path / "index.faiss").write_bytes((tmp_path / "other" / "index.faiss").read_bytes())
    with pytest.raises(IndexMismatchError, match="recsys index"):
        DenseIndex.open(tmp_path)


def test_without_faiss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    DenseIndex.build(VECTORS, tmp_path / "there")
    monkeypatch.setitem(sys.modules, "faiss", None)
    for call in (lambda: DenseIndex.open(tmp_path / "there"), lambda: DenseIndex.build(VECTORS, tmp_path / "new")):
        with pytest.raises(MissingDependencyError, match=r"install shoprank\[cpu\] or shoprank\[gpu\]") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_kinds_by_size() -> None:
    assert chosen_kind("auto", rows=200_000) == "flat"
    assert chosen_kind("auto", rows=200_001) == "hnsw"
    assert chosen_kind("ivf-pq", rows=999) == "flat"
    assert chosen_kind("ivf-pq", rows=1000) == "ivf-pq"
    assert chosen_kind("hnsw", rows=3) == "hnsw"


class FakeGpu:
    """FAISS with a GPU, played by the CPU."""

    def __init__(self, gpus: int = 1) -> None:
        self.faiss = load_faiss()
        self.gpus = gpus
        self.moved: list[object] = []

    StandardGpuResources = SimpleNamespace

    def get_num_gpus(self) -> int:
        return self.gpus

    def index_cpu_to_gpu(self, resources: object, device: int, index: object) -> object:
        self.moved.append(index)
        return index

    def GpuIndexFlatIP(self, resources: object, width: int) -> object:
        index = self.faiss.IndexFlatIP(width)
        self.moved.append(index)
        return index


@pytest.mark.parametrize("kind", KINDS)
def test_a_gpu_is_used_where_there_is_one(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = DenseIndex.build(VECTORS, tmp_path, kind=kind, gpu=False)  # type: ignore[arg-type]
    for gpus in (0, 1):
        gpu = FakeGpu(gpus)
        monkeypatch.setattr(nearest, "load_faiss", lambda gpu=gpu: gpu)
        moved = on_gpu(cpu.filtered, cpu.vectors)
        monkeypatch.undo()
        assert (moved is not None) == bool(gpu.moved) == (gpus == 1 and kind != "hnsw")
    if moved is None:
        return
    index = DenseIndex(cpu.vectors, cpu.rows, longest=cpu.longest, nearest=moved, filtered=cpu.filtered)
    assert index.exact == (kind == "flat")
    allowed = np.arange(PRODUCTS) % 3 == 0
    truth = [brute(VECTORS, query, k=10)[0] for query in QUERIES]
    assert recall(index.search(QUERIES, k=10), truth) > (0.8 if kind == "ivf-pq" else 0.999)
    for one in index.search(QUERIES, k=10, allowed=allowed):
        assert allowed[one.positions].all()


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["flat", "ivf-pq"])
def test_on_a_real_gpu(kind: str, tmp_path: Path) -> None:
    index = DenseIndex.build(VECTORS, tmp_path, kind=kind)  # type: ignore[arg-type]
    assert isinstance(index.nearest, nearest.OnGpu)
    truth = [brute(VECTORS, query, k=10)[0] for query in QUERIES]
    assert recall(index.search(QUERIES, k=10), truth) > (0.8 if kind == "ivf-pq" else 0.999)


@given(st.integers(1, 90), st.integers(0, 40), st.integers(0, 9), st.floats(0, 1), st.sampled_from([1, 7, 64]))
def test_the_scan_holds_the_best_rows(rows: int, count: int, seed: int, share: float, chunk: int) -> None:
    generator = np.random.default_rng(seed)
    vectors = generator.integers(-1, 2, size=(rows, 3)).astype(np.float32)
    queries = generator.standard_normal((2, 3)).astype(np.float32)
    mask = generator.random(rows) < share
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "CHUNK", chunk)
        patch.setattr(scan, "BATCH", 1)
        for allowed in (None, mask):
            sure = scan.scan(vectors, queries, counts=[count, count], longest=2.0, rows=allowed)
            for found, query in zip(sure, queries, strict=True):
                best, _ = brute(vectors, query, k=count, allowed=allowed)
                assert np.isin(best, found).all()
                assert (np.diff(found) > 0).all()
                assert allowed is None or allowed[found].all()


@given(st.integers(1, 400), st.integers(0, 20))
def test_float32_products_stay_within_the_tolerance(width: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    vectors = (generator.standard_normal((50, width)) * 10 ** generator.uniform(-3, 3)).astype(np.float32)
    query = generator.standard_normal(width).astype(np.float32)
    longest = float(np.linalg.norm(vectors.astype(np.float64), axis=1).max())
    rough = vectors @ query
    exact = exact_scores(vectors, np.arange(50), query)
    assert np.abs(rough - exact).max() <= tolerance(query, longest=longest)


@given(st.lists(st.integers(0, 5), max_size=20))
def test_spread_lists_ranges(counts: list[int]) -> None:
    starts = np.arange(len(counts), dtype=np.int64) * 10
    expected = [start + step for start, count in zip(starts.tolist(), counts, strict=True) for step in range(count)]
    assert spread(starts, np.array(counts, dtype=np.int64)).tolist() == expected


def test_distinct_numbers_vectors_by_first_position() -> None:
    vectors = np.array([[1, 2], [3, 4], [1, 2], [5, 6], [3, 4]], dtype=np.float32)
    first, rows = distinct(vectors)
    assert first.tolist() == [0, 1, 3]
    assert rows.tolist() == [0, 1, 0, 2, 1]
