"""What a data set says of itself: the sizes, what is predicted, and when a run counts as solved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SPLITS = ("train", "val", "test")
LESS_IS_BETTER = ("loss", "bits", "perplexity", "mse")
"""Metrics of which less is better, of all positions (`position_...`) too; of all others more is."""


def less_is_better(metric: str) -> bool:
    """Whether the smaller of two values of a metric is the better one."""
    return metric.removeprefix("position_") in LESS_IS_BETTER


@dataclass(frozen=True)
class SolvedCriterion:
    """When a run counts as solved: the validation set's `metric` is at least `bound` (`above`), or below it."""

    metric: str
    bound: float
    above: bool = True

    @property
    def of_positions(self) -> bool:
        """Whether it judges every labelled position, which has no meaning where the model does not learn from them."""
        return self.metric.startswith("position_")

    def met(self, value: float) -> bool:
        """Whether a value of the metric solves the task; NaN does not."""
        return value >= self.bound if self.above else value < self.bound


@dataclass(frozen=True)
class Task:
    """What a model must know of the data.

    Attributes:
        kind: what the targets are.
        input_size: the features of a step; where `tokens`, the size of the vocabulary, with the empty token 0 counted.
        output_size: the classes, or the regression targets.
        tokens: whether inputs are token numbers.
        max_children: the most children of a node in the data's parses; None where the data have no parse.
        step_targets: whether every step has a label.
        tree_targets: whether every node of a parse has a label.
        tolerance: an answer within this absolute distance counts as correct (regression).
        success: when a run counts as solved; None where the literature has no rule.
        monitor: the validation metric by which `keep_best=auto` chooses the weights that are measured after training
            (see `less_is_better`), such as "loss" or "accuracy"; None: they are the last ones.
    """

    kind: Literal["classification", "regression"]
    input_size: int
    output_size: int
    tokens: bool = False
    max_children: int | None = None
    step_targets: bool = False
    tree_targets: bool = False
    tolerance: float | None = None
    success: SolvedCriterion | None = None
    monitor: str | None = None

    @property
    def has_parse(self) -> bool:
        """Whether every sample has a tree of its own."""
        return self.max_children is not None
