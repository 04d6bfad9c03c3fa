"""What a night may learn, and what it refuses before any work."""

from pathlib import Path
from typing import Any

import pytest

from recsys.errors import UsageError
from serving.job import read_job
from serving.learning import supported

TIERS = ("lexical", "relevance", "popularity", "behavioural", "personalised")
SOLD = ["popularity", "category-popularity", "trending", "repeat"]
TOGETHER = ["bought-together", "item-knn", "als", "bpr"]


@pytest.mark.parametrize(
    ("reached", "stages"),
    [
        ([], []),
        (["lexical", "popularity"], SOLD),
        (["lexical", "relevance"], ["retriever", "relevance", "calibration", "blender"]),
        (["popularity", "behavioural"], [*SOLD, *TOGETHER, "recommend-blender"]),
        (["popularity", "behavioural", "personalised"], [*SOLD, *TOGETHER, "two-tower", "recommend-blender"]),
    ],
)
def test_data_decides_what_can_be_learned(reached: list[str], stages: list[str]) -> None:
    assert [one.stage for one in supported({"name": name, "supported": name in reached} for name in TIERS)] == stages


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"engine": "ray"}, "--engine: 'ray'"),
        ({"train": "sometimes"}, "--train: 'sometimes'"),
        ({"only": ["magic"]}, "--only: 'magic'"),
        ({"skip": ["magic"]}, "--skip: 'magic'"),
        ({"once": ["magic"]}, "--no-refit: 'magic'"),
        ({"options": ["epochs=5"]}, "--set epochs=5"),
        ({"options": ["magic.epochs=5"]}, "'magic'"),
    ],
)
def test_wrong_words_are_refused_before_any_work(options: dict[str, Any], found: str) -> None:
    asked: dict[str, Any] = {"night": None, "k": 20, "train": "due", "days": 7.0, "only": [], "skip": [], "options": []}
    with pytest.raises(UsageError, match=found):
        read_job(Path("shop"), out=Path("out"), **(asked | {"engine": "local"} | options))
