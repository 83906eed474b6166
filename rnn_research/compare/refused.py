"""How a comparison refuses what was asked of it: one line with what was given, what was expected, and the repair."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rnn_research import checks
from rnn_research.errors import UsageError


class NothingToCompare(UsageError, ValueError):
    """What was asked for can't be had: the message says what was given, what was expected, and the repair."""


def choice(name: str, given: str, expected: Sequence[str], near: Iterable[str] = ()) -> str:
    """What is said of a mistake: what was expected, and what of that (or of `near`) is nearest to what was given."""
    listed = ", ".join(expected[:20]) + (", …" if len(expected) > 20 else "")
    suggestion = checks.nearest(given, near or expected)
    return (
        f"{name}: given {given}, expected one of {listed}{suggestion}"
        if expected
        else f"{name}: given {given}, but no run has any"
    )
