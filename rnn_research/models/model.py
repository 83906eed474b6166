"""The model: input as it is or embedded, a cell folded along the batch's structure, and a readout o = W_o h + b_o.

Knows nothing of who observes it. A probe sets `recording` before a step; the step then leaves what it did in
`observed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from rnn_research.cells.base import Cell, Initialisation
from rnn_research.checks import choice, integer, number
from rnn_research.clipping.base import Clipping, ClippingEffect, Composed, clip, skip
from rnn_research.clipping.module_mapping import ModuleMapping
from rnn_research.datasets.base import SPLITS, Task
from rnn_research.models.accumulation import SeparateAverage, Window, mean_of
from rnn_research.models.metrics import RunningMetrics, correct
from rnn_research.models.sizing import hidden_size_for
from rnn_research.models.step_table import StepTable
from rnn_research.regularizers.base import Regularizer, Step
from rnn_research.structures import Batch
from rnn_research.structures.layouts import NO_TARGET
from rnn_research.unroll import ENGINES, EngineChoice, LossScale, Record, Unrolled, unroll

LOSSES = ("auto", "terminal", "every")


@dataclass(frozen=True, eq=False)
class UnderWay:
    """A training batch between its forward pass and its backward pass. `weight` is its share of the window, of 1 of the
    first batch; `unit` what the backward pass starts with at the batch's mean loss: accumulation and loss scaling."""

    step: Step
    labels: int
    weight: float
    unit: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Observed:
    """What one training step leaves for probes.

    `loss` is the mean over `labels` labels, and keeps its gradient: what the backward pass started with there
    (accumulation and loss scaling included). `terminal` is the summed loss of the last step or root of each sample,
    where the loss also reads other positions; None where it reads those alone. `inputs` are the batch's, at the
    structure's positions.
    """

    unrolled: Unrolled
    loss: Tensor
    labels: int
    terminal: Tensor | None
    inputs: Tensor


