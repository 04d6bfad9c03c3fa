"""What `recsys table parity --json` said, as a condition of a promotion; read here, so that it needs the core alone."""

import json
from pathlib import Path

from recsys.errors import RegistryError, UsageError


def refuse_low_parity(file: Path | None) -> None:
    """Let a promotion go on only where every feature was served as it was known.

    Args:
        file: the report; None asks for nothing.

    Raises:
        UsageError: it is no such report.
        RegistryError: a feature is below the least share.
    """
    if file is None:
        return
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        shares = {one["name"]: float(one["share"]) for one in report["features"]}
        failed, least = list(report["failed"]), float(report["least"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"--parity {file}", expected="a report of `recsys table parity SHOP --log FILE --json`", action="make one"
        ) from error
    if failed:
        told = ", ".join(f"{name} {shares.get(name, 0.0):.3%}" for name in failed)
        raise RegistryError(
            f"served features were not those known then: {told}",
            expected=f"at least {least:.1%} equal values for each feature",
            action="mend the online side, log requests anew and run `recsys table parity` again",
        )
