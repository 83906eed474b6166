"""One step of the optimiser: its batches, what acts on their loss and gradients, and what is measured of that.

Lightning says when, through the hooks of `Model`; what happens then is here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from rnn_research.clipping.base import Clipping, ClippingEffect, Composed, clip, skip
from rnn_research.clipping.module_mapping import ModuleMapping
from rnn_research.models.accumulation import SeparateAverage, Window, mean_of
from rnn_research.models.unroller import Interventions
from rnn_research.regularizers.base import Regularizer, Step
from rnn_research.unroll import LossScale, Record, Unrolled


class TrainingStep:
    """A step from its first batch's forward pass until the weights have changed.

    Of the batch that was taken last, `parts` are what was unrolled, by name, and `folded` what the architecture made of
    them. `loss` is the mean over `labels` labels,
    and keeps its gradient where the step is `recorded`: what the backward pass started with there (accumulation and
    loss scaling included). `unit` is the same number, where something acts on the loss. `terminal` is the summed loss
    of the answers, where the loss also reads other positions; None where it reads those alone. `inputs` are the batch's
    own, at the structure's positions. `values` are what each regularizer has measured so far of each part, with their
    weights.

    Args:
        clipping: acts inside backpropagation, and on the gradients.
        regularizers: by name.
        scale: what thresholds inside backpropagation are measured in.
    """

    def __init__(self, clipping: Clipping, regularizers: ModuleMapping, scale: LossScale) -> None:
        self.clipping, self.regularizers, self.scale = clipping, regularizers, scale
        self.window = Window()
        self.completes = False
        """Whether the batch at hand is the step's last."""
        self.recorded = False
        """Whether every state's adjoint is kept, with the norms of its parts. Set it before the batch is taken."""
        self.parts: dict[str, Step] = {}
        self.folded: Unrolled | None = None
        self.inputs: Tensor | None = None
        self.loss: Tensor | None = None
        self.labels = 0
        self.terminal: Tensor | None = None
        self._weight = 1.0
        self.unit: Tensor | None = None
        self.values: dict[str, dict[str, list[tuple[Tensor, Tensor | float]]]] = {}
        self._changed: list[tuple[Tensor, int]] = []

    @property
    def record(self) -> Record:
        """What the batches are to be unrolled with: probes read the norms of an adjoint's parts too."""
        return "parts" if self.recorded else any(one.needs_adjoints for _, one in self._regularizers())

    @property
    def interventions(self) -> Interventions | None:
        """What acts inside the backward pass of the next batch; None: nothing."""
        return Interventions(self.clipping, self.scale) if self.clipping.acts_inside else None

    def forget(self) -> None:
        """Let go of the batch that was taken last, whose graph is large."""
        self.parts, self.inputs, self.loss, self.terminal, self.unit = {}, None, None, None, None
        self.folded = None

    def take(
        self, parts: dict[str, Step], inputs: Tensor, loss: Tensor, labels: int, terminal: Tensor | None
    ) -> Tensor:
        """Count one more batch. Returns what is to be differentiated: its loss, with what regularizers add, weighed
        among those that the step accumulates."""
        self.parts = parts
        if self.regularizers:
            self.parts = {name: replace(part, labels=labels) for name, part in parts.items()}
        self.inputs, self.loss, self.labels, self.terminal = inputs, loss, labels, terminal
        if self.recorded:
            loss.retain_grad()
        self._weight = weight = self.window.weight(labels)
        if self._watched:
            loss.register_hook(self._start_backward)
            loss = self._penalized(loss)
        return loss if weight == 1.0 else loss * weight

    def _regularizers(self) -> Iterable[tuple[str, Regularizer]]:
        items: Any = self.regularizers.items()  # torch says of a mapping's members that they are modules
        return items

    @property
    def _watched(self) -> bool:
        """Whether anything acts within the backward pass, or on the loss."""
        return bool(self.regularizers) or self.clipping.acts_inside

    def _start_backward(self, gradient: Tensor) -> None:
        """The pass begins: a gradient in a sample's own summed loss is this many times as large as in what is
        differentiated."""
        self.unit = gradient
        if self.clipping.acts_inside:
            self.scale.value = float(gradient) / max(self.labels, 1)  # the same for each batch of a window

    def _penalized(self, loss: Tensor) -> Tensor:
        """The loss, and what regularizers add to it. The metrics have counted the loss already, without."""
        for name, regularizer in self._regularizers():
            for of, part in self.parts.items():
                with torch.set_grad_enabled(regularizer.weight != 0):
                    penalty = regularizer.penalty(part)
                self._measured(name, of, penalty, self.labels)
                if penalty is not None and regularizer.weight != 0 and self.labels:
                    loss = loss + regularizer.weight * penalty
        return loss

    def _measured(self, name: str, part: str, value: Tensor | None, weight: Tensor | float = 1.0) -> None:
        """Keep a regularizer's value of a part until the step is done: accumulated batches have one each, of such a
        weight."""
        if value is not None:
            self.values.setdefault(name, {}).setdefault(part, []).append((value.detach(), weight))

    def after_backward(self, parameters: Iterable[nn.Parameter]) -> None:
        """Let regularizers add to the gradients; with the last batch, make these the gradients of the whole step."""
        if self._watched and self.parts:
            for name, regularizer in self._regularizers():
                for of, part in self.parts.items():
                    self._after_backward(name, of, regularizer, part)
            if self.clipping.acts_inside:
                self._changed += [_count_changed(part.unrolled) for part in self.parts.values()]
        if self.completes and self.window.full > 1:
            self.window.complete(parameters)

    def _after_backward(self, name: str, of: str, regularizer: Regularizer, part: Step) -> None:
        """What a regularizer adds to gradients: weighed by the batch's labels, or by what it counts itself."""
        window = self.window
        assert self.unit is not None
        if window.full == 1 or not regularizer.counts:
            self._measured(name, of, regularizer.after_backward(part, self.unit), self.labels)
            return
        if (name, of) not in window.apart:
            window.apart[name, of] = SeparateAverage(part.cells)
        apart = window.apart[name, of]
        with apart.collecting() as collected:
            value = regularizer.after_backward(part, self.unit)
        counted = regularizer.counted(part)
        self._measured(name, of, value, counted)
        apart.add(collected, counted, window.full / self._weight)

    def clip(self, parameters: list[nn.Parameter]) -> dict[str, Tensor]:
        """Apply the strategy to the gradients. Returns what it did, and of several strategies what each did.

        Batches without any label take no step: there is nothing to learn from, and nothing for a memory to remember.
        """
        did = self._skip(parameters) if self.window.empty else clip(self.clipping, parameters)
        row = did._asdict()
        if isinstance(self.clipping, Composed):
            parts = self.clipping.did.items()
            row |= {f"{name}.{key}": value for name, part in parts for key, value in part._asdict().items()}
        if self.clipping.acts_inside:
            row["acted"] = _share(self._changed).to(did.norm_before.device)
        return row

    def _skip(self, parameters: list[nn.Parameter]) -> ClippingEffect:
        """Take no step, and say that no strategy did anything either."""
        skip(parameters)
        zero = torch.zeros((), dtype=torch.float64, device=parameters[0].device)
        did = ClippingEffect(zero, zero, zero, torch.full_like(zero, torch.nan), torch.ones_like(zero))
        if isinstance(self.clipping, Composed):
            self.clipping.did = dict.fromkeys(self.clipping.strategies, did)
        return did

    def finish(self, number: int, none: Tensor) -> dict[str, Tensor]:
        """Let regularizers change the weights. Returns their values at the step, of all its batches.

        Args:
            number: the optimiser's steps taken before this one.
            none: the value of a regularizer that has none.
        """
        for name, regularizer in self._regularizers():
            with torch.no_grad():
                self._measured(name, "", regularizer.after_step(number))
        values = {} if self.window.empty else self.values
        return {name: _over_parts(values[name]) if name in values else none for name in self.regularizers}


def _over_parts(values: dict[str, list[tuple[Tensor, Tensor | float]]]) -> Tensor:
    """A regularizer's value at a step: the sum over the parts, as it enters the loss or the gradients."""
    return torch.stack([mean_of(batches) for batches in values.values()]).sum()


def _count_changed(unrolled: Unrolled) -> tuple[Tensor, int]:
    """The states, of all layers, at which something inside the backward pass changed a norm; and how many there are."""
    changed, count = [], 0
    for layer in unrolled.layers:
        points = [before != after for before, after in layer.norms_by_point().values()]
        if points:
            changed.append(torch.stack(points).any(0)[layer.mask].sum())
        count += int(layer.mask.sum())
    return torch.stack(changed).sum() if changed else unrolled.mask.new_zeros((), dtype=torch.int64), count


def _share(changed: list[tuple[Tensor, int]]) -> Tensor:
    """The share of the states at which something acted, of all batches of a step."""
    if not changed:
        return torch.zeros((), dtype=torch.float64)
    return torch.stack([number for number, _ in changed]).sum().double() / sum(count for _, count in changed)
