"""Lets a probe measure while lightning trains a `Model`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn

from rnn_research.cells.base import State
from rnn_research.models import Model
from rnn_research.models.architectures.encoder_decoder import EncodedDecoded
from rnn_research.probes.base import Probe
from rnn_research.probes.observation import Observation


class ProbeCallback(Callback):
    """Asks the model for a recorded step where the probe is due, and hands the step over.

    Args:
        probe: what measures.
        name: the probe's own among those of the run.
    """

    def __init__(self, probe: Probe, name: str = "") -> None:
        self.probe, self.name = probe, name
        self._parameters: dict[str, nn.Parameter] = {}
        self._due = False
        """Whether the probe measures at the step that is being taken."""
        self._terminal: dict[str, list[State]] = {}
        self._attended: list[State] = []

    @property
    def state_key(self) -> str:
        """Where a probe with a memory keeps it in a checkpoint: under its class."""
        kind = type(self.probe)
        return kind.__qualname__ if kind.state_dict is not Probe.state_dict else f"{kind.__qualname__} {self.name}"

    def state_dict(self) -> dict[str, Any]:
        return self.probe.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.probe.load_state_dict(state_dict)

    def on_train_start(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        limit = trainer.estimated_stepping_batches
        self.probe.attach(list(pl_module.cells))
        self.probe.last_step = -1 if limit == float("inf") else int(limit) - 1
        self._parameters = dict(pl_module.named_parameters())  # a walk over all modules, which is not short

    def on_train_batch_start(self, trainer: Trainer, pl_module: Model, *rest: Any) -> None:  # type: ignore[override]
        self._due = self.probe.due(trainer.global_step)
        if self._due and self.probe.needs_adjoints:
            pl_module.step.recorded = True

    def on_before_backward(self, trainer: Trainer, pl_module: Model, loss: Tensor) -> None:  # type: ignore[override]
        if self._due and self.probe.needs_terminal and pl_module.step.recorded:
            self._terminal, self._attended = terminal_adjoints(pl_module), attended_adjoints(pl_module)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Model, *rest: Any) -> None:  # type: ignore[override]
        if self._due:
            before = self._terminal, self._attended
            self.probe.observe(observation_of(pl_module, trainer.global_step, self._parameters, *before))
            self._terminal, self._attended = {}, []


def terminal_adjoints(model: Model) -> dict[str, list[State]]:
    """Of the batch at hand, before its backward pass: the adjoints of the answers' loss, by name and layer; none where
    the loss is of the answers alone."""
    loss, parts = model.step.terminal, model.step.parts
    if loss is None:
        return {}
    model.step.scale.value = 1.0  # it is a sum, and comes before the backward pass that says its own scale
    return {name: [layer.adjoints_of(loss) for layer in part.unrolled.layers] for name, part in parts.items()}


def attended_adjoints(model: Model) -> list[State]:
    """Of the batch at hand, before its backward pass: the part of the adjoints of its summed loss that left an encoder
    through attention, by layer; none where there is no attention."""
    step = model.step
    if step.loss is None or not isinstance(step.folded, EncodedDecoded) or getattr(model, "attention", None) is None:
        return []
    before = step.loss.grad
    found = step.folded.through_attention(step.loss * step.labels)
    step.loss.grad = before  # it is retained, and autograd.grad, too, adds to what is
    return found


def observation_of(
    model: Model,
    number: int = 0,
    parameters: Mapping[str, nn.Parameter] | None = None,
    terminal: Mapping[str, Sequence[State]] | None = None,
    attended: Sequence[State] = (),
) -> Observation:
    """The step that a model is taking, after its backward pass.

    Args:
        number: the updates before it.
        parameters: the model's by name; None: they are looked up.
        terminal: what `terminal_adjoints` gave before the backward pass.
        attended: what `attended_adjoints` gave before it.
    """
    step = model.step
    named = dict(model.named_parameters()) if parameters is None else parameters
    cells, readout = list(model.cells), model.readout
    if not step.recorded or step.loss is None:
        return Observation(number, cells, readout, named)
    return Observation(
        number,
        cells,
        readout,
        named,
        {name: part.unrolled for name, part in step.parts.items()},
        1.0 if step.loss.grad is None else step.labels / step.loss.grad.double(),
        terminal or {},
        step.inputs,
        model.task.tokens,
        {name: part.place for name, part in step.parts.items() if part.place is not None},
        {name: part.part for name, part in step.parts.items() if part.part is not None},
        {name: part.read for name, part in step.parts.items() if part.read is not None},
        attended,
    )
