"""What a shopper's query means: words, "phrases", +must, -mustn't, AND, OR, NOT, (groups) and field:word.

    query  := either*                 words that stand side by side are all wanted, none is needed
    either := both (OR both)*         one of them is enough
    both   := clause (AND clause)*    each is needed
    clause := [+ | - | NOT] atom      needed | excluded | excluded
    atom   := [field:] word | [field:] "phrase" | ( query )        a phrase without a sign is needed

Every text is a query: what doesn't fit the grammar is read as plain words. So 55" tv, :-), (sofa and AND sofa are
fine, and nobody's typing is ever an error. Operators count in capitals only.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

WORDS = 256  # words read of one query; a pasted page must not become a thousand clauses
DEPTH = 8  # groups inside groups; deeper brackets are punctuation
LEXEME = re.compile(
    r"""(?P<sign>(?<![^\s(])[+-]+(?=[^\s+-]))         # + or - before a word, not between words
      | (?P<bracket>[()])
      | (?P<field>[a-z_]+):(?=[^\s:)])
      | "(?P<phrase>[^"]*)"(?!\w)
      | (?P<word>[^\s()"]+)
      """,
    re.VERBOSE,
)
BREAK = re.compile(r'[\s()"]')


class Need(Enum):
    """How much a clause is wanted."""

    WANTED = "wanted"
    NEEDED = "needed"
    EXCLUDED = "excluded"


class Words(NamedTuple):
    """A word or a phrase, in one field or in all of them (field "")."""

    text: str
    field: str = ""
    phrase: bool = False


class Clause(NamedTuple):
    """Words or a group, and how much they are wanted."""

    need: Need
    what: "Words | Group"


@dataclass(frozen=True, slots=True)
class Group:
    """Clauses side by side."""

    clauses: tuple[Clause, ...]


class Lexeme(NamedTuple):
    """One piece of a query: kind is sign, bracket, field, phrase, word or operator; start is its place."""

    kind: str
    text: str
    start: int = 0


def parse(query: str, *, fields: Collection[str] = ()) -> Group:
    """The meaning of a query.

    Args:
        query: any text.
        fields: names that may stand before a colon; another `name:` is part of the word.

    Returns:
        A group of at least one clause; its words may say nothing ("", "!").
    """
    reader = Reader(list(lexemes(query, fields=fields)))
    clauses: list[Clause] = []
    while reader.more():  # a closing bracket too many ends a group early; the rest is read on
        clauses += reader.group(depth=0).clauses
        reader.skip(")")
    if not clauses:  # nothing but operators: Oregon is OR, too
        clauses = [Clause(Need.WANTED, Words(query))]
    return Group(tuple(clauses))


def spoken(query: str) -> str:
    """The query as a sentence, for networks: without signs, operators and what is excluded.

    A query that neither needs nor excludes anything comes back as it was typed.
    """
    group = parse(query)
    return query if plain(group) else " ".join(said(group))


def strict(query: str) -> bool:
    """True where operators demand or exclude something, which only BM25 can check."""
    return spoken(query) != query


def plain(group: Group) -> bool:
    """True where everything is wanted and nothing needed or excluded."""
    return all(
        clause.need is Need.WANTED and (isinstance(clause.what, Words) or plain(clause.what))
        for clause in group.clauses
    )


def said(group: Group) -> Iterator[str]:
    """The words that are wanted or needed, in the order typed."""
    for clause in group.clauses:
        if clause.need is Need.EXCLUDED:
            continue
        if isinstance(clause.what, Group):
            yield from said(clause.what)
        else:
            yield clause.what.text


def lexemes(query: str, *, fields: Collection[str]) -> Iterator[Lexeme]:
    """The pieces of a query from left to right, at most WORDS words."""
    place = count = 0
    while count < WORDS and (match := LEXEME.search(query, place)):
        kind, text = str(match.lastgroup), match[str(match.lastgroup)]
        place = match.end()
        if kind == "field" and text not in fields:
            kind, text = "word", BREAK.split(query[match.start() :], maxsplit=1)[0]
            place = match.start() + len(text)
        if kind == "phrase" and match.start() and query[match.start() - 1] not in ' \t\n\r(+-:"':
            place = match.start() + 1  # 55" is inches, not the start of a phrase
            continue
        if kind == "word" and text in ("AND", "OR", "NOT"):
            kind = "operator"
        count += kind in ("word", "phrase")
        yield Lexeme(kind, text, match.start())


def free_words(query: str, *, fields: Collection[str] = ()) -> Iterator[tuple[int, int]]:
    """Where the words stand that no sign, field, quotes or signed brackets hold fast: start and end of each."""
    held, brackets = False, [False]
    for piece in lexemes(query, fields=fields):
        if piece.kind == "word" and not held and not brackets[-1]:
            yield piece.start, piece.start + len(piece.text)
        if piece.text == "(":
            brackets.append(held or brackets[-1])
        elif piece.text == ")" and len(brackets) > 1:
            brackets.pop()
        held = piece.kind in ("sign", "field") or (piece.kind == "operator" and piece.text == "NOT")


class Reader:
    """Reads lexemes by the grammar; each method leaves the place behind what it read."""

    def __init__(self, pieces: list[Lexeme]) -> None:
        self.pieces = pieces
        self.place = 0

    def more(self) -> bool:
        """True where something is left."""
        return self.place < len(self.pieces)

    def at(self, *texts: str) -> bool:
        """True where the next piece is one of these operators or brackets."""
        if not self.more():
            return False
        piece = self.pieces[self.place]
        return piece.kind in ("operator", "bracket") and piece.text in texts

    def skip(self, *texts: str) -> bool:
        """Pass over the next piece if it is one of these; say whether it was."""
        found = self.at(*texts)
        self.place += found
        return found

    def group(self, *, depth: int) -> Group:
        """Clauses up to the closing bracket or the end."""
        clauses: list[Clause] = []
        while self.more() and not self.at(")"):
            clause = self.either(depth=depth)
            if clause is not None:
                clauses.append(clause)
        return Group(tuple(clauses))

    def either(self, *, depth: int) -> Clause | None:
        """Alternatives joined by OR; a lone one stays as it is."""
        parts = [self.both(depth=depth)]
        while self.skip("OR"):
            parts.append(self.both(depth=depth))
        found = [part for part in parts if part is not None]
        if len(found) < 2:
            return found[0] if found else None
        either = [part if part.need is Need.WANTED else Clause(Need.WANTED, Group((part,))) for part in found]
        return Clause(Need.WANTED, Group(tuple(either)))

    def both(self, *, depth: int) -> Clause | None:
        """Clauses joined by AND; a lone one stays as it is."""
        parts = [self.clause(depth=depth)]
        while self.skip("AND"):
            parts.append(self.clause(depth=depth))
        found = [part for part in parts if part is not None]
        if len(found) < 2:
            return found[0] if found else None
        needed = [part if part.need is Need.EXCLUDED else Clause(Need.NEEDED, part.what) for part in found]
        return Clause(Need.NEEDED, Group(tuple(needed)))

    def clause(self, *, depth: int) -> Clause | None:
        """One atom with its signs; None where an operator stands without anything to work on."""
        need = Need.WANTED
        while self.more() and (self.at("NOT") or self.pieces[self.place].kind == "sign"):
            text = self.pieces[self.place].text
            need = Need.NEEDED if text.endswith("+") else Need.EXCLUDED
            self.place += 1
        if not self.more() or self.at(")"):
            return None
        if self.at("AND", "OR"):
            self.place += 1
            return None
        if self.skip("("):
            if depth >= DEPTH:
                return None
            inner = self.group(depth=depth + 1)
            self.skip(")")
            return Clause(need, inner) if inner.clauses else None
        words = self.atom()
        return Clause(Need.NEEDED if words.phrase and need is Need.WANTED else need, words)

    def atom(self) -> Words:
        """A word or phrase, with its field if one is named."""
        field = ""
        piece = self.pieces[self.place]
        self.place += 1
        if piece.kind == "field":
            if not self.more() or self.pieces[self.place].kind not in ("word", "phrase"):
                return Words(piece.text)
            field, piece = piece.text, self.pieces[self.place]
            self.place += 1
        return Words(piece.text, field=field, phrase=piece.kind == "phrase")
