"""The error that a user's mistake raises, wherever it is found."""

from __future__ import annotations


class UsageError(Exception):
    """A mistake in what the user asked for: one line with what was given, what was expected, and the repair."""
