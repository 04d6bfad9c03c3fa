"""Where state lives."""

from pathlib import Path

import pytest

from recsys.errors import UsageError
from recsys.settings import load_settings


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_name_state_lives_in_a_folder_of_its_own(
    value: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RECSYS_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("RECSYS_HOME", value)
    assert load_settings().home == tmp_path / ".recsys"


def test_the_home_of_nobody_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_HOME", "~nobody-of-that-name/state")
    with pytest.raises(UsageError, match="no home folder of the user in ~nobody-of-that-name/state"):
        load_settings()
