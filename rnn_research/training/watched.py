"""Metrics of the validation set that decide how training goes on, and which of its weights are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rnn_research.checks import choice
from rnn_research.datasets.base import Task
from rnn_research.datasets.task import less_is_better
from rnn_research.models.model import Model
from rnn_research.training.spec import RunSpec


@dataclass
class BestValue:
    """The best value of a metric so far, by `less_is_better`.

    Args:
        metric: of the validation set.
        min_delta: a value is better where it is so by more than this.
        value: None before the first one.
        missed: the validations since, without a better one.
    """

    metric: str
    min_delta: float = 0.0
    value: float | None = None
    missed: int = 0

    def look(self, value: float) -> bool:
        """Whether one more value is the best so far, which is kept then. NaN never is."""
        gain = 0.0 if self.value is None else (self.value - value) * (1 if less_is_better(self.metric) else -1)
        better = value == value and (self.value is None or gain > self.min_delta)
        self.value, self.missed = (value, 0) if better else (self.value, self.missed + 1)
        return better

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return vars(self).copy()

    def go_on(self, state: dict[str, Any] | None) -> bool:
        """Go on from a `state`, if it is one of the same metric, by the same difference. Returns whether it is."""
        same = state is not None and all(state[key] == vars(self)[key] for key in ("metric", "min_delta"))
        if same and state is not None:
            self.value, self.missed = state["value"], state["missed"]
        return same


def monitored(keep_best: str | None, task: Task) -> str | None:
    """The metric by which the best weights are chosen, `auto` being the task's own; None: the last ones are taken."""
    return task.monitor if keep_best == "auto" else keep_best


def check_watched(model: Model, run: RunSpec) -> None:
    """Every metric that is looked at is one that a validation measures.

    Raises:
        ValueError: names the key, and what is measured.
    """
    asked = {
        "scheduler.metric": model.scheduler.metric,
        "stop_when": run.stop_when and run.stop_when.metric,
        "keep_best" if run.keep_best != "auto" else "monitor": monitored(run.keep_best, model.task),
    }
    for key, metric in asked.items():
        if metric is not None:
            choice(key, metric, model.tallies["val_"].names)
