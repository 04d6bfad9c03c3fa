"""A small engine with answers that can be worked out by hand, and a real server in front of it."""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import pytest
import uvicorn

from recsys.catalogue import Catalogue
from recsys.engine.current import set_current
from recsys.engine.manifest import MANIFEST, IndexManifest
from recsys.engine.policy import ListShape
from recsys.meaning import Understanding
from recsys.types import Answer, Filters, Histories, Hit, Rung, Scores
from serving.app import create_app
from serving.events import EventDesk
from serving.live import LiveIndex
from serving.moments import Clock, wall_clock
from serving.online import OnlineDesk
from serving.telemetry import Telemetry

WORDS = ("red", "blue", "sofa", "lamp", "mug")


def catalogue(size: int) -> Catalogue:
    """Products p000, p001, ... titled by the words that their number's bits choose, at price 0, 10, 20, ..."""
    titles = [" ".join(word for bit, word in enumerate(WORDS) if number >> bit & 1) for number in range(size)]
    return Catalogue(
        pl.DataFrame(
            {
                "position": pl.Series(range(size), dtype=pl.Int64),
                "product_id": pl.Series([f"p{number:03}" for number in range(size)], dtype=pl.String),
                "title": pl.Series(titles, dtype=pl.String),
                "price": pl.Series([10.0 * number for number in range(size)], dtype=pl.Float64),
                "brand": pl.Series([None] * size, dtype=pl.String),
                "category": pl.Series(["Home > Sofas"] * size, dtype=pl.String),
                "in_stock": pl.Series([True] * size, dtype=pl.Boolean),
            }
        )
    )


@dataclass
class WordEngine:
    """Scores a product by the words it shares with the question; remembers the size of every batch."""

    manifest: IndexManifest
    catalogue: Catalogue
    batches: list[int] = field(default_factory=list)
    before: Callable[[], None] = lambda: None
    shapes: list[dict[str, object]] = field(default_factory=list)

    @property
    def model_version(self) -> str:
        return self.manifest.model_version

    def answers(self, texts: Sequence[str], rung: Rung, *, k: int | None, filters: Filters | None) -> list[Answer]:
        self.batches.append(len(texts))
        self.before()
        allowed = self.catalogue.mask(filters or Filters())
        return [self.answer(text, rung, k=k, allowed=allowed) for text in texts]

    def answer(self, text: str, rung: Rung, *, k: int | None, allowed: object) -> Answer:
        if text == "poison":
            raise ArithmeticError("this query can't be answered")
        scores = np.array([shared(text, title) for title in self.catalogue.frame["title"]], dtype=np.float32)
        if allowed is not None:
            scores = np.where(np.asarray(allowed), scores, 0)
        best = [row for row in np.lexsort((np.arange(len(scores)), -scores)) if scores[row] > 0][:k]
        hits = tuple(
            Hit(
                product_id=self.catalogue.frame["product_id"][int(row)],
                score=float(scores[row]),
                rank=rank,
                source="words",
            )
            for rank, row in enumerate(best, start=1)
        )
        return Answer(hits=hits, rung=rung if hits else Rung.NONE, model_version=self.model_version)

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int = 10,
        filters: Filters | None = None,
        explain: bool | str = False,
        explain_hits: int = 3,
        stages: str | None = None,
        correct: bool = True,
        min_probability: float | None = None,
        good_only: bool | None = None,
    ) -> list[Answer]:
        answers = self.answers(queries, Rung.QUERY, k=k, filters=filters)
        read = [Understanding(query, query.replace("soffa", "sofa") if correct else query) for query in queries]
        return [
            replace(answer, corrected_query=one.corrected, understanding=one if explain else None)
            for answer, one in zip(answers, read, strict=True)
        ]

    def rank(
        self, queries: Sequence[str], candidates: Sequence[Sequence[str]], *, k: int | None = None
    ) -> list[Answer]:
        return [
            self.answers([query], Rung.QUERY, k=k, filters=Filters(only=tuple(ids) or ("-",)))[0]
            for query, ids in zip(queries, candidates, strict=True)
        ]

    def score_texts(self, query: str, texts: Sequence[str]) -> Scores:
        return np.array([shared(query, text) for text in texts], dtype=np.float32)

    def recommend(
        self,
        user_ids: Sequence[str],
        *,
        sessions: Histories | None = None,
        at: Sequence[int | None] | None = None,
        k: int = 20,
        filters: Filters | None = None,
        repeats: bool | None = None,
        shape: ListShape | None = None,
    ) -> list[Answer]:
        self.shapes.append({} if shape is None else shape.model_dump(exclude_unset=True))
        taste = {"u-sofa": "sofa", "u-mug": "mug red"}
        if sessions is not None:
            return self.recommend_histories(sessions, k=k, filters=filters, repeats=repeats, shape=shape)
        return self.answers([taste.get(user, "lamp") for user in user_ids], Rung.PERSONAL, k=k, filters=filters)

    def recommend_histories(
        self,
        histories: Histories,
        *,
        at: Sequence[int | None] | None = None,
        k: int = 20,
        filters: Filters | None = None,
        repeats: bool | None = None,
        shape: ListShape | None = None,
        rung: Rung = Rung.SESSION,
    ) -> list[Answer]:
        self.shapes.append({} if shape is None else shape.model_dump(exclude_unset=True))
        encoded = self.catalogue.encode(histories)
        texts = [
            " ".join(self.catalogue.frame["title"][int(row)] for row in encoded.of(user)) or "lamp"
            for user in range(len(encoded))
        ]
        return self.answers(texts, rung, k=k, filters=filters)

    def similar(self, product_ids: Sequence[str], *, k: int = 10, filters: Filters | None = None) -> list[Answer]:
        titles = dict(self.catalogue.frame.select("product_id", "title").iter_rows())
        return self.answers([titles.get(one, "") for one in product_ids], Rung.SIMILAR, k=k, filters=filters)


