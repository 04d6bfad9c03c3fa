"""What `recsys table parity --json` said, as a condition of a promotion; read here, so that it needs the core alone."""

import json
from pathlib import Path

from recsys.errors import RegistryError, UsageError
from recsys.parity import LEAST, named_shares


def refuse_low_parity(file: Path | None) -> None:
    """Let a promotion go on only where every feature was served as it was known.

    The shares decide, not the report's own verdict: that was given by whatever `--least` it was made with, which may be
    stricter than LEAST and never laxer.

    Args:
        file: the report; None asks for nothing.

    Raises:
        UsageError: it is no such report, or nothing was compared in it.
        RegistryError: a feature is below the least share.
    """
    if file is None:
        return
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        shares = {one["name"]: float(one["share"]) for one in report["features"]}
        least = max(LEAST, float(report["least"]))
        if not shares or not all(0 <= one <= 1 for one in (*shares.values(), least)):
            raise ValueError("shares of features, from 0 to 1")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"--parity {file}", expected="a report of `recsys table parity SHOP --log FILE --json`", action="make one"
        ) from error
    if low := {name: share for name, share in shares.items() if share < least}:
        raise RegistryError(
            f"served features were not those known then: {named_shares(low)}",
            expected=f"at least {least:.1%} equal values for each feature",
            action="mend the online side, log requests anew and run `recsys table parity` again",
        )
