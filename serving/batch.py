"""One night's recommendations for every known user, as Parquet that appears whole or not at all.

The users are answered in chunks of a fixed size, so that memory is bounded and a row never depends on where an earlier
run was killed. A killed run leaves its finished parts beside the night; the next run with the same inputs goes on
after them.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl

from recsys.errors import IndexMismatchError, StorageError
from recsys.logs import progress
from recsys.storage import atomic_file, locked, swap, sync_folder, sync_tree, write_text
from recsys.types import EVENT_CODES, Answer, Histories, HistorySource, Rung
from serving.live import Answering
from serving.night import (
    FORMAT_VERSION,
    LATEST,
    MANIFEST,
    SCHEMA,
    NightManifest,
    Part,
    latest_night,
    read_night,
    refuse_empty,
    verify_night,
)

CHUNK = 1024
PLAN = "plan.json"
UNFINISHED = ".unfinished-"
LOYAL = 2
"""Purchases from which on a customer counts as known well enough for a personal answer."""


@dataclass(frozen=True, slots=True)
class Order:
    """What one night is to hold.

    Attributes:
        out: the folder of all nights.
        night: the date the rows carry.
        k: rows for each user.
        users: distinct ids, ascending.
        state: identity of the histories that are read, so that a changed store is never mixed with an older part.
        repeats: whether bought products may come back; None follows the bundle's policy.
        chunk: users answered at once.
    """

    out: Path
    night: date
    k: int
    users: pl.Series
    state: str
    repeats: bool | None = None
    chunk: int = CHUNK

    @property
    def folder(self) -> Path:
        """Where the night comes to stand."""
        return self.out / self.night.isoformat()

    def inputs(self, engine: Answering) -> str:
        """sha256 of all that the rows depend on."""
        people = sha256("\n".join(self.users.to_list()).encode()).hexdigest()
        facts = [
            FORMAT_VERSION,
            engine.manifest.digest,
            engine.model_version,
            self.night.isoformat(),
            self.k,
            self.repeats,
            self.chunk,
            self.state,
            people,
        ]
        return sha256(json.dumps(facts).encode()).hexdigest()


def run_batch(engine: Answering, histories: HistorySource, order: Order, *, locks: Path) -> NightManifest:
    """Write a night, or give the one that stands there where its inputs are the same.

    Args:
        engine: answers.
        histories: what the users did.
        order: what the night is to hold.
        locks: the folder of lock files; two runs into one folder never overlap.

    Raises:
        StorageError: another run writes into the same folder.
        IndexMismatchError: the index has no recommendation for anyone; the last good night stays.
        OSError: the disk is full or closed; the last good night stays.
    """
    name = sha256(str(order.out.resolve()).encode()).hexdigest()[:16]
    with locked(locks / f"batch-{name}.lock", seconds=0):
        inputs = order.inputs(engine)
        if (done := standing(order.folder, inputs)) is not None:
            return done
        work = prepare(order, inputs)
        parts = [
            write_part(engine, histories, users, order=order, path=work / part_name(number))
            for number, users in progress(enumerate(chunks(order)), label="recommendations", total=count(order))
        ]
        manifest = NightManifest(
            night=order.night,
            shop=engine.manifest.shop,
            model_version=engine.model_version,
            index=engine.manifest.digest,
            inputs=inputs,
            k=order.k,
            users=len(order.users),
            parts=parts,
        )
        try:
            refuse_empty(manifest)
        except IndexMismatchError:
            shutil.rmtree(work)
            raise
        (work / PLAN).unlink()
        publish(work, manifest, order=order)
        return manifest


def standing(folder: Path, inputs: str) -> NightManifest | None:
    """The night that stands there, where it was made of the same inputs and is whole."""
    try:
        return verify_night(folder) if read_night(folder).inputs == inputs else None
    except (StorageError, IndexMismatchError, OSError):
        return None


def prepare(order: Order, inputs: str) -> Path:
    """The folder that the night grows in; parts of a killed run with the same inputs are kept, all else goes."""
    work = order.out / f"{UNFINISHED}{order.night.isoformat()}"
    for other in order.out.glob(f"{UNFINISHED}*"):
        if other != work:
            shutil.rmtree(other, ignore_errors=True)
    plan = work / PLAN
    if not plan.is_file() or json.loads(plan.read_text(encoding="utf-8"))["inputs"] != inputs:
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    known = {PLAN, *map(part_name, range(count(order)))}
    for file in sorted(path for path in work.iterdir() if path.name not in known):
        file.unlink()
    write_text(plan, json.dumps({"inputs": inputs}))
    return work


def part_name(number: int) -> str:
    """The file of a chunk."""
    return f"part-{number:05}.parquet"


def count(order: Order) -> int:
    """Number of chunks."""
    return -(-len(order.users) // order.chunk)


def chunks(order: Order) -> Iterator[list[str]]:
    """The users, a chunk at a time."""
    for start in range(0, len(order.users), order.chunk):
        yield order.users[start : start + order.chunk].to_list()


def write_part(engine: Answering, histories: HistorySource, users: Sequence[str], *, order: Order, path: Path) -> Part:
    """Answer one chunk and write it, unless a killed run has done so; give its figures."""
    read = histories.read(users)
    if not path.is_file():
        answers = engine.recommend_histories(read, k=order.k, repeats=order.repeats, rung=Rung.PERSONAL)
        content = BytesIO()
        rows(users, answers, night=order.night).write_parquet(content, compression="zstd")
        with atomic_file(path) as partial:
            partial.write_bytes(content.getvalue())
    return describe(path, loyal=loyal(users, read))


def rows(users: Sequence[str], answers: Sequence[Answer], *, night: date) -> pl.DataFrame:
    """The answers as rows, in the order of the users and of the ranks."""
    hits = [(user, answer, hit) for user, answer in zip(users, answers, strict=True) for hit in answer.hits]
    return pl.DataFrame(
        {
            "user_id": [user for user, _, _ in hits],
            "rank": [hit.rank for _, _, hit in hits],
            "product_id": [hit.product_id for _, _, hit in hits],
            "score": [hit.score for _, _, hit in hits],
            "source": [hit.source for _, _, hit in hits],
            "rung": [(hit.rung or answer.rung).value for _, answer, hit in hits],
            "model_version": [answer.model_version for _, answer, _ in hits],
            "night": [night] * len(hits),
        },
        schema=SCHEMA,
    )


def loyal(users: Sequence[str], histories: Histories) -> list[str]:
    """The users with two purchases or more."""
    bought = np.concatenate([[0], np.cumsum(histories.event_types == EVENT_CODES["purchase"])])
    purchases = np.diff(bought[histories.offsets])
    return [user for user, number in zip(users, purchases, strict=True) if number >= LOYAL]


def describe(path: Path, *, loyal: Sequence[str]) -> Part:
    """A part's figures, read back from the file."""
    content = path.read_bytes()
    frame = pl.read_parquet(BytesIO(content))
    first = frame.filter(pl.col("rank") == 1)
    personal = first.filter(pl.col("rung") == Rung.PERSONAL.value)["user_id"]
    return Part(
        path=path.name,
        sha256=sha256(content).hexdigest(),
        rows=frame.height,
        users=frame["user_id"].n_unique(),
        rungs=dict(sorted(Counter(frame["rung"]).items())),
        sources=dict(sorted(Counter(frame["source"]).items())),
        loyal=len(loyal),
        loyal_personal=int(personal.is_in(loyal).sum()),
    )


def publish(work: Path, manifest: NightManifest, *, order: Order) -> None:
    """Put the finished night in its place, then let `latest.json` name it unless that names a later one."""
    write_text(work / MANIFEST, manifest.model_dump_json(indent=1))
    sync_tree(work)
    swap(work, order.folder)
    sync_folder(order.out)
    latest = latest_night(order.out)
    if latest == order.out or not latest.is_dir() or latest.name < order.folder.name:
        write_text(order.out / LATEST, json.dumps({"night": order.night.isoformat(), "path": order.folder.name}))
