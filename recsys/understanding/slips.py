"""How likely a slip of the finger turns one word into another: an edit distance that knows the keyboard."""

from functools import lru_cache

ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
NEIGHBOUR, SWAP, DOUBLE, LEFT_OUT, TOO_MANY, OTHER, FIRST = 0.5, 0.5, 0.5, 0.8, 0.9, 1.5, 1.0
"""Costs: a key beside the right one, two letters swapped, a letter doubled or halved, one left out, one too many,
another letter; and in addition any slip in the first letter, which people rarely miss.

Source: the kinds of slips and their order of frequency follow Damerau, "A technique for computer detection and
correction of spelling errors", CACM 1964; the first letter's rarity Pollock and Zamora, "Automatic spelling correction
in scientific and scholarly text", CACM 1984.
"""


def beside(one: str, other: str) -> bool:
    """True for neighbours in a row of the keyboard, or in the rows above and below it."""
    return other in around(one)


@lru_cache(maxsize=256)
def around(letter: str) -> frozenset[str]:
    """The keys around a letter's; none for what stands on no letter key."""
    for number, row in enumerate(ROWS):
        place = row.find(letter)
        if place >= 0:
            near = [*row[max(place - 1, 0) : place + 2]]
            if number > 0:
                near += ROWS[number - 1][place : place + 2]
            if number + 1 < len(ROWS):
                near += ROWS[number + 1][max(place - 1, 0) : place + 1]
            return frozenset(near) - {letter}
    return frozenset()


def slip_cost(typed: str, meant: str) -> float:
    """How many slips, weighted, make `typed` of `meant`; 0 for equal words.

    Args:
        typed: a word in lower case.
        meant: another.
    """
    start = 0
    while start < min(len(typed), len(meant)) and typed[start] == meant[start]:
        start += 1
    end = 0
    while end < min(len(typed), len(meant)) - start and typed[-1 - end] == meant[-1 - end]:
        end += 1
    before = typed[start - 1] if start else ""
    cost = aligned(typed[start : len(typed) - end], meant[start : len(meant) - end], before=before)
    return cost + (FIRST if not start and cost else 0.0)


def aligned(typed: str, meant: str, *, before: str) -> float:
    """The least cost of the slips between what differs; `before` is the letter that both have before it."""
    rows = [[0.0] * (len(meant) + 1) for _ in range(len(typed) + 1)]
    for i in range(len(typed) + 1):
        for j in range(len(meant) + 1):
            ways = [0.0] if i == j == 0 else []
            if i:
                repeated = typed[i - 1] == (typed[i - 2] if i > 1 else before)
                ways.append(rows[i - 1][j] + (DOUBLE if repeated else TOO_MANY))
            if j:
                halved = meant[j - 1] == (meant[j - 2] if j > 1 else before)
                ways.append(rows[i][j - 1] + (DOUBLE if halved else LEFT_OUT))
            if i and j:
                one, other = typed[i - 1], meant[j - 1]
                ways.append(rows[i - 1][j - 1] + (0.0 if one == other else NEIGHBOUR if beside(one, other) else OTHER))
            if i > 1 and j > 1 and typed[i - 2 : i] == meant[j - 1] + meant[j - 2]:
                ways.append(rows[i - 2][j - 2] + SWAP)
            rows[i][j] = min(ways)
    return rows[-1][-1]
