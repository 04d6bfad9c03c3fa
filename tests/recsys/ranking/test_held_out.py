"""Held-out scores: one file for either network, and no network's for the other's."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.errors import BundleError
from recsys.ranking.held_out import Score, as_held_out, has_held_out, read_held_out, write_held_out

JUDGED = pl.DataFrame(
    {"query_id": ["a", "b"], "query": ["sofa", "lamp"], "product_id": ["p", "q"], "grade": [3, 0], "position": [4, 7]}
)


@pytest.mark.parametrize("score", ["logit", "cosine"])
def test_scores_of_either_network_are_read_as_they_were_written(tmp_path: Path, score: Score) -> None:
    frame = as_held_out(JUDGED, np.array([0.75, -0.5], dtype=np.float32), max_grade=3.0, score=score)
    assert not has_held_out(tmp_path)
    write_held_out(tmp_path, frame, score=score)
    assert has_held_out(tmp_path)
    assert read_held_out(tmp_path, score=score).to_dict(as_series=False) == {
        "query_id": ["a", "b"],
        "product_id": ["p", "q"],
        "grade": [3.0, 0.0],
        "max_grade": [3.0, 3.0],
        score: [0.75, -0.5],
    }


@pytest.mark.parametrize(
    ("written", "read", "message"),
    [("logit", "cosine", "train the text encoder again"), ("cosine", "logit", "train the cross-encoder again")],
)
def test_scores_of_another_network_are_none(tmp_path: Path, written: Score, read: Score, message: str) -> None:
    frame = as_held_out(JUDGED, np.zeros(2, dtype=np.float32), max_grade=3.0, score=written)
    write_held_out(tmp_path, frame, score=written)
    with pytest.raises(BundleError, match="no held-out scores") as found:
        read_held_out(tmp_path, score=read)
    assert message in str(found.value)
