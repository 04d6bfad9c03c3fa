"""The calibration in an evaluation: figures by hand, the line for people, the plot."""

import numpy as np
import pytest

from recsys.ranking.calibration import Calibration, CutOff, Platt
from training.evaluate.calibration import figures, measure_calibration, reliability_figure, said
from training.evaluate.queries import JudgedQuery

CUT = CutOff(probability=0.6, irrelevant_share=0.2, confidence=0.9, k=2, queries=9)


def judged(name: str, *grades: float) -> JudgedQuery:
    return JudgedQuery(name, name, np.arange(len(grades)), np.array(grades))


def calibration(cutoff: CutOff | None) -> Calibration:
    return Calibration(cross_encoder="", threshold=2, max_grade=3, curve=Platt(slope=1, intercept=0), cutoff=cutoff)


QUERIES = [judged("a", 3, 2, 0), judged("b", 1, 0)]
SCORES = [np.array([0.9, 0.7, 0.8], dtype=np.float32), np.array([0.5, 0.2], dtype=np.float32)]


def test_figures_by_hand() -> None:
    """With a slope of 1 the probability is the score; of query a .9 (good) and .8 (bad) are shown, of b nothing."""
    found = measure_calibration(calibration(CUT), QUERIES, SCORES)
    assert (found["pairs"], found["good"]) == (5, 0.4)
    gaps = [0.1, 0.3, 0.8, 0.5, 0.2]
    assert found["ece"] == pytest.approx(np.mean(gaps), abs=1e-6)
    assert found["brier"] == pytest.approx(np.mean(np.square(gaps)), abs=1e-6)
    assert found["reliability"]["counts"] == [1] * 5
    assert (found["irrelevant_share"], found["lists_without_a_good_match"]) == (0.5, 0.5)
    line = said(found)
    assert "ECE 0.3800 over 5 pairs" in line
    assert "cut-off 0.60: 50.0% of what a list shows is irrelevant (promised: 20% at most), 50.0% of the lists" in line
    assert set(figures(found)) == {
        f"calibration {name}"
        for name in ("ece", "ece_by_sampling", "ece_by_sampling_high", "brier", "irrelevant_share")
    }


def test_without_a_cutoff_or_a_calibration_there_is_less_to_say() -> None:
    found = measure_calibration(calibration(None), QUERIES, SCORES)
    assert "cutoff" not in found
    assert "cut-off" not in said(found)
    assert measure_calibration(None, QUERIES, SCORES) == {}
    assert measure_calibration(calibration(CUT), QUERIES, None) == {}


def test_the_plot_has_a_point_for_each_bin() -> None:
    found = measure_calibration(calibration(CUT), QUERIES, SCORES)
    (axes,) = reliability_figure(found).axes
    assert axes.get_title().startswith("ECE 0.380, by sampling alone ")
    points = axes.containers[0].lines[0].get_xydata()
    assert points[:, 0].tolist() == pytest.approx([0.2, 0.5, 0.7, 0.8, 0.9])
    assert points[:, 1].tolist() == [0, 0, 1, 0, 1]
