"""What `recsys nightly` is asked to do, checked before any work begins."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal, cast, get_args

from recsys.errors import UsageError
from serving.learning import STAGES

Training = Literal["due", "always", "never"]


@dataclass(frozen=True, slots=True)
class NightlyJob:
    """What one night is to do.

    Attributes:
        shop: the folder of raw tables.
        out: the folder of all nights.
        night: the date; None takes the day of the shop's newest event.
        k: recommendations for each user.
        train: whether stages are trained when due, always or never.
        days: a stage is due when its data is so many days old.
        anew_days: a stage that can go on from its newest model does so when it is due, until the data of the last
            training from the beginning is so many days old; 0 always learns anew.
        only: the stages that may be trained; empty allows all that the data supports.
        skip: the stages that may not be trained, though the data supports them.
        once: the stages that learn once, without the refit on the newest days that their settings were chosen on.
        options: for each stage the `name=value` settings of `recsys train`.
    """

    shop: Path
    out: Path
    night: date | None = None
    k: int = 20
    train: Training = "due"
    days: float = 7.0
    anew_days: float = 0.0
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    once: tuple[str, ...] = ()
    options: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def wants(self, stage: str) -> bool:
        """True where the stage may be trained."""
        return stage not in self.skip and (not self.only or stage in self.only)


def read_job(
    shop: Path,
    *,
    out: Path,
    night: date | None,
    k: int,
    train: str,
    days: float,
    anew_days: float = 0.0,
    only: Sequence[str],
    skip: Sequence[str],
    once: Sequence[str] = (),
    options: Sequence[str],
    engine: str,
) -> NightlyJob:
    """The job that a command line asks for; UsageError where a word of it is unknown."""
    one_of("--engine", engine, ("local",))
    one_of("--train", train, get_args(Training))
    settings: dict[str, tuple[str, ...]] = {}
    for name, stages in (("--only", only), ("--skip", skip), ("--no-refit", once)):
        for stage in stages:
            one_of(name, stage, STAGES)
    for option in options:
        stage, dot, setting = option.partition(".")
        if not dot or "=" not in setting:
            raise UsageError(
                f"--set {option}", expected="STAGE.NAME=VALUE, as two-tower.epochs=5", action="correct the option"
            )
        one_of(f"--set {option}", stage, STAGES)
        settings[stage] = (*settings.get(stage, ()), setting)
    return NightlyJob(
        shop=shop,
        out=out,
        night=night,
        k=k,
        train=cast(Training, train),
        days=days,
        anew_days=anew_days,
        only=tuple(only),
        skip=tuple(skip),
        once=tuple(once),
        options=settings,
    )


def one_of(option: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse a value that is not among the allowed ones."""
    if value not in allowed:
        raise UsageError(f"{option}: {value!r}", expected=f"one of {', '.join(allowed)}", action="see --help")
