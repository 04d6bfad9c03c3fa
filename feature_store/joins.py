"""Whether a join kept the rows that it was given: checked where both numbers are known or cheap to count."""

from recsys.errors import SnapshotError


def same_rows(found: int, wanted: int, *, of: str) -> None:
    """Compare how many rows there are with how many there have to be.

    Args:
        found: rows after a join.
        wanted: rows that went into it.
        of: what the rows are, for the message.

    Raises:
        SnapshotError: the join gave or lost rows.
    """
    if found != wanted:
        raise SnapshotError(
            f"{found:,} {of} after a join of {wanted:,}",
            expected="as many rows after a join as before it",
            action="report this: it is an error of the build, not of the shop",
        )
