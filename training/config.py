"""Typed settings of a training run: defaults, then a TOML file, then `--set name=value`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from recsys.errors import UsageError
from recsys.toml import read_toml


def none_or_several(count: int) -> int:
    """A number of folds; of a single one nothing would be left to learn from."""
    if count == 1:
        raise ValueError("0, or 2 and more folds")
    return count


Folds = Annotated[int, Field(ge=0), AfterValidator(none_or_several)]


class FitConfig(BaseModel):
    """What every gradient-trained stage has in common.

    Attributes:
        epochs: passes over the training part; the learning-rate schedule spans all of them.
        batch_size: rows of one global batch, over all devices together.
        accumulate: batches whose gradients are summed into one optimiser step.
        precision: "auto" takes bfloat16 where the machine multiplies it in hardware, else float32.
        seed: of the weights, the order of the rows and dropout.
        patience: epochs without a better monitored metric before stopping; 0 never stops early.
        devices: processes, one for each GPU (or a share of the CPU).
        strategy: "ddp" for several devices.
        accelerator: "auto" takes a GPU where there is one.
        learning_rate: the highest one, after warm-up.
        warmup: share of all optimiser steps in which the learning rate rises, 0..1.
        weight_decay: of AdamW, on matrices only (not on biases and norms).
        clip: largest gradient norm; 0 does not clip.
        ema: decay of an exponential moving average of the weights, which is what is validated and kept; 0 keeps the
            weights of the last step. In [0, 1).
        checkpoint_steps: batches between two resume checkpoints inside an epoch; 0 saves at epoch ends only.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, allow_inf_nan=False)

    epochs: Annotated[int, Field(ge=1)] = 1
    batch_size: Annotated[int, Field(ge=1)] = 32
    accumulate: Annotated[int, Field(ge=1)] = 1
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: Annotated[int, Field(ge=0)] = 0
    patience: Annotated[int, Field(ge=0)] = 0
    devices: Annotated[int, Field(ge=1)] = 1
    strategy: Literal["auto", "ddp"] = "auto"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    warmup: Annotated[float, Field(ge=0, le=1)] = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    clip: Annotated[float, Field(ge=0)] = 1.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    checkpoint_steps: Annotated[int, Field(ge=0)] = 100


Config = TypeVar("Config", bound=BaseModel)


def read_config(kind: type[Config], *, file: Path | None = None, settings: Sequence[str] = ()) -> Config:
    """The typed settings of a stage.

    Args:
        kind: the stage's settings class, whose defaults apply where nothing else is said.
        file: a TOML file with the settings by name.
        settings: `name=value` texts, which win over the file.

    Raises:
        UsageError: unreadable file, unknown name, or a value of the wrong kind, each by name.
    """
    values = {**(read_file(file) if file else {}), **dict(split_setting(text) for text in settings)}
    unknown = sorted(set(values) - set(kind.model_fields))
    if unknown:
        known = ", ".join(kind.model_fields)
        raise UsageError(f"unknown setting {', '.join(unknown)}", expected=f"one of {known}", action="correct its name")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        faults = error.errors()
        name = place(faults[0]["loc"], values)
        expected = dict.fromkeys(plain(one["msg"]) for one in faults if place(one["loc"], values) == name)
        found = f"setting {name} = {shown(faults[0]['input'])}"
        raise UsageError(found, expected=" or ".join(expected), action="correct its value") from error


def place(location: Sequence[str | int], values: Mapping[str, Any]) -> str:
    """The setting that is wrong, and where in it.

    Args:
        location: pydantic's; of a union it also names the branches, which say nothing to anyone who set a value.
        values: by name what was set.
    """
    if not location:
        return "the settings"
    names = [str(location[0])]
    inside: Any = values.get(names[0])
    for part in location[1:]:
        if part in (inside if isinstance(inside, dict) else range(len(inside)) if isinstance(inside, list) else ()):
            names.append(str(part))
            inside = inside[part]
    return ".".join(names)


def shown(value: object) -> str:
    """A value as it was set."""
    try:
        return repr(value)
    except ValueError:  # Python writes no whole number of more than some thousand digits
        return "a whole number of thousands of digits"


def read_file(path: Path) -> dict[str, Any]:
    """The settings in a TOML file."""
    try:
        found = read_toml(path)
    except ValueError as error:
        raise UsageError(f"{path} {error}", expected="TOML, one `name = value` a line", action="correct it") from error
    if found is None:
        raise UsageError(f"no file {path}", expected="a TOML file of settings", action="check the path")
    return found


def split_setting(text: str) -> tuple[str, Any]:
    """Name and value of `name=value`; the value is read as JSON where it is JSON, else as text."""
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        raise UsageError(f"--set {text}", expected="--set name=value", action="write the name, = and the value")
    try:
        return name.strip(), json.loads(value)
    except (ValueError, RecursionError):  # no JSON, or numbers and brackets without an end
        return name.strip(), value.strip()


def plain(message: str) -> str:
    """A validation message as the end of "expected ..."."""
    text = message.removeprefix("Input should be ").removeprefix("Value error, ")
    return text[:1].lower() + text[1:]
