"""What other clipping strategies would have done to the same gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from rnn_research.clipping.base import Clipped, Clipping, did
from rnn_research.models import Model
from rnn_research.probes.base import Columns, Probe


class Counterfactual(Probe):
    """What each of some strategies would have done at a step, on the one trajectory that the run takes.

    Each gets a copy of the step's gradient, before the run's own clipping; neither the gradient nor the weights
    change. Strategies with a memory keep their own, of the gradients they were shown. A row a step: `norm_before`, and
    for each strategy `<name>.norm_after`, `<name>.coefficient`, `<name>.cosine` and `<name>.skipped`, as in `Clipped`.

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
            raise ValueError(
                "strategies: given none, expected some, as clipping@probe.counterfactual.strategies=[value]"
            )
        for name, strategy in strategies.items():
            if not isinstance(strategy, Clipping):
                raise ValueError(f"strategies: given {name}: {strategy!r}, expected a clipping strategy")
            if strategy.acts_inside:
                raise ValueError(
                    f"strategies: given {name}, which acts inside backpropagation: what it would do takes a backward "
                    "pass of its own; leave it out, and compare two runs"
                )
        self.strategies = nn.ModuleDict(dict(strategies))

    def on_train_start(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        super().on_train_start(trainer, pl_module)
        for strategy in self.strategies.values():
            strategy.attach(list(pl_module.cells), pl_module.readout)  # type: ignore[operator]

    def state_dict(self) -> dict[str, Any]:
        """The strategies' memories, for the checkpoint."""
        return {"strategies": self.strategies.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.strategies.load_state_dict(state_dict["strategies"])

    def measure(self, model: Model) -> Columns:
        present = [parameter for parameter in model.parameters() if parameter.grad is not None]
        if not present:
            return {}
        kept = [parameter.grad for parameter in present]
        before = torch.cat([gradient.reshape(-1) for gradient in kept])  # type: ignore[union-attr]
        scratch = torch.empty_like(before)
        sizes = [parameter.numel() for parameter in present]
        views = [part.view_as(one) for part, one in zip(scratch.split(sizes), present, strict=True)]
        values: dict[str, Tensor] = {"norm_before": torch.linalg.vector_norm(before, dtype=torch.float64)}
        try:
            for name, strategy in self.strategies.items():
                scratch.copy_(before)
                for parameter, view in zip(present, views, strict=True):
                    parameter.grad = view
                coefficient = strategy(present)
                skipped = all(parameter.grad is None for parameter in present)
                said = did(before, None if skipped else scratch, coefficient)
                values |= {f"{name}.{key}": getattr(said, key) for key in Clipped._fields[1:]}
        finally:
            for parameter, gradient in zip(present, kept, strict=True):
                parameter.grad = gradient
        return dict(zip(values, torch.stack(list(values.values())).cpu().numpy(), strict=True))
