"""Reading queries: one object over the folder that `build_understanding` wrote beside an index."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from zipfile import BadZipFile

import polars as pl

from recsys.catalogue import Catalogue
from recsys.errors import IndexMismatchError
from recsys.meaning import Understanding, with_corrections
from recsys.retrieval.query_syntax import spoken
from recsys.types import Positions, Scores
from recsys.understanding.categories import CategoryClassifier
from recsys.understanding.gazetteer import TABLE, Gazetteer, known_facts, learn_names
from recsys.understanding.learn_categories import lacking, learn_categories
from recsys.understanding.signals import signals
from recsys.understanding.spelling import PAIRS, WORDS, Speller, count_words
from recsys.understanding.tokens import tokens
from recsys.understanding.traits import Traits, measure_products
from recsys.understanding.units import quantities

FORMAT = 1
SETTINGS, TRAITS = "understanding.json", "traits"
LONGEST = 500  # characters read of one query; a pasted page is no wish for a brand
CATEGORY, BRAND, ATTRIBUTE = "category", "brand", "attribute"
PARTS = ("spelling", "quantities", "colour", BRAND, ATTRIBUTE, CATEGORY)
MISSING = {
    BRAND: "the catalogue names no brand",
    ATTRIBUTE: "the catalogue has no attributes",
}


@dataclass(frozen=True)
class QueryReader:
    """Reads queries as a catalogue understands them.

    Attributes:
        speller: corrects words.
        gazetteer: finds names.
        classifier: places queries in the tree; None where the catalogue has no categories.
        traits: what the products are, for the signals.
        absent: by part, why it is not there.
    """

    speller: Speller
    gazetteer: Gazetteer
    classifier: CategoryClassifier | None
    traits: Traits
    absent: dict[str, str]

    @property
    def parts(self) -> tuple[str, ...]:
        """What is read, by name."""
        return tuple(part for part in PARTS if part not in self.absent)

    @classmethod
    def build(cls, catalogue: Catalogue, folder: Path, *, seed: int = 0) -> Self:
        """Learn everything from a catalogue and write it.

        Args:
            catalogue: the products.
            folder: an absent folder.
            seed: of the category classifier's calibration.
        """
        folder.mkdir(parents=True)
        words, pairs = count_words(catalogue)
        words.write_parquet(folder / WORDS)
        pairs.write_parquet(folder / PAIRS)
        known = known_facts(catalogue)
        learn_names(catalogue.frame["title"], known).write_parquet(folder / TABLE)
        classifier = learn_categories(catalogue.frame, seed=seed)
        if classifier is not None:
            classifier.save(folder)
        tree = None if classifier is None else classifier.tree
        measure_products(catalogue.frame, known, tree).save(folder / TRAITS)
        told = {fact.kind.value for fact in known.facts}
        absent = {CATEGORY: reason} if (reason := lacking(catalogue.frame)) else {}
        absent |= {kind: reason for kind, reason in MISSING.items() if kind not in told}
        settings = {"format": FORMAT, "absent": absent}
        (folder / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The reader of a folder.

        Raises:
            IndexMismatchError: the folder holds none, or one that is damaged or of another format.
        """
        try:
            settings: dict[str, Any] = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
            if settings["format"] != FORMAT:
                raise broken(folder, f"format {settings['format']}")
            absent = dict(settings["absent"])
            return cls(
                speller=Speller.open(folder),
                gazetteer=Gazetteer.open(folder),
                classifier=None if CATEGORY in absent else CategoryClassifier.open(folder),
                traits=Traits.open(folder / TRAITS),
                absent=absent,
            )
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile, pl.exceptions.PolarsError) as error:
            raise broken(folder, str(error)) from error

    def read(self, query: str, *, correct: bool = True) -> Understanding:
        """What a query means.

        Args:
            query: any text; what its operators exclude names nothing.
            correct: whether spelling is looked at.
        """
        corrections = self.speller.correct(query[:LONGEST]) if correct else ()
        text = with_corrections(query, tuple(one for one in corrections if one.replaced))
        meant = text[:LONGEST]
        found = tokens(meant if (said := spoken(meant)) == meant else blanked(meant, said))
        return Understanding(
            query=query,
            text=text,
            corrections=corrections,
            quantities=quantities(meant),
            spans=self.gazetteer.spans(found),
            categories=() if self.classifier is None else self.classifier.shares([token.word for token in found]),
            absent=self.absent,
        )

    def signals(self, understanding: Understanding, positions: Positions) -> dict[str, Scores]:
        """By name, float32 [positions]: how the products agree with a query; see recsys.understanding.signals."""
        tree = None if self.classifier is None else self.classifier.tree
        return signals(understanding, positions, traits=self.traits, tree=tree)


def blanked(text: str, said: str) -> str:
    """The text with spaces for every word that is not said, so that the others keep their places."""
    kept = {token.word for token in tokens(said)}
    letters = list(text)
    for token in tokens(text):
        if token.word not in kept:
            letters[token.start : token.end] = " " * (token.end - token.start)
    return "".join(letters)


def broken(folder: Path, reason: str) -> IndexMismatchError:
    """The error for a folder that can't be opened."""
    return IndexMismatchError(
        f"{folder} holds no readable query understanding ({' '.join(reason.split())[:200]})",
        expected=f"one of format {FORMAT}",
        action="build it again with `recsys index`",
    )
