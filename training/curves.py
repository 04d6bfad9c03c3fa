"""The metrics of a run by epoch: passed on to MLflow, and drawn at the end."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from recsys.tracking import Run


@dataclass(slots=True)
class Recorder:
    """Passes metrics on to MLflow and keeps them for the curves."""

    run: Run
    history: dict[str, list[tuple[int, float]]] = field(default_factory=dict)

    def metrics(self, values: Mapping[str, float], *, step: int) -> None:
        """Keep and log the values of one step."""
        for name, value in values.items():
            self.history.setdefault(name, []).append((step, value))
        self.run.metrics(values, step)


def draw_curves(recorder: Recorder) -> None:
    """Log curves.png: each metric over the epochs; nothing where no metric has two points."""
    lines = {name: points for name, points in recorder.history.items() if len(points) > 1}
    if not lines:
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 2.5 * len(lines)), layout="constrained")
    for number, (name, points) in enumerate(lines.items(), start=1):
        axes = figure.add_subplot(len(lines), 1, number)
        axes.plot([step for step, _ in points], [value for _, value in points], marker="o")
        axes.set(xlabel="epoch", ylabel=name)
    recorder.run.figure(figure, "curves.png")
