"""An engine whose stages are measured: each answers through a thin shell that tells how long it took."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

from recsys.engine.engine import Engine

Observe = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Timed:
    """A stage that behaves as the one inside, and tells the seconds of some of its methods.

    Attributes:
        inner: the stage.
        methods: by method, the stage's name in the figures.
        observe: is told name and seconds of each call.
    """

    inner: Any
    methods: Mapping[str, str]
    observe: Observe

    def __getattr__(self, name: str) -> Any:
        """The attribute of the stage inside; a measured method comes with its clock."""
        value = getattr(self.inner, name)
        if name not in self.methods:
            return value

        def measured(*given: Any, **named: Any) -> Any:
            begun = perf_counter()
            try:
                return value(*given, **named)
            finally:
                self.observe(self.methods[name], perf_counter() - begun)

        return measured


def timed(engine: Engine, *, observe: Observe) -> Engine:
    """The same engine with its search stages and recommenders measured."""
    finder, recommendations = engine.finder, engine.recommendations
    ladder = recommendations.ladder

    def shell(inner: Any, **methods: str) -> Any:
        return None if inner is None else Timed(inner, methods, observe)

    return replace(
        engine,
        finder=replace(
            finder,
            lexical=shell(finder.lexical, retrieve="bm25"),
            dense=shell(finder.dense, encode="encode", search="dense"),
            ranker=shell(finder.ranker, score="cross-encoder"),
        ),
        recommendations=replace(
            recommendations,
            ladder=replace(
                ladder,
                personal=tuple(shell(one, recommend=one.name) for one in ladder.personal),
                popularity=shell(ladder.popularity, popular="popularity"),
            ),
        ),
    )
