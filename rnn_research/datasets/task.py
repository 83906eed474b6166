"""What a data set says of itself: the sizes, what is predicted, and when a run counts as solved."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self

import numpy as np

from rnn_research.checks import integer
from rnn_research.datasets.kept_types import check_arguments

SPLITS = ("train", "val", "test")
Kind = Literal["classification", "regression", "next_token", "sequence", "transcript"]
LARGEST_SIZE = 10**9
"""Of a vocabulary or an output that a run keeps: more numbers than that are no model's."""
LESS_IS_BETTER = ("loss", "bits", "perplexity", "mse", "character_error_rate")
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
        kind: what the targets are. `next_token`: at every step the token that comes next. `sequence`: a sequence of
            tokens, of a length of its own, which is written after the whole input is read. `transcript`: the symbols of
            what is read, in their order; at which steps they stand is not known.
        input_size: the features of a step; where `tokens`, the size of the vocabulary, with the empty token 0 counted.
        output_size: the classes, or the regression targets; of a `sequence` the tokens that may be written and the
            end, class 0; of a `transcript` the symbols and the blank, class 0.
        tokens: whether inputs are token numbers.
        max_children: the most children of a node in the data's parses; None where the data have no parse.
        step_targets: whether every step has a label.
        tree_targets: whether every node of a parse has a label.
        tolerance: an answer within this absolute distance counts as correct (regression).
        success: when a run counts as solved; None where the literature has no rule.
        classes: the names of the classes, in order; None: they have no names.
        class_weights: what the training loss of a label of each class is multiplied by; None: by 1.
        monitor: the validation metric by which `keep_best=auto` chooses the weights that are measured after training
            (see `less_is_better`), such as "loss" or "accuracy"; None: they are the last ones.
        vectors: pretrained vectors of the tokens, (input_size, features) float32, NaN in rows of tokens without one;
            None: there are none.
        vectors_frozen: whether training leaves these vectors as they are.
        frame: where a step is an image, its channels, height and width; inputs are bytes, (length, channels height
            width), in that order; None: it is none.
        characters: characters a token of train, val and test (next_token); None: a token is a character.
    """

    kind: Kind
    input_size: int
    output_size: int
    tokens: bool = False
    max_children: int | None = None
    step_targets: bool = False
    tree_targets: bool = False
    tolerance: float | None = None
    success: SolvedCriterion | None = None
    classes: tuple[str, ...] | None = None
    class_weights: tuple[float, ...] | None = None
    monitor: str | None = None
    vectors: np.ndarray | None = field(default=None, repr=False, compare=False)
    vectors_frozen: bool = False
    characters: tuple[float, float, float] | None = None
    frame: tuple[int, int, int] | None = None

    @property
    def writes(self) -> bool:
        """Whether the targets are sequences: `Sample.target_sequence`."""
        return self.kind in ("sequence", "transcript")

    @property
    def has_parse(self) -> bool:
        """Whether every sample has a tree of its own."""
        return self.max_children is not None

    def plain(self) -> dict[str, Any]:
        """The task in types that JSON has, to make a model for it elsewhere: without the vectors, which are weights of
        a model that was trained."""
        found = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("success", "vectors")}
        found["vectors_size"] = None if self.vectors is None else self.vectors.shape[1]
        return found

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Self:
        """The task that gave `plain`, with vectors of NaN where it had some.

        Raises:
            ValueError: it is no task's.
        """
        known = {one.name for one in fields(cls)}
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in plain.items() if key != "vectors"
        }
        arguments: dict[str, Any] = {key: value for key, value in values.items() if key in known}
        check_arguments(cls, arguments, "task")
        made, size = cls(**arguments), values.get("vectors_size")
        for name, number in (("input_size", made.input_size), ("output_size", made.output_size)):
            integer(name, number, most=LARGEST_SIZE)
        if made.classes is not None and len(made.classes) != made.output_size:
            raise ValueError(f"task: damaged ({len(made.classes)} classes have names, of {made.output_size})")
        if size is None:
            return made
        integer("vectors_size", size, most=LARGEST_SIZE // made.input_size)
        return replace(made, vectors=np.full((made.input_size, size), np.nan, dtype=np.float32))
