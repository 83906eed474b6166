"""Pruning in a study: a trial ends at a validation at which it is worse than the median of the trials before it.

As Optuna's MedianPruner has it, but by the trials that were told before this one began: what they had come to at each
step is written into the queue with the run. So it needs neither Optuna nor a server where the run is trained, and a run
that was killed and goes on ends where it would have ended.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from rnn_research.cli.study_options import StudyOptions
from rnn_research.records.metrics_file import values_at_validations

if TYPE_CHECKING:
    from optuna.storages import BaseStorage  # pyright: ignore[reportMissingImports]
    from optuna.trial import FrozenTrial  # pyright: ignore[reportMissingImports]

PRUNED = "pruned"
"""In what a record says that a run actually did: the step at which it was."""


def rule(asked: StudyOptions, complete: Sequence[FrozenTrial]) -> dict[str, Any] | None:
    """When the next trials end before their limits, as it is written into the queue; None where they don't.

    Args:
        complete: the trials that were trained to their end.
    """
    if asked.pruner == "none" or len(complete) < asked.pruner_trials:
        return None
    at_step = defaultdict[int, list[float]](list)
    for trial in complete:
        for step, value in trial.intermediate_values.items():
            if value == value and step >= asked.pruner_steps:
                at_step[step].append(value)
    bounds = {step: median(values) for step, values in sorted(at_step.items())}
    return {"metric": asked.metric.partition("_")[2], "maximised": asked.maximised, "bounds": bounds}


def report(storage: BaseStorage, number: int, folder: Path, asked: StudyOptions) -> None:
    """Let Optuna know what a trial came to at each validation."""
    study = storage.get_study_id_from_name("study")
    trial = storage.get_trial_id_from_study_id_trial_number(study, number)
    with contextlib.suppress(ValueError):  # the metric is not in the runs, which is told for itself
        for step, value in values_at_validations(folder, asked.metric.partition("_")[2]):
            storage.set_trial_intermediate_value(trial, step, value)
