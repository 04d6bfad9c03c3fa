"""What the last replay of served features found, kept by shop, and whether a model may be promoted over it.

The replay itself is `feature_store.served_log`; what it keeps is read here, so that promotion needs the core alone.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys.errors import LowParityError, RegistryError
from recsys.settings import Settings

LEAST = 0.999
"""The least share of equal values of each feature with which a model may be promoted."""


@dataclass(frozen=True, slots=True)
class KeptParity:
    """What is kept of a replay.

    Attributes:
        at: when it was made, ISO 8601 with zone.
        rows: how many served rows were compared.
        shares: by feature the share of values that were served as they were known, from 0 to 1.
    """

    at: str
    rows: int
    shares: Mapping[str, float]

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "KeptParity":
        """Out of the kept JSON; KeyError, TypeError, ValueError or AttributeError where it is none."""
        shares = {one["name"]: float(one["share"]) for one in content["features"]}
        if not all(0 <= share <= 1 for share in shares.values()):
            raise ValueError("a share is from 0 to 1")
        return cls(str(content["at"]), int(content["rows"]), shares)

    @property
    def low(self) -> dict[str, float]:
        """The features below LEAST and their shares, the lowest first."""
        return dict(sorted(((name, one) for name, one in self.shares.items() if one < LEAST), key=by_share))

    def as_json(self) -> dict[str, Any]:
        """The figures for machines."""
        return {"at": self.at, "rows": self.rows, "shares": dict(self.shares), "low": list(self.low)}

    def told(self) -> str:
        """The figures in one line."""
        if self.low:
            return f"{named_shares(self.low)} of {self.rows:,} served rows as known then, below {LEAST:.1%} ({self.at})"
        return f"every feature reaches {LEAST:.1%} over {self.rows:,} served rows ({self.at})"


def by_share(one: tuple[str, float]) -> float:
    """What features are ordered by."""
    return one[1]


def named_shares(shares: Mapping[str, float]) -> str:
    """Features with their shares in words, rounded down: what is below a limit never reads like it."""
    return ", ".join(f"{name} {int(share * 100_000) / 1_000:.3f}%" for name, share in shares.items())


def read_parity(settings: Settings, *, shop: str) -> KeptParity | None:
    """What the last replay of a shop found; None where there was none.

    Raises:
        RegistryError: what is kept can't be read.
    """
    file = settings.parity(shop)
    try:
        return KeptParity.of(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RegistryError(f"{file} can't be read", expected="what a replay has kept", action=again(file)) from error


def again(file: Path) -> str:
    """What to do about a damaged file."""
    return f"run `recsys table parity SHOP` again, or remove {file.name} if the shop serves no online features"


def refuse_low(kept: KeptParity | None) -> None:
    """Let a promotion go on where nothing was measured, or every feature was served as it was known.

    Raises:
        LowParityError: a feature is below LEAST.
    """
    if kept is not None and kept.low:
        raise LowParityError(
            f"served features were not those known then: {named_shares(kept.low)} of {kept.rows:,} rows ({kept.at})",
            expected=f"at least {LEAST:.1%} equal values for each feature",
            action="mend the online side, let the service log requests and run `recsys table parity SHOP` again, "
            "or promote with --no-parity REASON",
        )
