"""Gradient flossing: Lyapunov exponents are pushed towards zero (Engelken 2023, NeurIPS, arXiv:2312.17306)."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from rnn_research.cells.base import Cell
from rnn_research.checks import integer, number
from rnn_research.jacobians.lyapunov import lyapunov_exponents
from rnn_research.regularizers.base import Regularizer, Step, refuse_trees
from rnn_research.structures import Chain, evenly_spread
from rnn_research.unroll.repeatable import check_repeatable

log = logging.getLogger(__name__)

TREES = "Lyapunov exponents are growth rates along one trajectory, and a tree's states come together from several"


class Flossing(Regularizer):
    """weight * (1/k) sum_{i<=k} lambda_i^2, of the k largest finite-time Lyapunov exponents lambda_i along the
    trajectory of the batch's own inputs, from the zero state; see `jacobians.lyapunov`. The mean over samples, the sum
    over layers.

    It is differentiated in every parameter of the cell, through Jacobians, QR and the states alike. Each layer is by
    itself: what it reads (inputs; the states of the layer below, without dropout) is constant.

    It acts on the first `first_steps` steps of the optimiser, and every `every_n_steps` from then on. The paper flosses
    alone before training, and alone for a while at intervals; here it is added to the loss.

    Args:
        weight: its factor in the loss. 0: measured only.
        exponents: k, at most the size of the whole state (h, and c where there is one). The authors' example takes 75
            of 80 units.
        interval: steps between two QR decompositions.
        warm_up: steps at a sequence's start that are left out; sequences that are no longer have no exponents. The
            authors' example leaves out 16 of 55.
        samples: of each batch, so many that are spread evenly over it: the first ones of a batch that is sorted by
            length would be its shortest. The example has 1.
        first_steps: the example's 50.
        every_n_steps: None: only the first steps.
        seed: of the first orthonormal vectors.

    Raises:
        ValueError: a value out of range; in `attach`, trees, or fewer state components than exponents.
    """

    needs_whole = True
    accumulates = False  # of each batch some samples, and not all of those: the mean would weigh them otherwise

    def __init__(
        self,
        weight: float = 1.0,
        exponents: int = 8,
        interval: int = 1,
        warm_up: int = 10,
        samples: int = 1,
        first_steps: int = 50,
        every_n_steps: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.weight = number("weight", weight, least=0.0)
        self.exponents, self.interval = integer("exponents", exponents), integer("interval", interval)
        self.warm_up, self.samples = integer("warm_up", warm_up, least=0), integer("samples", samples)
        self.first_steps = integer("first_steps", first_steps, least=0)
        self.every_n_steps = None if every_n_steps is None else integer("every_n_steps", every_n_steps)
        self.seed = integer("seed", seed, least=0)
        self._told = False

    def attach(self, cells: Sequence[Cell], trees: bool | None = None) -> None:
        refuse_trees(trees, TREES)
        for cell in cells:
            check_repeatable(cell, "flossing")
            size = len(cell.state_names) * cell.hidden_size
            if self.exponents > size:
                raise ValueError(
                    f"exponents: given {self.exponents}, but a state has {size} components ("
                    f"{' and '.join(cell.state_names)} of {cell.hidden_size} each); lower it to at most {size}"
                )

    def acts(self, number: int) -> bool:
        """Whether it acts on the step after `number` others."""
        return number < self.first_steps or (self.every_n_steps is not None and number % self.every_n_steps == 0)

    def penalty(self, step: Step) -> Tensor | None:
        refuse_trees(step.structure, TREES)
        assert isinstance(step.structure, Chain)
        every = step.structure.lengths
        chosen = evenly_spread(len(every), self.samples, every.device) & (every > self.warm_up)
        longer = chosen.nonzero().flatten().tolist()
        if not longer and not self._told:
            self._told = True
            log.warning(
                "regularizer=flossing: no sequence of a batch is longer than warm_up=%d: nothing is added to its loss",
                self.warm_up,
            )
        if not self.acts(step.number) or not longer:
            return None
        lengths = every[longer].tolist()
        read = [step.inputs, *(layer.hidden for layer in step.unrolled.layers[:-1])]
        layers = zip(step.cells, (values.detach()[longer] for values in read), strict=True)
        spectra = [
            lyapunov_exponents(cell, inputs, lengths, self.exponents, self.interval, self.warm_up, self.seed)
            for cell, inputs in layers
        ]
        return torch.stack([spectrum.square().mean() for spectrum in spectra]).sum()
