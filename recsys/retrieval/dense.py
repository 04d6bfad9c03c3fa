"""Dense retrieval: the products whose vectors have the highest dot product with the query's.

Whatever finds the candidates (every row, an HNSW graph, IVF-PQ cells, a GPU), their scores are computed again from the
stored vectors, the same way for each, and ties go to the lower position. Equal vectors are stored once: a graph of a
thousand twins would lead nowhere, and a tie among them could not be seen whole.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np

from recsys.errors import IndexMismatchError
from recsys.retrieval.nearest import Kind, Nearest, chosen_kind, on_gpu, open_nearest, write_index
from recsys.retrieval.order import in_order
from recsys.retrieval.scan import Rows, exact_scores, scan, tolerance
from recsys.retrieval.vectors import check, distinct, spread
from recsys.types import Candidates, Mask, Positions, Scores, Vectors

FORMAT = 1
SETTINGS, VECTORS, ROWS = "dense.json", "vectors.npy", "rows.npy"
SELECTIVE = 0.05  # share of allowed rows below which they are scanned exactly
SLACK = 48
NONE = np.empty(0, dtype=np.int64)


Best = tuple[Positions, Scores]


class Task(NamedTuple):
    """What one call asks: queries float32 [batch, width], how many, what may come back, and what may not by query."""

    queries: Vectors
    k: int
    allowed: Mask | None
    hidden: list[Positions]


class DenseIndex:
    """Vectors of a catalogue and a way to search them.

    Args:
        vectors: float32 [rows, width], distinct.
        rows: int64 [catalogue], the row of each position's vector.
        longest: the greatest Euclidean length of a vector.
        nearest: finds candidates without a filter.
        filtered: finds candidates with a filter.

    Attributes:
        exact: True where unfiltered answers are the true best ones. Answers under a selective filter always are.
    """

    def __init__(self, vectors: Vectors, rows: Rows, *, longest: float, nearest: Nearest, filtered: Nearest) -> None:
        self.vectors = vectors
        self.rows = rows
        self.nearest = nearest
        self.filtered = filtered
        self.exact = nearest.exact
        self.members = np.argsort(rows, kind="stable")  # positions by row, rising within a row
        self.starts = np.searchsorted(rows[self.members], np.arange(len(vectors) + 1))
        self.longest = longest

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def width(self) -> int:
        """Size of a vector."""
        return int(self.vectors.shape[1])

    @classmethod
    def build(
        cls, vectors: Vectors, folder: Path, *, kind: Kind | Literal["auto"] = "auto", seed: int = 0, gpu: bool = True
    ) -> Self:
        """Write the index of a catalogue's vectors and open it.

        Args:
            vectors: float32 [catalogue, width], finite and not zero; row i belongs to position i.
            folder: an empty or absent folder.
            kind: "flat" compares with all, "hnsw" walks a graph, "ivf-pq" compresses; "auto" is flat up to 200,000
                different vectors and the graph beyond.
            seed: of what ivf-pq learns.
            gpu: use a GPU where FAISS has one.

        Raises:
            BundleError: a vector is NaN, infinite or zero; the message names the first such position.
            MissingDependencyError: FAISS is not installed.
        """
        checked = check(vectors, what="product vector at position")
        first, rows = distinct(checked)
        stored = np.ascontiguousarray(checked if len(first) == len(rows) else checked[first])
        chosen = chosen_kind(kind, rows=len(stored))
        folder.mkdir(parents=True, exist_ok=True)
        write_index(stored, folder, kind=chosen, seed=seed)
        np.save(folder / VECTORS, stored, allow_pickle=False)
        np.save(folder / ROWS, rows, allow_pickle=False)
        longest = float(np.sqrt(max((float((row * row).sum()) for row in stored), default=0.0)))
        settings = {"format": FORMAT, "kind": chosen, "products": len(rows), "rows": len(stored), "longest": longest}
        (folder / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        return cls.open(folder, gpu=gpu)

    @classmethod
    def open(cls, folder: Path, *, gpu: bool = True) -> Self:
        """The index of a folder; vectors stay on the disk and are mapped into memory.

        Args:
            folder: what `build` wrote.
            gpu: use a GPU where FAISS has one.

        Raises:
            IndexMismatchError: the folder holds no dense index, or one of another format or size.
            MissingDependencyError: FAISS is not installed.
        """
        try:
            settings: dict[str, Any] = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
            vectors = np.load(folder / VECTORS, mmap_mode="r", allow_pickle=False)
            rows = np.load(folder / ROWS, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise broken(folder, str(error)) from error
        if settings.get("format") != FORMAT or [len(rows), len(vectors)] != [settings["products"], settings["rows"]]:
            raise broken(folder, f"format {settings.get('format')}, {len(rows)} products")
        vectors = vectors.view(np.ndarray)
        filtered = open_nearest(settings["kind"], vectors, folder)
        nearest = on_gpu(filtered, vectors) if gpu else None
        return cls(vectors, rows, longest=settings["longest"], nearest=nearest or filtered, filtered=filtered)

    def at(self, positions: Positions) -> Vectors:
        """float32 [positions, width], the vectors of these positions."""
        return np.asarray(self.vectors[self.rows[positions]])

    def search(
        self,
        vectors: Vectors,
        *,
        k: int,
        allowed: Mask | None = None,
        exclude: Sequence[Positions] | None = None,
        source: str = "dense",
    ) -> list[Candidates]:
        """The k products with the highest dot products, for each query vector.

        Args:
            vectors: float32 [batch, width], finite.
            k: at most so many each; fewer only where no more are allowed.
            allowed: bool [catalogue]; where given, only True positions may come back.
            exclude: for each query the positions that must not come back.
            source: written into the candidates.

        Raises:
            BundleError: a query vector is NaN, infinite or of another width.
        """
        queries = check(vectors, what="query vector", width=self.width, zero=True)
        task = Task(queries, k, allowed, [NONE] * len(queries) if exclude is None else list(exclude))
        answers = [(NONE, np.empty(0, dtype=np.float32))] * len(queries)
        rows = None if allowed is None else self.allowed_rows(allowed)
        if k > 0 and len(self) and (rows is None or rows.any()):
            waiting = self.find(task, answers, rows=rows)
            self.scan(task, answers, waiting=waiting, rows=rows)
        return [Candidates(positions, scores, source=source) for positions, scores in answers]

    def find(self, task: Task, answers: list[Best], *, rows: Mask | None) -> list[int]:
        """Answer what the index can; give the queries that are left for the scan."""
        finder = self.nearest if rows is None else self.filtered
        waiting = list(range(len(task.queries)))
        selective = rows is not None and (not finder.filters or rows.mean() < SELECTIVE)
        if selective or len(waiting) > finder.queries:
            return waiting
        fetch = task.k + SLACK
        while waiting and fetch <= finder.limit:
            scores, found = finder.nearest(task.queries[waiting], k=fetch, rows=rows)
            left = []
            for query, low, candidates in zip(waiting, scores.min(axis=1), found, strict=True):
                answers[query] = self.best(task, query, candidates)
                sure = not finder.exact or fetch >= len(self.vectors) or self.clear(task, query, answers[query], low)
                if not sure or len(answers[query][0]) < min(task.k, len(self) - len(task.hidden[query])):
                    left.append(query)
            waiting = left
            fetch *= 4
        return waiting

    def scan(self, task: Task, answers: list[Best], *, waiting: list[int], rows: Mask | None) -> None:
        """Answer the waiting queries exactly."""
        if not waiting:
            return
        counts = [task.k + len(task.hidden[query]) for query in waiting]
        found = scan(self.vectors, task.queries[waiting], counts=counts, longest=self.longest, rows=rows)
        for query, candidates in zip(waiting, found, strict=True):
            answers[query] = self.best(task, query, candidates)

    def best(self, task: Task, query: int, rows: Rows) -> Best:
        """The k best positions among these rows, by their exact scores; row -1 is an empty slot."""
        rows = rows[rows >= 0]
        counts = self.starts[rows + 1] - self.starts[rows]
        positions = self.members[spread(self.starts[rows], counts)]
        scores = np.repeat(exact_scores(self.vectors, rows, task.queries[query]), counts)
        passing = np.isin(positions, task.hidden[query], invert=True)
        if task.allowed is not None:
            passing &= task.allowed[positions]
        return in_order(positions[passing], scores[passing], k=task.k)

    def clear(self, task: Task, query: int, best: Best, low: float) -> bool:
        """True where no row that was not fetched can tie with the last one of the answer."""
        scores = best[1]
        margin = tolerance(task.queries[query], longest=self.longest)
        return len(scores) == task.k and float(scores[-1]) > float(low) + margin

    def allowed_rows(self, allowed: Mask) -> Mask:
        """bool [rows], True where a position of the row is allowed."""
        rows = np.zeros(len(self.vectors), dtype=np.bool_)
        rows[self.rows[allowed]] = True
        return rows


def broken(folder: Path, reason: str) -> IndexMismatchError:
    """The error for a folder that can't be opened."""
    return IndexMismatchError(
        f"{folder} is no readable dense index ({' '.join(reason.split())[:200]})",
        expected=f"a dense index of format {FORMAT}",
        action="build it again with `recsys index`",
    )
