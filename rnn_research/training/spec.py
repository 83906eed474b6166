"""What tells one training from others, and how it is carried out: all that `fit` is given beside the live objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rnn_research.checks import integer, number


@dataclass(frozen=True)
class StopWhen:
    """End training at the validation that is the `patience`-th in a row without a better value.

    Args:
        metric: of the validation set; see `datasets.task.less_is_better`.
        patience: validations without a better value.
        min_delta: a value is better where it is so by more than this.

    Raises:
        ValueError: patience < 1, or min_delta < 0.
    """

    metric: str
    patience: int = 10
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        integer("stop_when_patience", self.patience)
        number("stop_when_min_delta", self.min_delta, least=0.0)


@dataclass(frozen=True)
class Pruning:
    """End training at a validation at which no value so far is as good as a bound: see `cli.pruning`.

    Args:
        metric: of the validation set.
        bounds: step -> the bound; none where others were not measured.
        maximised: whether more is better.
    """

    metric: str
    bounds: Mapping[int, float]
    maximised: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any] | None) -> Pruning | None:
        """As the queue of a sweep has it."""
        return None if given is None else cls(given["metric"], given["bounds"], given["maximised"])

    def ends(self, values: Sequence[tuple[int, float]]) -> bool:
        """Whether the last of these values, each with its step, is one to end at."""
        bound = self.bounds.get(values[-1][0]) if values else None
        if bound is None:
            return False
        best = (max if self.maximised else min)(value for _, value in values)
        return best < bound if self.maximised else best > bound


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
        go_on: the folder may hold this very run, stopped or killed earlier: train on from its checkpoint there, or from
            the start where none can be read. It leaves what it would have left undisturbed.
        resume_from: an earlier run's folder, or its checkpoint: train on from there to the trainer's limits. That run
            is left as it is; the tables of this one continue its.
        stop_when_solved: end training at the first validation that finds the task solved, by its own rule.
        stop_when: end training where a metric gets no better; None: never.
        prune: end training where others of a study were better; None: never.
        keep_best: the validation metric by which the best weights are kept, in `best.ckpt`, and measured after
            training; "auto": the task's own (`Task.monitor`), where it has one; None: the last weights are measured.
        extends: a shorter run of the same training, that is done: go on from it where that can be, else from the start.
        folders: the user's own, whose code the record tells from others.
        checkpoint_every: seconds between checkpoints; None: as `CheckpointWriter` has it.
    """

    folder: Path
    name: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)
    overrides: Sequence[str] = ()
    loggers: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    progress: bool = False
    go_on: bool = False
    resume_from: Path | None = None
    extends: Path | None = None
    folders: Sequence[Path] = ()
    stop_when_solved: bool = False
    stop_when: StopWhen | None = None
    prune: Pruning | None = None
    keep_best: str | None = "auto"
    checkpoint_every: float | None = None
