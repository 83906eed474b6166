"""The model: an architecture around cells, an objective, and what acts on training, as lightning's module.

Knows nothing of who observes it: a probe reads the `step` that it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from rnn_research.cells.base import Cell, Initialisation
from rnn_research.checks import choice
from rnn_research.clipping.base import Clipping, ClippingEffect, Composed
from rnn_research.clipping.module_mapping import ModuleMapping
from rnn_research.datasets.base import SPLITS, Task
from rnn_research.models.architectures import Architecture, Blueprint, automatic_architecture
from rnn_research.models.architectures.automatic import architecture_for_loss
from rnn_research.models.carried import CarriedStates
from rnn_research.models.counting import answers_to_samples, count_samples, count_steps
from rnn_research.models.metrics import RunningMetrics
from rnn_research.models.objective import objective_of
from rnn_research.models.schedules import NoSchedule, RateSchedule
from rnn_research.models.sizing import hidden_size_for
from rnn_research.models.step_table import StepTable
from rnn_research.models.training_step import TrainingStep
from rnn_research.models.unroller import Interventions, Unroller
from rnn_research.regularizers.base import Regularizer
from rnn_research.structures import Batch
from rnn_research.unroll import ENGINES, EngineChoice, LossScale, Record, Unrolled


class Model(LightningModule):
    """Reads a batch, folds cells along its structure, reads out and compares with targets.

    Args:
        task: the sizes of the data.
        cell: makes one layer's cell, given `input_size`, `initialise` and `max_children`.
        optimizer: makes the optimiser, given the parameters.
        clipping: the strategy applied to the gradient before each step of the optimiser, or inside backpropagation.
        initialise, max_children, num_layers, dropout, embedding_size, position_targets, tie_weights, pooling,
            input_dropout, output_dropout, bidirectional, frame_features: see `Blueprint`.
        loss: `terminal`: at the last step or root; `every`: the mean over all labelled positions; `auto`: as the
            architecture says.
        match_parameters: choose the cell's hidden size such that the model's parameter count is nearest to this.
        engine: what folds the cells; see `unroll.select`.
        regularizers: by name, what acts on training beside the loss.
        architecture: makes what stands around the cells, given a `Blueprint`.
        scheduler: how the learning rate goes on; None: it stays.

    Raises:
        ValueError: a value out of range, or an architecture or a `loss` that has no meaning with these batches.
    """

    def __init__(
        self,
        task: Task,
        cell: Callable[..., Cell],
        optimizer: Callable[..., torch.optim.Optimizer],
        clipping: Clipping,
        initialise: tuple[Initialisation, ...] = (),
        max_children: int = 1,
        num_layers: int = 1,
        dropout: float = 0.0,
        embedding_size: int = 64,
        loss: str = "auto",
        position_targets: bool = False,
        tie_weights: bool = False,
        match_parameters: int | None = None,
        engine: str = "auto",
        regularizers: Mapping[str, Regularizer] | None = None,
        architecture: Callable[[Blueprint], Architecture] = automatic_architecture,
        pooling: str = "last",
        input_dropout: float = 0.0,
        output_dropout: float = 0.0,
        scheduler: RateSchedule | None = None,
        bidirectional: bool = False,
        frame_features: int = 64,
    ) -> None:
        super().__init__()
        shared = (max_children, num_layers, dropout, embedding_size, position_targets, tie_weights)
        shared += (pooling, input_dropout, output_dropout, bidirectional, frame_features)
        blueprint = Blueprint(task, cell, initialise, *shared)
        make = architecture_for_loss(loss, architecture, task, position_targets)
        choice("engine", engine, ENGINES)
        if match_parameters is not None and tie_weights:
            raise ValueError(
                "tie_weights: given true beside match_parameters, which changes hidden_size alone; leave one"
            )
        if match_parameters is not None:
            blueprint = _sized(blueprint, make, match_parameters)
        self.task, self.clipping, self.optimizer = task, clipping, optimizer
        self.scheduler = scheduler or NoSchedule()
        self.objective, self.architecture = objective_of(task), make(blueprint)
        self.engine = engine
        self.engines: tuple[EngineChoice, ...] = ()
        self.cells: Any  # what torch says of a list's members is too little
        self.readout: Any
        for name, module in self.architecture.modules().items():
            setattr(self, name, module)
        self.tallies: Any = nn.ModuleDict({f"{split}_": self.running_metrics(split) for split in SPLITS})
        self.regularizers: Any = ModuleMapping(dict(regularizers or {}))
        self.answered: list[dict[str, Tensor]] = []
        """Of each batch of the set that was tested last, what each sample's answer was."""
        self.clipped = StepTable(*ClippingEffect._fields)
        self.regularized = StepTable(*self.regularizers)
        self.carried = CarriedStates()
        self._attached = False
        self._scale = LossScale()
        self._step: TrainingStep | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        """As torch's, which looks for a parameter or a module in every value and name, for the name of the hook that
        lightning is in some 60 times a step. What is plain and was plain stays where it is."""
        if name in self.__dict__ and not isinstance(value, Tensor | nn.Module):
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def attach(self, trees: bool | None = None) -> None:
        """Tell the strategies and regularizers what they act on, once, before training.

        Args:
            trees: whether the data are laid out as trees; None: not known.

        Raises:
            ValueError: one has no meaning there.
        """
        self.clipping.attach(list(self.cells), self.readout, trees)
        _attach_regularizers(self, trees)
        self._attached = True

    @property
    def strategies(self) -> list[Clipping]:
        """The clipping strategies, in order."""
        return list(_by_name(self.clipping).values())

    def success(self, stop: bool = False) -> dict[str, Any]:
        """The task's rule for when it is solved, as a run's record keeps it. See `Objective.success`."""
        return self.objective.success(self.tallies["val_"].names, self.architecture.learns_positions, stop)

    def setup(self, stage: str) -> None:
        if not self._attached:
            self.attach()

    def fold(self, batch: Batch, record: Record = False, acting: bool = False) -> Unrolled:
        """The states of every layer at every position of the batch, as the readout reads them.

        Args:
            acting: as in training, with what acts inside backpropagation.
        """
        inside = Interventions(self.clipping, self._scale) if acting and self.clipping.acts_inside else None
        return self._fold(batch, Unroller(self.engine, record, inside))

    def _fold(self, batch: Batch, unroller: Unroller, split: str = "") -> Unrolled:
        """`split`: whose streams the batch goes on with."""
        unroller.start = self.carried.before(split, batch) if split else None
        unrolled = self.architecture.fold(self, batch, unroller)
        if split:
            self.carried.keep(split, batch, unrolled)
        self.engines = tuple(layer.engine for part in unroller.parts.values() for layer in part.unrolled.layers)
        return unrolled

    def forward(self, batch: Batch) -> Tensor:
        """The answer to each sample: (batch, output_size)."""
        return self.architecture.answers(self, batch, self.fold(batch))

    @property
    def step(self) -> TrainingStep:
        """The optimiser's step that is being taken, or comes next."""
        if self._step is None:
            self._step = TrainingStep(self.clipping, self.regularizers, self._scale)
        return self._step

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        step = self.step
        step.forget()
        # `_trainer`: lightning's public `trainer` raises where there is none, as in a test or a notebook.
        if not step.window.batches and self._trainer is not None:
            step.window.full = self._trainer.accumulate_grad_batches
        number = self.global_step if self.regularizers else 0
        unroller = Unroller(self.engine, step.record, step.interventions, number)
        step.folded = self._fold(batch, unroller, "train")
        loss, labels, terminal = self._loss(batch, step.folded, "train")
        return step.take(unroller.parts, batch.inputs, loss, labels, terminal)

    def on_after_backward(self) -> None:
        self.step.after_backward(self.parameters())

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Apply the strategy: after accumulation and unscaling, once a step. What it did is kept in `clipped`."""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self.clipped.add(self.trainer.global_step, self.step.clip(parameters))

    def optimizer_step(self, *arguments: Any, **named: Any) -> None:
        step = self.step
        step.completes = True
        try:
            super().optimizer_step(*arguments, **named)
        finally:
            self._step = None
        if self.regularizers:
            number = self.trainer.global_step  # lightning counts this step later
            self.regularized.add(number, step.finish(number, self.readout.weight.new_full((), torch.nan)))

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        self._loss(batch, self._fold(batch, Unroller(self.engine), "val"), "val")

    def on_test_epoch_start(self) -> None:
        self.answered.clear()

    def test_step(self, batch: Batch, batch_index: int) -> None:
        unrolled = self._fold(batch, Unroller(self.engine), "test")
        if self.architecture.every_step:
            self.answered.append(count_steps(self, batch, unrolled, "test").of_samples())
            return
        self._loss(batch, unrolled, "test")
        self.answered.append(answers_to_samples(self, batch, unrolled))

    def _loss(self, batch: Batch, unrolled: Unrolled, split: str) -> tuple[Tensor, int, Tensor | None]:
        """The mean loss, the number of labels it is the mean of, and the summed loss of the answers where that is not
        all of it. Counts the batch in the split's metrics."""
        if self.architecture.every_step:
            steps = count_steps(self, batch, unrolled, split)
            return steps.mean, steps.labels, steps.terminal if self.step.recorded else None
        return count_samples(self, batch, unrolled, split)

    def running_metrics(self, split: str) -> RunningMetrics:
        """What is counted of a split, with nothing counted yet."""
        objective = self.objective
        positions = objective.position_metrics(split) if self.architecture.learns_positions else None
        return RunningMetrics(objective.answer_metrics(), positions, partial(objective.of_loss, split=split))

    def measured(self, split: str) -> dict[str, float]:
        """The loss and metrics of a split since they were last asked for; then they start anew."""
        return self.tallies[f"{split}_"].measured()

    def configure_optimizers(self) -> Any:
        made = self.optimizer(self.parameters())
        return self.scheduler.configured(made, lambda: self.trainer.estimated_stepping_batches)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        self.scheduler.updated(scheduler)


