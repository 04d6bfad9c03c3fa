"""Settings: defaults < file < command line, and each mistake by its name."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from recsys.errors import UsageError
from training.blender.config import BlenderConfig
from training.calibration.config import CalibrationConfig
from training.config import FitConfig, read_config
from training.relevance.config import RelevanceConfig


def test_the_command_line_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('epochs = 5\nlearning_rate = 2e-5\nprecision = "fp32"\n')
    config = read_config(FitConfig, file=file, settings=["epochs=7", "warmup=0.5"])
    assert (config.epochs, config.learning_rate, config.precision, config.warmup) == (7, 2e-5, "fp32", 0.5)
    assert config.batch_size == FitConfig().batch_size


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("freeze_embeddings=false", "freeze_embeddings", False),
        ("layers=null", "layers", None),
        ("layers=2", "layers", 2),
        ("backbone=owner/model@v1", "backbone", "owner/model@v1"),
        ("backbone=12", "backbone", "12"),
        (" pooling = first ", "pooling", "first"),
    ],
)
def test_values_are_read_as_what_they_look_like(text: str, name: str, value: object) -> None:
    assert getattr(read_config(RelevanceConfig, settings=[text]), name) == value


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["epoch=3"], "unknown setting epoch; expected one of epochs, batch_size, .*; correct its name"),
        (["zeta=3", "alpha=1"], "unknown setting alpha, zeta"),
        (["epochs=0"], "setting epochs = 0; expected greater than or equal to 1; correct its value"),
        (["epochs=many"], "setting epochs = 'many'; expected a valid integer"),
        (["precision=fp16"], "setting precision = 'fp16'; expected 'auto', 'fp32' or 'bf16'"),
        (["epochs"], "--set epochs; expected --set name=value"),
        (["=3"], "--set =3; expected --set name=value"),
    ],
)
def test_a_mistake_is_named(settings: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_config(FitConfig, settings=settings)


@pytest.mark.parametrize(
    ("kind", "setting", "message"),
    [
        (CalibrationConfig, "feedback=nan", "setting feedback = 'nan'; expected a finite number or 'auto'; correct"),
        (
            CalibrationConfig,
            "feedback=-1",
            "setting feedback = -1; expected greater than or equal to 0 or 'auto'; corr",
        ),
        (CalibrationConfig, "fusion=foo", "setting fusion = 'foo'; expected 'score' or 'rank' or 'auto'; correct its"),
        (BlenderConfig, "rounds=[10, 0, -1]", "setting rounds.1 = 0; expected greater than or equal to 1; correct its"),
        (FitConfig, f"warmup={'9' * 5000}", "setting warmup = '9+'; expected .* number"),
        (FitConfig, f"warmup={'[' * 3000}", r"setting warmup = '\[+'; expected a valid number"),
    ],
    ids=lambda one: one[:20] if isinstance(one, str) else one.__name__,
)
def test_the_place_of_a_mistake_is_what_was_set(kind: type[BaseModel], setting: str, message: str) -> None:
    """Not the branch of a union that pydantic tried on it."""
    with pytest.raises(UsageError, match=message):
        read_config(kind, settings=[setting])


@pytest.mark.parametrize("kind", [RelevanceConfig, BlenderConfig, CalibrationConfig])
@pytest.mark.parametrize("value", ["Infinity", "1e400", "NaN"])
def test_numbers_are_finite(kind: type[BaseModel], value: str) -> None:
    """An endless threshold would make every product a bad match, an endless rate every weight no number."""
    name = "threshold" if kind is CalibrationConfig else "learning_rate"
    with pytest.raises(UsageError, match=f"setting {name} = .*; expected a finite number|greater than 0"):
        read_config(kind, settings=[f"{name}={value}"])


@pytest.mark.parametrize(("kind", "name"), [(RelevanceConfig, "held_out_folds"), (BlenderConfig, "folds")])
def test_one_fold_is_none(kind: type[BaseModel], name: str) -> None:
    """A single fold was taken for none by one stage, and left the other nothing to learn from."""
    with pytest.raises(UsageError, match=f"setting {name} = 1; expected 0, or 2 and more folds"):
        read_config(kind, settings=[f"{name}=1"])
    assert read_config(kind, settings=[f"{name}=2"]).model_dump()[name] == 2


def test_a_number_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f"warmup = 0x{'f' * 9000}")
    with pytest.raises(UsageError, match="setting warmup = a whole number of thousands of digits; expected"):
        read_config(FitConfig, file=file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no file .*; expected a TOML file"),
        (b"epochs 3", "expected TOML"),
        (b"a = '\xff'", "expected TOML"),
        (b"a = " + b"9" * 5000, "settings.toml can't be read: a whole number .*; expected TOML"),
    ],
)
def test_a_file_that_can_not_be_read_is_named(content: bytes | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_config(FitConfig, file=file)
