"""The norm of each parameter's gradient, before clipping."""

from __future__ import annotations

import torch

from rnn_research.probes.base import Columns, Probe
from rnn_research.probes.observation import Observation


class GradientNorm(Probe):
    """The L2 norm of the gradient of each parameter, a column a parameter, and of all together in `total`.

    After accumulation and unscaling, before clipping; accumulated in float64. A parameter without gradient has 0.
    """

    def measure(self, observation: Observation) -> Columns:
        named = observation.parameters
        nothing = torch.zeros((), dtype=torch.float64, device=next(iter(named.values())).device)
        norms = torch.stack(
            [
                nothing if parameter.grad is None else torch.linalg.vector_norm(parameter.grad, dtype=torch.float64)
                for parameter in named.values()
            ]
        )
        return {"total": torch.linalg.vector_norm(norms)} | dict(zip(named, norms.cpu().numpy(), strict=True))
