"""The model: input as it is or embedded, a cell folded along the batch's structure, and a readout o = W_o h + b_o.

Knows nothing of who observes it. A probe sets `recording` before a step; the step then leaves what it did in
`observed`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from rnn_research.cells.base import Cell, Initialisation
from rnn_research.checks import choice, integer, number
from rnn_research.clipping.base import Clipping, History, clip
from rnn_research.datasets.base import SPLITS, Task
from rnn_research.models.metrics import Tally, correct
from rnn_research.models.sizes import hidden_size_for
from rnn_research.structures import Batch
from rnn_research.structures.layout import NO_TARGET
from rnn_research.unroll import ENGINES, Choice, Record, Unrolled, unroll

LOSSES = ("auto", "terminal", "every")


@dataclass(frozen=True, eq=False)
class Observed:
    """What one training step leaves for probes.

    `loss` is the mean over `labels` labels, and keeps its gradient: what the backward pass started with there
    (accumulation and loss scaling included). `terminal` is the summed loss of the last step or root of each sample,
    where the loss also reads other positions; None where it reads those alone.
    """

    unrolled: Unrolled
    loss: Tensor
    labels: int
    terminal: Tensor | None


class Model(LightningModule):
    """Encode, fold, read out, compare.

    Args:
        task: the sizes of the data.
        cell: makes one layer's cell, given `input_size`, `initialise` and `max_children`.
        optimizer: makes the optimiser, given the parameters.
        clipping: the strategy applied to the gradient before each step of the optimiser.
        initialise: initialisations of each cell, in order.
        max_children: the most children of a node in the structures to come.
        num_layers: layers of cells, each reading the hidden states of the one below.
        dropout: probability of dropping a hidden unit between layers.
        embedding_size: where inputs are tokens, the size of their vectors; token 0 reads as zero.
        loss: `terminal`: at the last step or root; `every`: the mean over all labelled positions; `auto`: every where
            the data label positions.
        position_targets: whether batches label positions.
        match_parameters: choose the cell's hidden size such that the model's parameter count is nearest to this.
        engine: what folds the cells; see `unroll.engines`.

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
        self.engines: tuple[Choice, ...] = ()
        self.every = position_targets and loss != "terminal"
        size = integer("embedding_size", embedding_size) if task.tokens else task.input_size
        self.embedding = _embedding(task.input_size, size) if task.tokens else None
        self.cells: Any = nn.ModuleList()  # Any: what torch says of a list's members is too little
        for _ in range(num_layers):
            self.cells.append(cell(input_size=size, initialise=initialise, max_children=max_children))
            size = self.cells[-1].hidden_size
        self.between = nn.Dropout(dropout)
        self.readout = nn.Linear(size, task.output_size)
        self.tallies: Any = nn.ModuleDict({f"{split}_": Tally(task, self.every) for split in SPLITS})
        self.recording = False
        self.observed: Observed | None = None
        self.answered: list[dict[str, Tensor]] = []
        self.clipped = History()

    def __setattr__(self, name: str, value: Any) -> None:
        """As torch's, but for the name of the hook that lightning is in: it is set some 60 times a step, and each time
        torch would look for a parameter or a module in it."""
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def fold(self, batch: Batch, record: bool = False) -> Unrolled:
        """The states of every layer at every position of the batch."""
        inputs = batch.inputs.to(self.dtype) if self.embedding is None else self.embedding(batch.inputs)
        how: Record = "parts" if record else False  # probes read the norms of an adjoint's parts too
        unrolled = unroll(
            list(self.cells), batch.structure, inputs, between=self.between, record=how, engine=self.engine
        )
        self.engines = tuple(layer.engine for layer in unrolled.layers)
        return unrolled

    def forward(self, batch: Batch) -> Tensor:
        """The readout at each sample's last step or root: (batch, output_size)."""
        return self.readout(batch.structure.terminal(self.fold(batch).hidden))

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        self.observed = None
        unrolled = self.fold(batch, record=self.recording)
        loss, labels, terminal = self._loss(batch, unrolled, "train")
        if self.recording:
            loss.retain_grad()
            self.observed = Observed(unrolled, loss, labels, terminal)
        return loss

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

        Lightning divides each batch's loss by `accumulate_grad_batches` also where an epoch's last step has fewer: that
        step's gradient is smaller by as much.
        """
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self.clipped.add(self.trainer.global_step, clip(self.clipping, parameters))


def _embedding(vocabulary: int, size: int) -> nn.Embedding:
    """Word vectors ~ N(0, 0.1^2), and zero for the empty token 0 (torch's N(0, 1) saturates gates from the start)."""
    embedding = nn.Embedding(vocabulary, size, padding_idx=0)
    with torch.no_grad():
        embedding.weight.mul_(0.1)
    return embedding


def count_parameters(model: nn.Module) -> int:
    """Trainable numbers of a model."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
