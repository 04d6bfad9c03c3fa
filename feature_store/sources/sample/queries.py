"""The queries table: what shoppers type, with their own words and slips of the finger."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from feature_store.sources.sample import draws, truth, words
from feature_store.sources.sample.draws import Keys
from feature_store.sources.sample.relevance import QueryCodes
from feature_store.sources.sample.world import World

UNJUDGED_SHARE = 2
TRIES = 40
WISHES: tuple[tuple[str, ...], ...] = (
    ("family",),
    ("material",),
    ("brand",),
    ("size",),
    ("tier",),
    ("family", "material"),
    ("brand", "family"),
    (),
)
WISH_WEIGHTS = np.array([0.26, 0.2, 0.1, 0.1, 0.08, 0.1, 0.04, 0.12])


@dataclass(frozen=True, slots=True)
class Queries:
    """All queries of a shop.

    Attributes:
        texts: what was typed, each once.
        codes: what was meant.
        judged: the first so many of them have judgments.
    """

    texts: tuple[str, ...]
    codes: QueryCodes
    judged: int

    def ids(self) -> list[str]:
        """The queries' ids in order."""
        return [f"Q{number:05d}" for number in range(len(self.texts))]

    def frame(self) -> pl.DataFrame:
        """The queries table."""
        return pl.DataFrame({"query_id": self.ids(), "query": self.texts, "locale": ["en"] * len(self.texts)})


def make_queries(world: World) -> Queries:
    """The shop's queries: one judged for each dozen products (20 to 250), and twice as many that nobody judged."""
    judged = int(np.clip(world.products // 12, 20, 250))
    numbers = np.arange(judged * (1 + UNJUDGED_SHARE))
    texts: list[str] = []
    rows: list[int] = []
    seen: set[str] = set()
    tries = np.concatenate([numbers + attempt * 1_000_003 for attempt in range(TRIES)])
    codes = meant(world, tries, numbers=np.tile(numbers, TRIES))
    for number in numbers.tolist():
        for row in range(number, len(tries), len(numbers)):
            text = typed(world, codes, row=row, key=int(tries[row]))
            if text not in seen:
                break
        else:
            text = f"{text} {number}"
        seen.add(text)
        texts.append(text)
        rows.append(row)
    return Queries(texts=tuple(texts), codes=codes.take(np.array(rows)), judged=judged)


def meant(world: World, keys: Keys, *, numbers: Keys) -> QueryCodes:
    """What the queries ask for; the kinds take turns by the queries' numbers."""
    seed = world.seed
    kind = world.kinds[numbers % len(world.kinds)]
    weights = np.broadcast_to(WISH_WEIGHTS, (len(keys), len(WISHES)))
    wish = draws.pick(weights, keys, seed=seed, stream="wish")

    def asked(name: str, values: Keys) -> Keys:
        wanted = np.array([name in names for names in WISHES])[wish]
        return np.where(wanted, values, -1)

    coloured = np.array([row.coloured for row in words.KINDS])[kind]
    family = asked("family", draws.whole(keys, below=len(truth.COLOUR_FAMILIES), seed=seed, stream="q colour"))
    material = draws.whole(keys, below=4, seed=seed, stream="q material")
    return QueryCodes(
        kind=kind,
        family=np.where(coloured, family, -1),
        material=np.where((family >= 0) & ~coloured, material, asked("material", material)),
        brand=asked("brand", draws.whole(keys, below=len(words.BRANDS), seed=seed, stream="q brand")),
        size=asked("size", draws.whole(keys, below=4, seed=seed, stream="q size")),
        tier=asked("tier", 2 * draws.whole(keys, below=2, seed=seed, stream="q tier")),
    )


def typed(world: World, codes: QueryCodes, *, row: int, key: int) -> str:
    """The words for one query's codes, as somebody types them."""
    at = np.array([key])

    def share(stream: str) -> float:
        return float(draws.uniform(at, seed=world.seed, stream=stream)[0])

    def one_of(table: tuple[str, ...], stream: str) -> str:
        return table[int(share(stream) * len(table))]

    kind = words.KINDS[int(codes.kind[row])]
    noun = one_of(truth.SYNONYMS[kind.noun], "q noun") if share("q own") < truth.SYNONYM_SHARE else kind.noun
    before: list[str] = []
    after: list[str] = []
    if codes.tier[row] >= 0:
        before.append(one_of(truth.PRICE_WORDS[int(codes.tier[row] > 0)], "q price"))
    if codes.brand[row] >= 0:
        (before if share("q brand place") < 0.7 else after).append(words.BRANDS[int(codes.brand[row])].lower())
    if codes.family[row] >= 0:
        (before if share("q colour place") < 0.7 else after).append(
            one_of(truth.COLOUR_FAMILIES[int(codes.family[row])], "q shade")
        )
    if codes.material[row] >= 0:
        material = words.MATERIALS[kind.material][int(codes.material[row])]
        (before if share("q material place") < 0.7 else after).append(
            one_of((material.lower(), *truth.MATERIAL_WORDS.get(material, ())), "q stuff")
        )
    if codes.size[row] >= 0:
        after.append(words.SIZES[kind.size][int(codes.size[row])].lower())
    text = " ".join([*before, noun, *after])
    if share("q slip") < truth.TYPO_SHARE:
        return truth.mistyped(text, place=int(share("q place") * 97), slip=int(share("q how") * 4))
    return text
