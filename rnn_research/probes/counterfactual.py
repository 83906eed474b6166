"""What other clipping strategies would have done to the same gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rnn_research.cells.base import Cell
from rnn_research.clipping.base import Clipping, ClippingEffect, measure_effect, side_by_side
from rnn_research.clipping.module_mapping import ModuleMapping
from rnn_research.clipping.norm_scaling import NormScaling, predict_effects
from rnn_research.probes.base import Columns, Probe
from rnn_research.probes.observation import Observation

FIELDS = list(enumerate(ClippingEffect._fields))[1:]
"""All but the norm before, which is the same for each strategy."""


class Counterfactual(Probe):
    """What each of some strategies would have done at a step, on the one trajectory that the run takes.

    Each gets a copy of the step's gradient, before the run's own clipping; neither the gradient nor the weights
    change. Strategies with a memory keep their own, of the gradients they were shown. A row a step: `norm_before`, and
    for each strategy `<name>.norm_after`, `<name>.coefficient`, `<name>.cosine` and `<name>.skipped`, as in
    `ClippingEffect`.

    Args:
        strategies: by name.

    Raises:
        ValueError: none is given; or one acts inside backpropagation, which would take a backward pass of its own (and
            as `Probe`).
    """

    def __init__(
        self,
        strategies: Mapping[str, Clipping] | None = None,
        every_n_steps: int = 1,
        first: bool = True,
    ) -> None:
        super().__init__(every_n_steps, first, last=False)  # which one is last would stay in the memories, on a resume
        if not strategies:
            raise ValueError("strategies: given none, expected some, as probe.counterfactual.strategies=[value]")
        for name, strategy in strategies.items():
            if not isinstance(strategy, Clipping):
                raise ValueError(f"strategies: given {name}: {strategy!r}, expected a clipping strategy")
            if strategy.acts_inside:
                raise ValueError(
                    f"strategies: given {name}, which acts inside backpropagation: what it would do takes a backward "
                    "pass of its own; leave it out, and compare two runs"
                )
        self.strategies = ModuleMapping(dict(strategies))
        self._parameters: list[nn.Parameter] = []

    def attach(self, cells: Sequence[Cell]) -> None:
        self._parameters = []  # of what was measured before

    def state_dict(self) -> dict[str, Any]:
        """The strategies' memories, for the checkpoint."""
        return {"strategies": self.strategies.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.strategies.load_state_dict(state_dict["strategies"])

    def measure(self, observation: Observation) -> Columns:
        if not self._parameters:
            self._parameters = list(observation.parameters.values())
            for strategy in self.strategies.values():
                strategy.attach(observation.cells, observation.readout)  # type: ignore[operator]
        present = [parameter for parameter in self._parameters if parameter.grad is not None]
        if not present:
            return {}
        before = side_by_side(present)
        exact = before.double()
        norm = torch.linalg.vector_norm(exact)
        scaling = {name: one for name, one in self.strategies.items() if isinstance(one, NormScaling)}
        others = {name: one for name, one in self.strategies.items() if name not in scaling}
        said = [predict_effects(list(scaling.values()), exact, norm, present)] if scaling else []
        said += [ClippingEffect(*(value[None] for value in one)) for one in self._tried(others, before, present)]
        table = torch.stack([torch.cat(values) for values in zip(*said, strict=True)]).cpu().numpy()
        found = dict(zip([*scaling, *others], table.T, strict=True))
        columns = {f"{name}.{key}": found[name][k] for name in self.strategies for k, key in FIELDS}
        return {"norm_before": table[0, 0]} | columns

    def _tried(
        self, strategies: Mapping[str, nn.Module], before: Tensor, present: list[nn.Parameter]
    ) -> Iterator[ClippingEffect]:
        """What each does to a copy of the gradient, which is put in the gradient's place and taken out again."""
        kept = [parameter.grad for parameter in present]
        scratch = torch.empty_like(before)
        parts = scratch.split([parameter.numel() for parameter in present])
        try:
            for strategy in strategies.values():
                scratch.copy_(before)
                for parameter, part in zip(present, parts, strict=True):
                    parameter.grad = part.view_as(parameter)
                coefficient = strategy(present)
                skipped = all(parameter.grad is None for parameter in present)
                yield measure_effect(before, None if skipped else scratch, coefficient)
        finally:
            for parameter, gradient in zip(present, kept, strict=True):
                parameter.grad = gradient
