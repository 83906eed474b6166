"""What tells one training from others, and how it is carried out: all that `fit` is given beside the live objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunSpec:
    """One run.

    Args:
        folder: the run's own folder; see `records.runs`.
        name: of the run, in its record; empty: the folder's.
        choices: the option of each config group; kept in the record.
        seed: what `fit` seeds the random generators with; kept in the record.
        config: the whole config; kept in the record.
        overrides: what the user typed, as typed.
        loggers: make further loggers, given `save_dir`.
        progress: show a bar with the time left.
        resume_from: an earlier run's folder, or its checkpoint: train on from there to the trainer's limits. That run
            is left as it is; the tables of this one continue its.
        stop_when_solved: end training at the first validation that finds the task solved, by its own rule.
    """

    folder: Path
    name: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)
    overrides: Sequence[str] = ()
    loggers: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    progress: bool = False
    resume_from: Path | None = None
    stop_when_solved: bool = False
