"""What a model's states are read out with where an answer must not depend on the rest of a batch: float64."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch

from rnn_research.unroll import Unrolled


@dataclass(frozen=True, eq=False)
class StatesInFloat64(Unrolled):
    """The hidden states of the top layer in float64, as a readout reads them."""

    of: Unrolled

    @property
    def hidden(self) -> torch.Tensor:
        return self.of.hidden.double()

    @property
    def mask(self) -> torch.Tensor:
        return self.of.mask

    @property
    def terminal(self) -> torch.Tensor | None:
        """Where two directions end; None: there is one."""
        ends: torch.Tensor | None = getattr(self.of, "terminal", None)
        return None if ends is None else ends.double()


def readout_in_float64(model: Any) -> SimpleNamespace:
    """The modules that read states out, in float64."""
    modules = model.architecture.modules()
    kept = {name: getattr(model, name) for name in modules}
    return SimpleNamespace(
        **{
            name: module if module is None or name in ("cells", "embedding") else copy.deepcopy(module).double()
            for name, module in kept.items()
        },
        training=False,
    )
