"""The norm of each parameter's gradient, before clipping."""

from __future__ import annotations

from rnn_research.clipping.base import global_norm
from rnn_research.models import Model
from rnn_research.probes.base import Columns, Probe


class GradientNorm(Probe):
    """The L2 norm of the gradient of each parameter, a column a parameter, and of all together in `total`.

    After accumulation and unscaling, before clipping; accumulated in float64. A parameter without gradient has 0.
    """

    def measure(self, model: Model) -> Columns:
        named = dict(model.named_parameters())
        return {"total": global_norm(named.values())} | {name: global_norm([named[name]]) for name in named}
