"""The curve from score to probability: values by hand, order, saving, refusals."""

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from recsys.errors import BundleError
from recsys.ranking.calibration import FILE, Calibration, CutOff, Isotonic, Platt, as_logits
from recsys.ranking.cross_encoder import sigmoid
from recsys.ranking.held_out import has_held_out, read_held_out, write_held_out

PLATT = Platt(slope=2.0, intercept=-1.0)
RISING = Isotonic(logits=(-1.0, 0.0, 2.0), probabilities=(0.2, 0.2, 0.8))
CUT = CutOff(probability=0.6, irrelevant_share=0.2, confidence=0.9, k=10, queries=40)


def calibration(curve: Platt | Isotonic = PLATT) -> Calibration:
    return Calibration(cross_encoder="abc", threshold=2.0, max_grade=3.0, curve=curve, cutoff=CUT)


def test_platt_by_hand() -> None:
    assert PLATT([0.5, 1.0]).tolist() == pytest.approx([0.5, 1 / (1 + math.exp(-1))])


def test_isotonic_by_hand() -> None:
    assert RISING([-9.0, -0.5, 1.0, 9.0]).tolist() == pytest.approx([0.2, 0.2, 0.5, 0.8])


@given(st.floats(-12, 12, width=32))
def test_a_score_gives_its_logit_back(logit: float) -> None:
    assert as_logits(sigmoid(np.array([logit])))[0] == pytest.approx(logit, abs=0.02)


def test_scores_at_the_ends_stay_finite() -> None:
    low, high = as_logits([0.0, 1.0])
    assert low < -80
    assert 16 < high < 20
    assert calibration().of_scores(np.array([0.0, 1.0], dtype=np.float32)).tolist() == pytest.approx([0, 1], abs=1e-6)


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=20))
def test_a_better_score_never_has_a_lower_probability(scores: list[float]) -> None:
    ranked = np.sort(np.array(scores, dtype=np.float32))
    for curve in (PLATT, RISING):
        found = calibration(curve).of_scores(ranked)
        assert found.dtype == np.float32
        assert (np.diff(found) >= 0).all()
        assert ((found >= 0) & (found <= 1)).all()


@pytest.mark.parametrize("curve", [PLATT, RISING])
def test_saved_is_loaded(tmp_path: Path, curve: Platt | Isotonic) -> None:
    calibration(curve).save(tmp_path / "calibration")
    assert Calibration.load(tmp_path / "calibration") == calibration(curve)
    assert calibration(curve).said == f"{curve.kind}, P(grade >= 2 of 3)"


@pytest.mark.parametrize("content", ["", "{}", '{"format": 2}', "[1]", '{"format": 1, "curve": {"kind": "pickle"}}'])
def test_a_damaged_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(BundleError, match="holds no calibration"):
        Calibration.load(tmp_path)
    with pytest.raises(BundleError, match="holds no calibration"):
        Calibration.load(tmp_path / "nowhere")


def test_curves_that_fall_are_refused() -> None:
    with pytest.raises(ValidationError):
        Platt(slope=-0.1, intercept=0.0)
    for logits, probabilities in (((0.0, 0.0), (0.1, 0.2)), ((0.0, 1.0), (0.3, 0.2)), ((0.0,), (0.1, 0.2))):
        with pytest.raises(ValidationError):
            Isotonic(logits=logits, probabilities=probabilities)


def test_held_out_scores_are_kept_beside_the_weights(tmp_path: Path) -> None:
    rows = {"query_id": ["q"], "product_id": ["p"], "grade": [2.5], "max_grade": [3.0], "logit": [-0.5]}
    assert not has_held_out(tmp_path)
    with pytest.raises(BundleError, match="no held-out scores"):
        read_held_out(tmp_path)
    write_held_out(tmp_path, pl.DataFrame(rows))
    assert has_held_out(tmp_path)
    assert read_held_out(tmp_path).to_dict(as_series=False) == rows
    (tmp_path / "held_out.parquet").write_bytes(b"torn")
    with pytest.raises(BundleError, match="no held-out scores"):
        read_held_out(tmp_path)
