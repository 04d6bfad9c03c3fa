"""Texts that say something, and those that only stand in for titles."""

import pytest

from training.two_tower.config import TwoTowerSettings
from training.two_tower.wording import texts_speak

SHOES = ["red running shoe", "blue running shoe", "red leather belt", "blue leather wallet"]


@pytest.mark.parametrize(
    ("texts", "speak"),
    [
        (SHOES, True),
        (["B00A", "B00B", "B00C", "B00D"], False),  # ids
        ([f"product {number}" for number in range(9)], False),  # one word for all, one for each
        ([""] * 5, False),
        (["same title"] * 6, False),
        ([*SHOES, "", "", "", ""], True),  # half of them
        ([*SHOES, "", "", "", "", ""], False),
        ([], False),
    ],
)
def test_texts_speak(texts: list[str], speak: bool) -> None:
    assert texts_speak(texts) is speak


def test_without_texts_the_network_learns_ids_alone() -> None:
    """Nothing stands in for an id then, so none is left out; what is asked for stays."""
    plain = TwoTowerSettings().resolved(basket=1.0, texts=False)
    assert (plain.text, plain.id_dropout) == (False, 0.0)
    assert plain.epochs > TwoTowerSettings().resolved(basket=1.0).epochs
    asked = TwoTowerSettings(text=True, id_dropout=0.2, epochs=3).resolved(basket=1.0, texts=False)
    assert (asked.text, asked.id_dropout, asked.epochs) == (True, 0.2, 3)
    assert plain.resolved(basket=1.0, texts=True) == plain
