"""Every exception that embedpipe raises on purpose.

    EmbedpipeError
    ├── DocumentError        a file or page cannot be read; in a batch it becomes a failure row
    ├── UsageError           what was asked for cannot be right: options that do not go together, values out of range
    │   └── UnknownNameError a name that is in none of the tables; lists the known ones and the nearest
    ├── SpaceMismatchError   features of two spaces would have been mixed; says both identities
    ├── ArtifactError        an artifact is missing, incomplete, damaged, or from a newer version
    │   └── BusyError        another process writes there now; the same call may do later
    ├── WeightsError         weights are missing, or are not those of the network
    ├── NetworkError         a network does not take some pages; in a batch they become failure rows
    └── LabelsError          the labels do not allow what was asked

Each message is one line that says what to do. `commands.base.main` is the only place that catches them.
"""

import difflib
from collections.abc import Iterable

_LONGEST = 100  # characters of a name that are compared with the known ones


class EmbedpipeError(Exception):
    """Base of all errors that the user can do something about."""


class DocumentError(EmbedpipeError):
    """A file or a page cannot be read.

    Attributes:
        kind: The outcome that is recorded, one of `records.FAILURES`.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind

    def __reduce__(self) -> tuple[type["DocumentError"], tuple[str, str]]:
        """How it comes out of a worker process: the usual way takes the message for all that there is."""
        return type(self), (self.kind, str(self))


class UsageError(EmbedpipeError):
    """What was asked for cannot be right, whatever the documents are; on the command line exit code 2, not 1."""


class UnknownNameError(UsageError):
    """A name is in none of the tables.

    Args:
        what: What the name stands for, e.g. "backbone".
        name: The name that was asked for.
        known: The names that exist.
    """

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        nearest = difflib.get_close_matches(name[:_LONGEST], names, n=3, cutoff=0.5)  # its time grows with the square
        hint = f"did you mean {' or '.join(nearest)}? " if nearest else ""
        listing = ", ".join(names[:40]) if names else "none yet"
        super().__init__(f"unknown {what} {name!r}: {hint}known: {listing}")


class SpaceMismatchError(EmbedpipeError):
    """Features of two different spaces would have been compared.

    Args:
        what: The artifact that was refused, e.g. "classifier svm".
        expected: The identity that the artifact was made for.
        found: The identity that it was to be used with.
    """

    def __init__(self, what: str, expected: object, found: object) -> None:
        super().__init__(f"{what} belongs to {expected}, not to {found}; fit or build it again for that space")


class ArtifactError(EmbedpipeError):
    """An artifact is missing, incomplete, damaged, or written by a newer version."""


class BusyError(ArtifactError):
    """Another process writes there now: the same call may succeed once it has ended."""


class WeightsError(EmbedpipeError):
    """Weights cannot be found, or do not fit the network."""


class NetworkError(EmbedpipeError):
    """A network cannot work on the pages that it was given: there are too few pixels, or too many for the memory."""


class LabelsError(EmbedpipeError):
    """There are too few labels, or they contradict each other."""