class Model(LightningModule):
    """Encode, fold, read out, compare.

    Args:
        task: the sizes of the data.
        cell: makes one layer's cell, given `input_size`, `initialise` and `max_children`.
        optimizer: makes the optimiser, given the parameters.
        clipping: the strategy applied to the gradient before each step of the optimiser, or inside backpropagation.
        initialise: initialisations of each cell, in order.
        max_children: the most children of a node in the structures to come.
        num_layers: layers of cells, each reading the hidden states of the one below.
        dropout: probability of dropping a hidden unit between layers.
        embedding_size: where inputs are tokens, the size of their vectors; token 0 reads as zero.
        loss: `terminal`: at the last step or root; `every`: the mean over all labelled positions; `auto`: every where
            the data label positions.
        position_targets: whether batches label positions.
        match_parameters: choose the cell's hidden size such that the model's parameter count is nearest to this.
        engine: what folds the cells; see `unroll.select`.
        regularizers: by name, what acts on training beside the loss.

    Raises:
        ValueError: a value out of range, or `loss=every` where positions have no labels.
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
        match_parameters: int | None = None,
        engine: str = "auto",
        regularizers: Mapping[str, Regularizer] | None = None,
    ) -> None:
        super().__init__()
        integer("num_layers", num_layers)
        number("dropout", dropout, least=0.0, most=1.0)
        choice("loss", loss, LOSSES)
        choice("engine", engine, ENGINES)
        if loss == "every" and not position_targets:
            raise ValueError(
                "loss: given every, but these batches label no positions; use model.loss=terminal, or data and a "
                "structure with labels at every node (dataset.labels=nodes structure=parse)"
            )
        if position_targets and loss != "terminal" and task.kind == "regression":
            raise ValueError(
                f"loss: given {loss}, but these batches label positions with numbers, expected classes; use "
                "model.loss=terminal"
            )
        if match_parameters is not None:

            def sized(hidden_size: int) -> Model:
                resized = partial(cell, hidden_size=hidden_size)
                return Model(
                    task,
                    resized,
                    optimizer,
                    clipping,
                    max_children=max_children,
                    num_layers=num_layers,
                    embedding_size=embedding_size,
                )

            cell = partial(cell, hidden_size=hidden_size_for(match_parameters, sized, count_parameters))
        self.task, self.clipping, self.optimizer = task, clipping, optimizer
        self.engine = engine
        self.engines: tuple[EngineChoice, ...] = ()
        self.every = position_targets and loss != "terminal"
        size = integer("embedding_size", embedding_size) if task.tokens else task.input_size
        self.embedding = _embedding(task.input_size, size) if task.tokens else None
        self.cells: Any = nn.ModuleList()  # Any: what torch says of a list's members is too little
        for _ in range(num_layers):
            self.cells.append(cell(input_size=size, initialise=initialise, max_children=max_children))
            size = self.cells[-1].hidden_size
        self.between = nn.Dropout(dropout)
        self.readout = nn.Linear(size, task.output_size)
        self.tallies: Any = nn.ModuleDict({f"{split}_": RunningMetrics(task, self.every) for split in SPLITS})
        self.regularizers: Any = ModuleMapping(dict(regularizers or {}))
        self.recording = False
        self.observed: Observed | None = None
        self.answered: list[dict[str, Tensor]] = []
        self.clipped = StepTable(*ClippingEffect._fields)
        self.regularized = StepTable(*self.regularizers)
        self._attached = False
        self._unit = LossScale()
        self._window = Window()
        self._completes = False
        self._values: dict[str, list[Tensor]] = {}
        self._weights: dict[str, list[Tensor | float]] = {}
        self._acted: list[tuple[Tensor, int]] = []
        self._under_way: UnderWay | None = None

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
        truncating = next((name for name, one in self._by_name() if one.truncate is not None), None)
        for name, regularizer in self.regularizers.items():
            try:
                regularizer.attach(list(self.cells), trees)
            except ValueError as error:
                raise ValueError(f"regularizer={name}: {error}") from error
            if regularizer.needs_whole and truncating is not None:
                raise ValueError(
                    f"regularizer={name}: reads how the gradient passes over the full length, but "
                    f"clipping={truncating} cuts it into windows, which contradict; leave one out"
                )
        self._attached = True

    def _by_name(self) -> Iterable[tuple[str, Clipping]]:
        if isinstance(self.clipping, Composed):
            return self.clipping.strategies.items()
        return [(type(self.clipping).__name__.lower(), self.clipping)]

    def success(self, stop: bool = False) -> dict[str, Any]:
        """The task's rule for when it is solved, as a run's record keeps it; empty where there is none, or none that
        fits what the model learns from.

        Args:
            stop: whether training is to end there.

        Raises:
            ValueError: it is, and there is no rule; or the rule is of a metric that the task has not.
        """
        rule, names = self.task.success, self.tallies["val_"].names
        if rule is None or (rule.of_positions and not self.every):
            if stop:
                raise ValueError(
                    "stop_when_solved: given true, but nothing says when this task is solved; expected false, or data "
                    "with a rule (of every position: with structure=chain model.loss=auto)"
                )
            return {}
        if rule.metric not in names:
            raise ValueError(f"success: given the metric {rule.metric!r}, expected one of {', '.join(names)}")
        return {"metric": rule.metric, "bound": rule.bound, "above": rule.above, "step": None}

    @property
    def strategies(self) -> list[Clipping]:
        """The clipping strategies, in order."""
        return [strategy for _, strategy in self._by_name()]

    def setup(self, stage: str) -> None:
        if not self._attached:
            self.attach()

    def fold(self, batch: Batch, record: Record = False, acting: bool = False) -> Unrolled:
        """The states of every layer at every position of the batch.

        Args:
            acting: as in training, with what acts inside backpropagation.
        """
        return self._unroll(batch, self._inputs(batch), record, **(self._acting(batch) if acting else {}))

    def _inputs(self, batch: Batch) -> Tensor:
        return batch.inputs.to(self.dtype) if self.embedding is None else self.embedding(batch.inputs)

    def _unroll(self, batch: Batch, inputs: Tensor, record: Record = False, **acting: Any) -> Unrolled:
        cells, how = list(self.cells), {"between": self.between, "engine": self.engine}
        unrolled = unroll(cells, batch.structure, inputs, record=record, **how, **acting)
        self.engines = tuple(layer.engine for layer in unrolled.layers)
        return unrolled

    def forward(self, batch: Batch) -> Tensor:
        """The readout at each sample's last step or root: (batch, output_size)."""
        return self.readout(batch.structure.terminal(self.fold(batch).hidden))

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        self.observed = None
        inputs, needs = self._inputs(batch), any(one.needs_adjoints for one in self.regularizers.values())
        record: Record = "parts" if self.recording else needs  # probes read the norms of an adjoint's parts too
        unrolled = self._unroll(batch, inputs, record, **self._acting(batch))
        loss, labels, terminal = self._loss(batch, unrolled, "train")
        if self.recording:
            loss.retain_grad()
            self.observed = Observed(unrolled, loss, labels, terminal, batch.inputs)
        weight = self._weight(labels)
        if self._watched:
            inside = self.clipping.acts_inside
            step = Step(list(self.cells), batch.structure, inputs, unrolled, self.global_step, inside)
            self._under_way = UnderWay(step, labels, weight)
            loss.register_hook(self._start_backward)
            loss = self._penalized(loss)
        return loss if weight == 1.0 else loss * weight

    def _weight(self, labels: int) -> float:
        """What this batch's loss is multiplied by among those that are accumulated."""
        if not self._window.batches and self._trainer is not None:
            self._window.full = self._trainer.accumulate_grad_batches
        return self._window.weight(labels)

    @property
    def _watched(self) -> bool:
        """Whether anything acts within the backward pass, or on the loss."""
        return bool(self.regularizers) or self.clipping.acts_inside

    def _acting(self, batch: Batch) -> dict[str, Any]:
        """What acts inside backpropagation, as `unroll` takes it."""
        if not self.clipping.acts_inside:
            return {}
        layers = enumerate(self.cells)
        inside = [self.clipping.intervention(cell, batch.structure, layer, self._unit) for layer, cell in layers]
        return {"interventions": inside, "truncate": self.clipping.truncate}

    def _start_backward(self, gradient: Tensor) -> None:
        """The pass begins: a gradient in a sample's own summed loss is this many times as large as in what is
        differentiated."""
        assert self._under_way is not None
        self._under_way = replace(self._under_way, unit=gradient)
        if self.clipping.acts_inside:
            self._unit.value = float(gradient) / max(self._under_way.labels, 1)  # the same for each batch of a window

    def _penalized(self, loss: Tensor) -> Tensor:
        """The loss, and what regularizers add to it. The metrics have counted the loss already, without."""
        assert self._under_way is not None
        for name, regularizer in self.regularizers.items():
            with torch.set_grad_enabled(regularizer.weight != 0):
                penalty = regularizer.penalty(self._under_way.step)
            self._measured(name, penalty, self._under_way.labels)
            if penalty is not None and regularizer.weight != 0 and self._under_way.labels:
                loss = loss + regularizer.weight * penalty
        return loss

    def _measured(self, name: str, value: Tensor | None, weight: Tensor | float = 1.0) -> None:
        """Keep a regularizer's value until the step is done: accumulated batches have one each, of such a weight."""
        if value is not None:
            self._values.setdefault(name, []).append(value.detach())
            self._weights.setdefault(name, []).append(weight)

    def on_after_backward(self) -> None:
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            for name, regularizer in self.regularizers.items():
                self._after_backward(name, regularizer, under_way)
            if self.clipping.acts_inside:
                self._acted.append(_count_acted(under_way.step.unrolled))
        if self._completes and self._window.full > 1:
            self._window.complete(self.parameters())

    def _after_backward(self, name: str, regularizer: Regularizer, under_way: UnderWay) -> None:
        """What a regularizer adds to gradients: weighed by the batch's labels, or by what it counts itself."""
        step, unit, window = under_way.step, under_way.unit, self._window
        assert unit is not None
        if window.full == 1 or not regularizer.counts:
            self._measured(name, regularizer.after_backward(step, unit), under_way.labels)
            return
        if name not in window.apart:
            window.apart[name] = SeparateAverage([parameter for cell in self.cells for parameter in cell.parameters()])
        apart = window.apart[name]
        with apart.collecting() as collected:
            value = regularizer.after_backward(step, unit)
        counted = regularizer.counted(step)
        self._measured(name, value, counted)
        apart.add(collected, counted, window.full / under_way.weight)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        self._loss(batch, self.fold(batch), "val")

    def on_test_epoch_start(self) -> None:
        self.answered.clear()

    def test_step(self, batch: Batch, batch_index: int) -> None:
        unrolled = self.fold(batch)
        self._loss(batch, unrolled, "test")
        self.answered.append(self._answer(batch, unrolled))

    def _answer(self, batch: Batch, unrolled: Unrolled) -> dict[str, Tensor]:
        """Of each sample: `correct`, where the task says what that is, and `loss`, of its last step or root, taken in
        float64."""
        answers = self.readout(batch.structure.terminal(unrolled.hidden))
        target = batch.target if self.task.kind == "classification" else batch.target.view_as(answers)
        right = correct(self.task, self._predictions(answers), target)
        loss = self._compare(answers.double(), target if self.task.kind == "classification" else target.double())
        return {"loss": loss} if right is None else {"correct": right, "loss": loss}

    def _loss(self, batch: Batch, unrolled: Unrolled, split: str) -> tuple[Tensor, int, Tensor | None]:
        """The mean loss, the number of labels it is the mean of, and the part at last steps and roots where that is
        not all of it. Counts the batch in the split's metrics."""
        answers, target = self.readout(batch.structure.terminal(unrolled.hidden)), batch.target
        if self.task.kind == "regression":
            target = target.to(answers.dtype).view_as(answers)  # one number a sample may come without its axis
        at_end, positions = self._compare(answers, target), None
        if not self.every or batch.position_targets is None:
            loss, labels, terminal = at_end.mean(), len(at_end), None
        else:
            labelled = batch.position_targets != NO_TARGET
            outputs, targets = self.readout(unrolled.hidden[labelled]), batch.position_targets[labelled]
            labels, terminal = len(targets), at_end.sum()
            loss = self._compare(outputs, targets).sum() / max(labels, 1)  # 0 where the batch has no label
            positions = (self._predictions(outputs), targets) if labels else None
        self.tallies[f"{split}_"].add(loss.detach(), labels, (self._predictions(answers), target), positions)
        return loss, labels, terminal

    def _compare(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each label: cross-entropy, or the squared error averaged over components."""
        if self.task.kind == "classification":
            return nn.functional.cross_entropy(outputs, targets, reduction="none")
        return nn.functional.mse_loss(outputs, targets, reduction="none").mean(-1)

    def _predictions(self, outputs: Tensor) -> Tensor:
        return outputs.detach().argmax(-1) if self.task.kind == "classification" else outputs.detach()

    def measured(self, split: str) -> dict[str, float]:
        """The loss and metrics of a split since they were last asked for; then they start anew."""
        return self.tallies[f"{split}_"].measured()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer(self.parameters())

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Apply the strategy: after accumulation and unscaling, once a step. What it did is kept in `clipped`.

        Batches without any label take no step: there is nothing to learn from, and nothing for a memory to remember.
        """
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        did = self._skip(parameters) if self._window.empty else clip(self.clipping, parameters)
        row = did._asdict()
        if isinstance(self.clipping, Composed):
            parts = self.clipping.did.items()
            row |= {f"{name}.{key}": value for name, part in parts for key, value in part._asdict().items()}
        if self.clipping.acts_inside:
            row["acted"] = _share(self._acted).to(did.norm_before.device)
        self._acted = []
        self.clipped.add(self.trainer.global_step, row)

    def _skip(self, parameters: list[nn.Parameter]) -> ClippingEffect:
        """Take no step, and say that no strategy did anything either."""
        skip(parameters)
        zero = torch.zeros((), dtype=torch.float64, device=self.readout.weight.device)
        did = ClippingEffect(zero, zero, zero, torch.full_like(zero, torch.nan), torch.ones_like(zero))
        if isinstance(self.clipping, Composed):
            self.clipping.did = dict.fromkeys(self.clipping.strategies, did)
        return did

    def optimizer_step(self, *arguments: Any, **named: Any) -> None:
        self._completes = True
        try:
            super().optimizer_step(*arguments, **named)
        finally:
            empty, self._completes, self._window = self._window.empty, False, Window()
        number = self.trainer.global_step  # lightning counts this step later
        for name, regularizer in self.regularizers.items():
            with torch.no_grad():
                self._measured(name, regularizer.after_step(number))
        if self.regularizers:
            none = self.readout.weight.new_full((), torch.nan)
            values = {name: none if empty else self._value(name, none) for name in self.regularizers}
            self.regularized.add(number, values)
            self._values, self._weights = {}, {}

    def _value(self, name: str, none: Tensor) -> Tensor:
        """A regularizer's value at the step, of all its batches."""
        values = self._values.get(name)
        return mean_of(list(zip(values, self._weights[name], strict=True))) if values else none


def _count_acted(unrolled: Unrolled) -> tuple[Tensor, int]:
    """The states, of all layers, at which something inside the backward pass changed a norm; and how many there are."""
    changed, count = [], 0
    for layer in unrolled.layers:
        points = [before != after for before, after in layer.norms_by_point().values()]
        if points:
            changed.append(torch.stack(points).any(0)[layer.mask].sum())
        count += int(layer.mask.sum())
    return torch.stack(changed).sum() if changed else unrolled.mask.new_zeros((), dtype=torch.int64), count


def _share(acted: list[tuple[Tensor, int]]) -> Tensor:
    """The share of the states at which something acted, of all batches of a step."""
    if not acted:
        return torch.zeros((), dtype=torch.float64)
    return torch.stack([changed for changed, _ in acted]).sum().double() / sum(count for _, count in acted)


def _embedding(vocabulary: int, size: int) -> nn.Embedding:
    """Word vectors ~ N(0, 0.1^2), and zero for the empty token 0 (torch's N(0, 1) saturates gates from the start)."""
    embedding = nn.Embedding(vocabulary, size, padding_idx=0)
    with torch.no_grad():
        embedding.weight.mul_(0.1)
    return embedding


def count_parameters(model: nn.Module) -> int:
    """Trainable numbers of a model."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
