"""The errors that a user's mistake raises, wherever it is found."""

from __future__ import annotations


class UsageError(Exception):
    """A mistake in what the user asked for: one line with what was given, what was expected, and the repair. A line's
    end in a value is written as a code: what stands behind it can't pass for a line of its own."""

    def __init__(self, *said: object) -> None:
        super().__init__(*(one.replace("\n", "\\n") if isinstance(one, str) else one for one in said))


class Incompatible(UsageError):
    """Options that are each right, and can't work together: a sweep over both leaves the pair out."""


class FolderInUse(UsageError):
    """The output folder holds a run, or another process trains there. The message opens with the folder."""
