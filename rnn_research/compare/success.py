"""Success against budget: how many runs of a condition solved their task, and after how many steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from rnn_research.records.runs import RunRecord
from rnn_research.statistics.censoring import MedianStep, reached_by
from rnn_research.statistics.intervals import Interval
from rnn_research.statistics.proportions import clopper_pearson


@dataclass(frozen=True, eq=False)
class Success:
    """The runs of a condition whose task says when it is solved.

    A run that ended unsolved is censored at its last step: what more steps had brought is not known. One that diverged
    would never have solved it, and stays among those that could have.
    """

    runs: int
    steps: tuple[int, ...]
    """Of the runs that solved the task, the steps at which they did, ascending."""
    censored: tuple[int, ...]
    """Of the runs that ended unsolved and did not diverge, their last steps, ascending."""
    step: Float[np.ndarray, " point"]
    share: Float[np.ndarray, " point"]
    """The share of runs solved by each step, a step function from 0 to the longest run's end: Kaplan and Meier's
    estimate, where runs were censored before the end."""
    low: Float[np.ndarray, " point"]
    high: Float[np.ndarray, " point"]
    """The ends of the share's 95% interval at each step (`censoring.reached_by`); NaN of fewer than 3 runs."""
    median: MedianStep
    """By which half of all runs had solved it, with its interval; infinite where half never had."""

    @property
    def solved(self) -> int:
        return len(self.steps)

    @property
    def share_solved(self) -> Interval:
        """The share of runs that solved the task, with Clopper and Pearson's exact interval: 3 of 3 is from .29."""
        found = clopper_pearson(self.solved, self.runs)
        assert found is not None
        return found

    def share_at(self, step: float) -> float:
        """The share of runs solved by a step."""
        return float(self.share[np.searchsorted(self.step, step, side="right") - 1])


def rule(record: RunRecord) -> str:
    """A record's rule in words, such as `validation accuracy ≥ 0.99`; empty where it has none."""
    success = record.success
    if not success:
        return ""
    sign = "≥" if success.get("above", True) else "<"
    return f"validation {str(success.get('metric')).replace('_', ' ')} {sign} {success.get('bound'):g}"


def success(records: Sequence[RunRecord]) -> Success | None:
    """What the runs of a condition say of success; None where no task says when it is solved."""
    judged = [record for record in records if record.success]
    if not judged:
        return None
    steps = sorted(int(record.success["step"]) for record in judged if record.success.get("step") is not None)
    unsolved = [record for record in judged if record.success.get("step") is None]
    censored = sorted(record.steps for record in unsolved if record.status != "diverged")
    at_risk_for_good = len(unsolved) - len(censored)
    reached = reached_by(steps, censored, at_risk_for_good)
    assert reached is not None
    end = max(record.steps for record in judged)
    longer = [end] if reached.step[-1] < end else []
    share, low, high = (
        np.append(line, line[-1:]) if longer else line for line in (reached.share, reached.low, reached.high)
    )
    step = np.append(reached.step, longer)
    return Success(len(judged), tuple(steps), tuple(censored), step, share, low, high, reached.median)