def shared(left: str, right: str) -> int:
    return len(set(left.split()) & set(right.split()))


@dataclass
class Shelf:
    """A folder of fake indexes, one of them live."""

    indexes: Path
    size: int = 32
    opened: list[WordEngine] = field(default_factory=list)

    def publish(self, name: str, *, size: int | None = None, digest: str | None = None) -> Path:
        folder = self.indexes / name
        folder.mkdir(parents=True)
        products = self.size if size is None else size
        manifest = IndexManifest(shop="sample", catalogue_digest=digest or name, products=products)
        (folder / MANIFEST).write_text(manifest.model_dump_json())
        set_current(self.indexes, folder)
        return folder

    def open(self, folder: Path) -> WordEngine:
        manifest = IndexManifest.model_validate_json((folder / MANIFEST).read_text())
        if manifest.catalogue_digest == "broken":
            raise ValueError("unreadable segment")
        self.opened.append(WordEngine(manifest=manifest, catalogue=catalogue(manifest.products)))
        return self.opened[-1]

    def live(self) -> LiveIndex:
        live = LiveIndex(self.indexes, open_engine=self.open)
        live.refresh()
        return live


@contextmanager
def serving_at(
    live: LiveIndex,
    *,
    interval: float = 0.01,
    desk: Callable[[Telemetry], EventDesk] | None = None,
    online: OnlineDesk | None = None,
    clock: Clock = wall_clock,
) -> Iterator[httpx.Client]:
    """A server on a free loopback port in a thread; the socket listens before the thread starts, so no call is lost."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        telemetry = Telemetry()
        taken = desk and desk(telemetry)
        app = create_app(live, telemetry, interval=interval, events=taken, online=online, clock=clock)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="on"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(timeout=30)
            assert not thread.is_alive()


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "indexes")


@pytest.fixture
def serve() -> Callable[..., object]:
    return serving_at


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    shelf = Shelf(tmp_path_factory.mktemp("shelf") / "indexes")
    shelf.publish("first")
    with serving_at(shelf.live()) as client:
        yield client
