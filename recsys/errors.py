"""Every error that the project raises on purpose.

RecsysError                   one line: what was found, what was expected, what to do
├── UsageError                the command line or the request is wrong            exit code 2
├── ShopError                 a shop folder breaks the input contract
├── SnapshotError             a snapshot is missing, damaged or of another format
│   └── NothingToLearnError   a snapshot is whole, and holds too little for a training
├── BundleError               a bundle is incomplete, altered or of another format
├── IndexMismatchError        an index does not belong to this bundle or catalogue
├── RegistryError             the model registry has no such version or refuses the step
│   └── LowParityError        features were not served as training knew them, so that nothing is promoted
├── TrackingError             the MLflow server can't be reached or refuses the call
├── ClusterError              a Ray cluster can't be reached, or lost the work
├── StorageError              the disk is full or not writable
└── MissingDependencyError    an optional package is needed and not installed

Everything but UsageError ends a command with exit code 1.
"""

from typing import ClassVar


class RecsysError(Exception):
    """An error that speaks to the person on call.

    Args:
        found: what was found, with the name and place of the culprit.
        expected: what would have been right.
        action: the next thing to do, a command where there is one.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, found: str, *, expected: str, action: str) -> None:
        self.found = found
        self.expected = expected
        self.action = action
        super().__init__(f"{found}; expected {expected}; {action}")


class UsageError(RecsysError):
    """The command line or the request is wrong."""

    exit_code: ClassVar[int] = 2


class ShopError(RecsysError):
    """A shop folder breaks the input contract."""


class SnapshotError(RecsysError):
    """A snapshot is missing, damaged or of another format."""


class NothingToLearnError(SnapshotError):
    """A snapshot is whole, and holds too little for what was to be learned; a night goes on without it."""


class BundleError(RecsysError):
    """A bundle is incomplete, altered or of another format."""


class IndexMismatchError(RecsysError):
    """An index does not belong to this bundle or catalogue."""


class RegistryError(RecsysError):
    """The model registry has no such version or refuses the step."""


class LowParityError(RegistryError):
    """Features were not served as training knew them, so that nothing is promoted."""


class TrackingError(RecsysError):
    """The MLflow server can't be reached or refuses the call."""


class ClusterError(RecsysError):
    """A Ray cluster can't be reached, or lost the work."""


class StorageError(RecsysError):
    """The disk is full or not writable."""


class MissingDependencyError(RecsysError):
    """An optional package is needed and not installed."""
