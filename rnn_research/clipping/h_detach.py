"""h-detach: cutting the gradient's path through h at random (Kanuparthi et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from rnn_research.cells.base import Cell
from rnn_research.checks import integer, number
from rnn_research.clipping.base import BackwardStrategy
from rnn_research.structures import Chain, Forest
from rnn_research.unroll import Intervention, LossScale


class HDetach(BackwardStrategy):
    """At each step, with probability p, no gradient passes from the step to the h before it; c's path stays.

    Kanuparthi, Arpit, Kerg, Ke, Mitliagkas and Bengio (2019, arXiv:1810.03023, section 2.3, and their code): one draw
    a time step for the whole batch. In a tree one a node: none passes from the parent to the node's h. The forward
    pass is unchanged, and no draw touches torch's own generator: the draws of the optimiser's k-th step, the same for
    all batches that it accumulates, follow from (seed, layer, k).

    Args:
        probability: p; 0.5 for copying and 0.25 for sequential digits in the paper.
        until_step: steps after which nothing is cut any more (the paper's last 40 of 600 epochs); null: never.
        seed: which draws.

    Raises:
        ValueError: a value out of range; or a cell whose state is h alone, which would lose its only path.
    """

    steps: Tensor

    def __init__(self, probability: float = 0.5, until_step: int | None = None, seed: int = 0) -> None:
        super().__init__()
        self.probability = number("probability", probability, least=0.0, most=1.0)
        self.until_step = None if until_step is None else integer("until_step", until_step, least=0)
        self.seed = integer("seed", seed, least=0)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, parameters: list[nn.Parameter]) -> Tensor:
        """Count the step."""
        self.steps += 1
        return super().forward(parameters)

    def attach(self, cells: Sequence[Cell], readout: nn.Module, trees: bool | None = None) -> None:
        for cell in cells:
            if len(cell.state_names) == 1:
                raise ValueError(
                    f"clipping=h_detach: leaves the path through c, but the state of {type(cell).__name__} is h alone; "
                    "use model=lstm or a Tree-LSTM (or clipping=tbptt, on trees clipping=depth_detach)"
                )

    def intervention(self, cell: Cell, structure: Chain | Forest, layer: int, unit: LossScale) -> Intervention | None:
        step = int(self.steps)
        if self.until_step is not None and step >= self.until_step:
            return None
        random, shape = np.random.default_rng([self.seed, layer, step]), structure.shape
        kept = torch.from_numpy(random.random(shape[-1]) >= self.probability)
        others = (None for _ in cell.state_names[1:])
        return Intervention((kept.expand(shape).to(structure.mask.device, torch.float32), *others), unit=unit)
