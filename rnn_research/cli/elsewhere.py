"""What a sweep knows of a launcher whose workers are not of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rnn_research.sweeps.worker import Rules

if TYPE_CHECKING:
    from rnn_research.cli.sweeping import Sweep


class Elsewhere(Protocol):
    """A launcher whose workers are not of this machine."""

    def connect(self) -> None:
        """Raise a UsageError where it can start none."""
        ...

    def train(self, sweep: Sweep, rules: Rules, left: int) -> bool:
        """Train what is left of a sweep, so many runs. Returns whether that was waited for."""
        ...
