"""Names of brands, colours, attribute values and categories, learned from a catalogue and found in a query.

How sure a name is comes from the titles: of the products whose title has the words, the share that is what the words
would say. So "apple" is a brand in a shop of computers and no brand in a shop of groceries.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import polars as pl

from recsys.catalogue import Catalogue
from recsys.meaning import Span, SpanKind
from recsys.text.words import words
from recsys.understanding.attributes import Fact, names_of, product_facts, title_colours
from recsys.understanding.tokens import Token, phrases

TABLE = "gazetteer.parquet"
SURE = 0.5
"""Names that are meant so less often than that are no names."""
BACKED = 0.05
"""An attribute of which fewer of the products with its words in their title tell anything is not what they mean."""
USUAL = 0.01
"""An attribute's value that this share of the products has is a name even where no title says it."""
PRIOR = 2.0  # products that the first guess counts for
FEW = 200  # in a catalogue of fewer products one product is enough to make a name; in others it takes two
WORDS = 6  # words of the longest name; brands may be long
ORDER = {SpanKind.BRAND: 0, SpanKind.CATEGORY: 1, SpanKind.COLOUR: 2, SpanKind.ATTRIBUTE: 3}
"""What the same words are read as first; all of them are sure enough."""
Reading = tuple[SpanKind, str]


class Entry(NamedTuple):
    """One meaning of a phrase: kind, name, the values it fits, their numbers, and the chance that it is meant."""

    kind: SpanKind
    name: str
    values: tuple[str, ...]
    facts: tuple[int, ...]
    confidence: float


@dataclass(frozen=True, slots=True)
class Known:
    """The facts of a catalogue.

    Attributes:
        facts: each once, the most frequent first; a fact's place is its number.
        of: for each product, the numbers of its facts.
    """

    facts: list[Fact]
    of: list[list[int]]


def known_facts(catalogue: Catalogue) -> Known:
    """Number the facts of a catalogue; those of a single product are passed over, save for its category and brand."""
    rows = list(product_facts(catalogue.frame))
    if not any(fact.kind is SpanKind.COLOUR for row in rows for fact in row):
        said = title_colours(catalogue.frame["title"])
        rows = [[*row, *colours] for row, colours in zip(rows, said, strict=True)]
    counts = Counter(fact for row in rows for fact in row)
    least = 2 if len(catalogue) >= FEW else 1
    free = (SpanKind.BRAND, SpanKind.CATEGORY)
    kept = [fact for fact, count in counts.items() if count >= least or fact.kind in free]
    kept.sort(key=lambda fact: (-counts[fact], fact))
    numbers = {fact: number for number, fact in enumerate(kept)}
    return Known(kept, [[numbers[fact] for fact in row if fact in numbers] for row in rows])


def learn_names(titles: Iterable[str], known: Known) -> pl.DataFrame:
    """The names worth knowing: phrase, kind, name, value, fact, confidence."""
    prior: dict[str, dict[int, float]] = defaultdict(dict)
    for number, fact in enumerate(known.facts):
        for phrase, guess in names_of(fact):
            if speaks(phrase):
                prior[phrase][number] = max(guess, prior[phrase].get(number, 0.0))
    share = shares(prior, known)
    said, seen, both = in_titles(titles, known, share)
    rows = []
    for phrase, meant in share.items():
        for number, guess in meant.items():
            fact = known.facts[number]
            if fact.kind is SpanKind.ATTRIBUTE and seen[phrase, fact[:2]] < BACKED * said[phrase]:
                continue
            chance = (both[phrase, number] + PRIOR * guess) / (seen[phrase, fact[:2]] + PRIOR)
            rows.append((phrase, *fact, number, chance))
    schema = {"phrase": pl.String, "kind": pl.String, "name": pl.String, "value": pl.String}
    table = pl.DataFrame(rows, {**schema, "fact": pl.Int32, "confidence": pl.Float32}, orient="row")
    return sure(table).sort("phrase", "kind", "name", "fact")


def speaks(phrase: str) -> bool:
    """True for a phrase that may be a name: not too long, more than a letter, more than a number."""
    return len(phrase) > 1 and phrase.count(" ") < WORDS and any(letter.isalpha() for letter in phrase)


