"""Two systems' lists side by side, for the queries or users on which they differ most."""

import re
from dataclasses import dataclass

import numpy as np

from recsys.text.words import words
from recsys.types import Positions
from training.evaluate.compare import headline
from training.evaluate.measured import Floats, Measured

SHOWN, TOP, NAMED = 5, 10, 4
PIECE = re.compile(r"[^\W_]+|[\W_]+")


@dataclass(frozen=True, slots=True)
class Shown:
    """One product of a list on the page.

    Attributes:
        title: in pieces, each with whether it is a word of the query.
        product_id: its id.
        grade: None where it was not judged.
        state: "relevant", "partly", "irrelevant" or "unjudged".
        move: places that it stands higher than in the other list; None where the other list does not show it.
    """

    title: tuple[tuple[str, bool], ...]
    product_id: str
    grade: float | None
    state: str
    move: int | None


@dataclass(frozen=True, slots=True)
class Side:
    """One system's list.

    Attributes:
        system: its name.
        value: the table's first metric.
        hits: the first products.
        relevant: how many of them are relevant.
    """

    system: str
    value: float
    hits: tuple[Shown, ...]
    relevant: int


@dataclass(frozen=True, slots=True)
class Pair:
    """One query or user, by both systems.

    Attributes:
        name: the query as it was typed, or which user of the table it is; ids of users stay out of the page.
        wanted: titles of a user's relevant products; () for queries.
        groups: the slices it belongs to.
        gain: of the first system over the second.
        relevant: how many products are relevant.
        sides: the system under evaluation, and the baseline.
    """

    name: str
    wanted: tuple[str, ...]
    groups: tuple[str, ...]
    gain: float
    relevant: int
    sides: tuple[Side, Side]


def pairs_of(measured: Measured, *, baseline: str) -> dict[str, list[Pair]]:
    """The queries or users that gained most, lost most, and on which the system is poorest, by headline."""
    metric = headline(measured.systems[measured.subject])
    own, other = measured.systems[measured.subject][metric], measured.systems[baseline][metric]
    gaps = own - other
    counted = np.flatnonzero(~np.isnan(gaps))
    gained = counted[np.argsort(-gaps[counted], kind="stable")]
    lost = counted[np.argsort(gaps[counted], kind="stable")]
    poor = counted[np.argsort(own[counted], kind="stable")]
    chosen = {
        "Gained most": [row for row in gained[:SHOWN] if gaps[row] > 0],
        "Lost most": [row for row in lost[:SHOWN] if gaps[row] < 0],
    }
    before = {row for rows in chosen.values() for row in rows}
    chosen["Poorest otherwise"] = [row for row in poor[: 3 * SHOWN] if row not in before and own[row] < 1.0][:SHOWN]
    return {
        name: [pair_of(measured, int(row), baseline=baseline, metric=metric) for row in rows]
        for name, rows in chosen.items()
        if rows
    }


def pair_of(measured: Measured, row: int, *, baseline: str, metric: str) -> Pair:
    """One row of the table, by the subject and the baseline."""
    asked = measured.asked
    positions, grades = asked.judged[row]
    names = (measured.subject, baseline)
    lists = [measured.runs[name][row][0][:TOP] for name in names]
    values = [float(measured.systems[name][metric][row]) for name in names]
    first, second = (
        side_of(measured, row, system=name, value=value, places=places, others=others)
        for name, value, places, others in zip(names, values, lists, reversed(lists), strict=True)
    )
    best = positions[grades >= asked.relevant]
    titles = asked.catalogue.column("title")
    return Pair(
        name=asked.texts[row] or f"{asked.unit} {row + 1} of {len(measured.keys)}",
        wanted=tuple(titles.gather(best[:NAMED]).to_list()) if asked.unit == "user" else (),
        groups=tuple(f"{slicing.name}: {slicing.labels[row]}" for slicing in asked.slicings),
        gain=values[0] - values[1],
        relevant=len(best),
        sides=(first, second),
    )


def side_of(measured: Measured, row: int, *, system: str, value: float, places: Positions, others: Positions) -> Side:
    """One system's first products for one row.

    Args:
        measured: the table.
        row: of the query or user.
        system: the system's name.
        value: its metric.
        places: its first positions.
        others: those of the system beside it.
    """
    asked = measured.asked
    judged = dict(zip(*(values.tolist() for values in asked.judged[row]), strict=True))
    rank_there = {position: rank for rank, position in enumerate(others.tolist())}
    said = set(words(asked.texts[row]))
    titles = asked.catalogue.column("title").gather(places).to_list()
    hits = []
    for rank, (position, title, name) in enumerate(
        zip(places.tolist(), titles, asked.catalogue.ids(places), strict=True)
    ):
        # Whoever was not shown to buy a product is not known to dislike it, but no grade of theirs is missing either.
        grade = judged.get(position, 0.0 if asked.unit == "user" else None)
        move = rank_there[position] - rank if position in rank_there else None
        hits.append(Shown(marked(title or "", said), name, grade, state_of(grade, relevant=asked.relevant), move))
    return Side(system, value, tuple(hits), sum(hit.state == "relevant" for hit in hits))


def state_of(grade: float | None, *, relevant: float) -> str:
    """What a grade means to the reader."""
    if grade is None:
        return "unjudged"
    return "relevant" if grade >= relevant else "partly" if grade > 0 else "irrelevant"


def marked(title: str, said: set[str]) -> tuple[tuple[str, bool], ...]:
    """A title in pieces, those marked that are words of the query."""
    return tuple((piece, bool(said & set(words(piece)))) for piece in PIECE.findall(title))


def gains_of(measured: Measured, *, baseline: str) -> Floats:
    """float64 [those that count]: the subject's gain over the baseline by headline."""
    metric = headline(measured.systems[measured.subject])
    gaps = measured.systems[measured.subject][metric] - measured.systems[baseline][metric]
    return gaps[~np.isnan(gaps)]
