"""What a job took: its seconds and the most memory that the process held."""

import resource
from time import perf_counter
from typing import NamedTuple


class Effort(NamedTuple):
    """What a job took.

    Attributes:
        seconds: from its beginning to its end.
        peak_mib: the most memory that the process held until then, MiB.
    """

    seconds: float
    peak_mib: float

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s, at most {self.peak_mib:,.0f} MiB"


class Meter:
    """Measures from when it is made."""

    def __init__(self) -> None:
        self.begun = perf_counter()

    def read(self) -> Effort:
        """What it took until now."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return Effort(round(perf_counter() - self.begun, 3), round(peak, 1))
