"""TOML files that people write, read so that whatever is wrong with one is told in a few words."""

import sys
import tomllib
from pathlib import Path
from typing import Any


def read_toml(file: Path) -> dict[str, Any] | None:
    """What a TOML file says; a byte order mark, which some editors write, is passed over.

    Returns:
        None where there is no such file.

    Raises:
        ValueError: it is a link to nothing, can't be read or is no TOML: which of them, in words that follow its name.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError) as error:
        if file.is_symlink():
            raise ValueError(f"is a link to {file.readlink()}, where no file is") from error
        return None
    except OSError as error:
        raise ValueError(f"can't be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"is no TOML: {error}") from error
    except RecursionError as error:
        raise ValueError("can't be read: too many brackets within brackets") from error
    except ValueError as error:  # all that is left of what tomllib lets through
        most = sys.get_int_max_str_digits()
        raise ValueError(f"can't be read: a whole number of more than {most} digits") from error
