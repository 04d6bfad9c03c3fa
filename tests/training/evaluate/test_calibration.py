"""The calibration in an evaluation: figures by hand, the line for people, the plot."""

import numpy as np
import pytest

from recsys.ranking.calibration import Calibration, CutOff, Platt
from training.evaluate.calibration import count_empty, figures, measure_calibration, said
from training.evaluate.queries import JudgedQuery, Ranking
from training.evaluate.reliability import reliability_figure

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
    assert found["no_good_match"] == {"rightly": 1, "missed": 0}
    assert (found["good_above"], found["irrelevant_above"]) == (1.0, pytest.approx(1 / 3))
    line = said(found)
    assert "ECE 0.3800 over 5 pairs" in line
    assert "cut-off 0.60: 50.0% of what a list shows is irrelevant (promised: 20% at most), 50.0% of the lists" in line
    assert "no good match, 1 rightly, 0 though one was judged" in line
    assert set(figures(found)) == {
        f"calibration {name}"
        for name in ("ece", "ece_by_sampling", "ece_by_sampling_high", "brier", "irrelevant_share")
    }


def test_without_a_cutoff_or_a_calibration_there_is_less_to_say() -> None:
    found = measure_calibration(calibration(None), QUERIES, SCORES)
    assert "cutoff" not in found
    assert "no cut-off: none was found that keeps its promise" in said(found)
    assert measure_calibration(None, QUERIES, SCORES) == {}
    assert measure_calibration(calibration(CUT), QUERIES, None) == {}


def test_a_list_is_left_empty_rightly_or_not() -> None:
    """With a cut-off at .95 both lists are empty: that of a wrongly, which has two good products."""
    found = measure_calibration(calibration(CUT.model_copy(update={"probability": 0.95})), QUERIES, SCORES)
    assert found["no_good_match"] == {"rightly": 1, "missed": 1}
    assert (found["irrelevant_share"], found["lists_without_a_good_match"], found["good_above"]) == (None, 1.0, 0.0)
    assert "cut-off 0.95: nothing is shown (promised" in said(found)
    assert "calibration irrelevant_share" not in figures(found)


def found_with(*probabilities: float) -> Ranking:
    count = len(probabilities)
    scores = np.arange(count, 0, -1, dtype=np.float32)
    return Ranking(np.arange(count), scores, np.array(probabilities, dtype=np.float32))


def test_searches_of_the_catalogue_that_find_no_good_match_are_counted() -> None:
    """The cut-off is .6 itself included; what the network did not look at reaches nothing."""
    queries = [*QUERIES, judged("c", 2, 0), judged("d", 1), judged("e", 0)]
    nothing = Ranking(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))
    rankings = [found_with(0.1, 0.6), found_with(0.59, np.nan), found_with(np.nan, np.nan), nothing, found_with(0.9)]
    found = count_empty(calibration(CUT), queries, rankings)
    assert found == {"no good match, rightly": 2, "no good match though one was judged": 1}
    assert count_empty(calibration(None), queries, rankings) == count_empty(None, queries, rankings) == {}


def test_the_plot_has_a_point_for_each_bin() -> None:
    found = measure_calibration(calibration(CUT), QUERIES, SCORES)
    (axes,) = reliability_figure(found).axes
    assert axes.get_title().startswith("ECE 0.380, by sampling alone ")
    points = axes.lines[1].get_xydata()
    assert points[:, 0].tolist() == pytest.approx([0.2, 0.5, 0.7, 0.8, 0.9])
    assert points[:, 1].tolist() == [0, 0, 1, 0, 1]
    (bars,) = axes.collections
    lowest, highest = bars.get_segments()[1]
    assert (lowest.tolist(), highest.tolist()) == ([0.5, 0], [0.5, 1]), "two errors of .5 each, of one pair"
    assert axes.lines[2].get_xdata()[0] == CUT.probability
