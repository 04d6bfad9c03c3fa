"""What BENCHMARKS.md tells of how much has been measured."""

from typing import Any

import pytest

from benchmarks.job import Unit
from benchmarks.report import measured, ranges


def result(variant: str, fold: int | None, seed: int | None) -> dict[str, Any]:
    return {"variant": variant, "fold": fold, "seed": seed}


@pytest.mark.parametrize(
    ("numbers", "told"),
    [([], ""), ([3], "3"), ([0, 1, 2], "0 to 2"), ([0, 2, 3, 7], "0, 2 to 3, 7")],
)
def test_numbers_are_told_in_runs(numbers: list[int], told: str) -> None:
    assert ranges(numbers) == told


def test_a_section_tells_how_much_of_its_protocol_has_a_result() -> None:
    units = [Unit("plain", fold, seed) for fold in range(3) for seed in range(2)]
    found = [result("plain", 0, 0), result("plain", 1, 0), result("given up", 2, 1)]
    assert measured(found, units) == "Measured: 2 of 6 units; folds 0 to 1; seeds 0."


def test_a_job_without_folds_and_seeds_tells_its_units_alone() -> None:
    assert measured([result("a", None, None)], [Unit("a"), Unit("b")]) == "Measured: 1 of 2 units."
