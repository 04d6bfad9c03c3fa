"""Where the metrics of a training go; light, so that stages that only count need no network library."""

from collections.abc import Mapping
from typing import Protocol


class MetricLog(Protocol):
    """Receives metrics by epoch; a `recsys.tracking` run is one."""

    def metrics(self, values: Mapping[str, float], *, step: int) -> None:
        """Keep the values of one step."""
        ...


class Silent:
    """A log that keeps nothing."""

    def metrics(self, values: Mapping[str, float], *, step: int) -> None:
        """Drop the values."""