def _attach_regularizers(model: Model, trees: bool | None) -> None:
    """Tell each regularizer what it acts on. Raises a ValueError where one has no meaning there."""
    truncating = next((name for name, one in _by_name(model.clipping).items() if one.truncate is not None), None)
    model.architecture.check_acting(trees, truncating)
    for name, regularizer in model.regularizers.items():
        try:
            regularizer.attach(list(model.cells), trees)
        except ValueError as error:
            raise ValueError(f"regularizer={name}: {error}") from error
        if regularizer.needs_whole and truncating is not None:
            raise ValueError(
                f"regularizer={name}: reads how the gradient passes over the full length, but "
                f"clipping={truncating} cuts it into windows, which contradict; leave one out"
            )


def _by_name(clipping: Clipping) -> dict[str, Clipping]:
    """A strategy, or the several that it is composed of."""
    if isinstance(clipping, Composed):
        return dict(clipping.strategies.items())
    return {type(clipping).__name__.lower(): clipping}


def _sized(blueprint: Blueprint, make: Callable[[Blueprint], Architecture], parameters: int) -> Blueprint:
    """The blueprint with the hidden size at which the model's parameter count is nearest to a number."""

    def sized(hidden_size: int) -> nn.Module:
        smaller = replace(blueprint, cell=partial(blueprint.cell, hidden_size=hidden_size), initialise=())
        modules = make(smaller).modules()
        return nn.ModuleDict({name: module for name, module in modules.items() if module is not None})

    hidden_size = hidden_size_for(parameters, sized, count_parameters)
    return replace(blueprint, cell=partial(blueprint.cell, hidden_size=hidden_size))


def count_parameters(model: nn.Module) -> int:
    """Trainable numbers of a model."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
