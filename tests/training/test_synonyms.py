"""Near-synonyms: learned only where vectors, titles and judgments agree; a shop's own file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from recsys.errors import UsageError
from training.synonyms import company, near_synonyms, read_synonyms

ANGLES = {"sofa": 0, "couch": 10, "red": 90, "blue": 100, "lamp": 180, "light": 185}


def vectors(words: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors in the plane; words not named lie far from all of them, each in a dimension of its own."""
    table = np.zeros((len(words), 2 + len(words)), dtype=np.float32)
    for row, word in enumerate(words):
        if word in ANGLES:
            table[row, :2] = np.cos(np.radians(ANGLES[word])), np.sin(np.radians(ANGLES[word]))
        else:
            table[row, 2 + row] = 1.0
    return table


def titles() -> list[str]:
    """Sofas are called couches too; red and blue stand in the same places, never together; lamps have other company."""
    made = [f"{('red', 'blue')[n % 2]} sofa couch velvet seat" for n in range(10)]
    made += [f"{('red', 'blue')[n % 2]} {('sofa', 'couch')[n // 2 % 2]} velvet seat" for n in range(8)]
    made += ["red lamp bulb", "blue lamp bulb", "daylight light window"] * 6
    return made + [f"filler{chr(97 + n % 26)} thing{chr(97 + n % 13)} other" for n in range(400)]


def test_only_words_that_shops_write_together_are_learned() -> None:
    assert near_synonyms(titles(), vectors=vectors, near=0.9) == {"sofa": ("couch",), "couch": ("sofa",)}
    assert near_synonyms(titles(), vectors=vectors, near=0.99) == {}
    assert near_synonyms(titles(), vectors=vectors, near=1.0) == {}
    assert near_synonyms([], vectors=vectors, near=0.5) == {}


def test_judgments_may_speak_against() -> None:
    liked = [("red sofa", "sofa seat", 3.0)] * 3
    disliked = [("red sofa", "couch seat", 1.0)] * 3
    assert near_synonyms(titles(), vectors=vectors, near=0.9, judged=[*liked, *disliked]) == {}
    too_few = [*liked, *disliked[:2]]
    assert near_synonyms(titles(), vectors=vectors, near=0.9, judged=too_few)["sofa"] == ("couch",)
    agreed = [*liked, *[("Sofa", "couch seat", 2.7)] * 3]
    assert near_synonyms(titles(), vectors=vectors, near=0.9, judged=agreed)["sofa"] == ("couch",)


def test_company_by_brute_force() -> None:
    words = ["sofa", "couch", "red", "blue"]
    read = [frozenset(title.split()) for title in titles()]
    alike, times = company(read, words)
    count = {word: sum(word in title for title in read) for word in words}
    wanted = np.array(
        [
            [
                0.0 if a == b else sum({a, b} <= title for title in read) * len(read) / (count[a] * count[b])
                for b in words
            ]
            for a in words
        ]
    )
    assert times == pytest.approx(wanted, rel=1e-6)
    positive = np.log(np.maximum(wanted, 1))
    lengths = np.linalg.norm(positive, axis=1)
    assert alike == pytest.approx(positive @ positive.T / np.outer(lengths, lengths), abs=1e-6)


def test_many_titles_are_sampled_by_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.synonyms.TITLES", 420)
    first, again = (near_synonyms(titles(), vectors=vectors, near=0.9, seed=5) for _ in range(2))
    assert first == again


def test_a_shop_s_own_file(tmp_path: Path) -> None:
    file = tmp_path / "synonyms.txt"
    file.write_text("# ours\n\nSofa, couch,  chaise-longue\ntelly, goggle box => TV, television\nsofa, divan\n")
    assert read_synonyms(file) == {
        "sofa": ("couch", "chaise longue", "divan"),
        "couch": ("sofa", "chaise longue"),
        "chaise longue": ("sofa", "couch"),
        "telly": ("tv", "television"),
        "goggle box": ("tv", "television"),
        "divan": ("sofa",),
    }


@pytest.mark.parametrize("line", ["sofa", "sofa =>", "=> sofa", "a => b => c", "sofa, SOFA", "--, ..", "a => a"])
def test_a_line_that_says_nothing_is_named(line: str, tmp_path: Path) -> None:
    file = tmp_path / "synonyms.txt"
    file.write_text(f"sofa, couch\n{line}\n")
    with pytest.raises(UsageError, match="line 2"):
        read_synonyms(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no synonyms in"):
        read_synonyms(tmp_path / "none.txt")