def shares(prior: Mapping[str, Mapping[int, float]], known: Known) -> dict[str, dict[int, float]]:
    """The first guesses, divided among the facts of one kind that share a name, by their products."""
    counts = Counter(number for row in known.of for number in row)
    found: dict[str, dict[int, float]] = {}
    for phrase, meant in prior.items():
        total: Counter[Reading] = Counter()
        for number in meant:
            total[known.facts[number][:2]] += counts[number]
        found[phrase] = {}
        for number, guess in meant.items():
            fact = known.facts[number]
            usual = fact.kind is SpanKind.ATTRIBUTE and counts[number] >= USUAL * len(known.of)
            found[phrase][number] = (SURE if usual else guess) * counts[number] / total[fact[:2]]
    return found


def in_titles(
    titles: Iterable[str], known: Known, meant: Mapping[str, Mapping[int, float]]
) -> tuple[Counter[str], Counter[tuple[str, Reading]], Counter[tuple[str, int]]]:
    """How many products have a phrase in their title, how many of them tell of its kind, and how many tell the fact."""
    said: Counter[str] = Counter()
    seen: Counter[tuple[str, Reading]] = Counter()
    both: Counter[tuple[str, int]] = Counter()
    for title, own in zip(titles, known.of, strict=True):
        told = {known.facts[number][:2] for number in own}
        facts = set(own)
        found = phrases(words(title), longest=WORDS) & meant.keys()
        covered = inside(found)
        for phrase in found:
            numbers = meant[phrase]
            said[phrase] += 1
            for reading in {known.facts[number][:2] for number in numbers} & told:
                if not any(reading == known.facts[number][:2] for one in covered[phrase] for number in meant[one]):
                    seen[phrase, reading] += 1
            both.update((phrase, number) for number in facts & numbers.keys())
    return said, seen, both


def inside(found: Set[str]) -> dict[str, list[str]]:
    """For each phrase the longer ones that it is a part of."""
    longer = [one for one in found if " " in one]
    return {phrase: [one for one in longer if one != phrase and f" {phrase} " in f" {one} "] for phrase in found}


def sure(table: pl.DataFrame) -> pl.DataFrame:
    """The names that are sure enough; facts of one kind and name that share a phrase are one meaning."""
    whole = (
        pl.when(pl.col("kind") == SpanKind.CATEGORY)
        .then(pl.col("confidence").max())
        .otherwise(pl.col("confidence").sum())
    )
    together = whole.over("phrase", "kind", "name").clip(0.0, 1.0)
    likely = pl.col("confidence") >= 0.1 * pl.col("confidence").max().over("phrase", "kind", "name")
    return table.filter(likely).with_columns(confidence=together).filter(pl.col("confidence") >= SURE)


class Gazetteer:
    """Finds names in a query.

    Args:
        table: as `learn_names` makes it.
    """

    def __init__(self, table: pl.DataFrame) -> None:
        self.entries: dict[str, list[Entry]] = defaultdict(list)
        grouped: dict[tuple[str, str, str], list[tuple[str, int, float]]] = defaultdict(list)
        for phrase, kind, name, value, fact, confidence in table.iter_rows():
            grouped[phrase, kind, name].append((value, fact, confidence))
        for (phrase, kind, name), rows in grouped.items():
            values, facts = tuple(row[0] for row in rows), tuple(row[1] for row in rows)
            self.entries[phrase].append(Entry(SpanKind(kind), name, values, facts, rows[0][2]))
        self.longest = max((phrase.count(" ") + 1 for phrase in self.entries), default=0)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The gazetteer of a folder; the file's own errors pass."""
        return cls(pl.read_parquet(folder / TABLE))

    def spans(self, found: Sequence[Token]) -> tuple[Span, ...]:
        """The names among the words of a query: the longest first, then by ORDER, then the surest; none overlap."""
        places = [
            (start, end, entry)
            for start in range(len(found))
            for end in range(start + 1, min(start + self.longest, len(found)) + 1)
            for entry in self.entries.get(" ".join(token.word for token in found[start:end]), ())
        ]
        places.sort(key=lambda one: (one[0] - one[1], ORDER[one[2].kind], -one[2].confidence, one[0]))
        taken: set[int] = set()
        chosen = []
        for start, end, entry in places:
            if taken.isdisjoint(range(start, end)):
                taken.update(range(start, end))
                chosen.append(Span(found[start].start, found[end - 1].end, *entry[:3], entry.confidence, entry.facts))
        return tuple(sorted(chosen, key=lambda span: span.start))
