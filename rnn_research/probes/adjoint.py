"""The adjoint of every state: how far back the gradient reaches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnn_research.cells.base import State
from rnn_research.checks import integer
from rnn_research.probes.base import Columns, Probe
from rnn_research.probes.observation import Observation
from rnn_research.records.stacked import stacked
from rnn_research.structures import Chain, evenly_spread
from rnn_research.unroll import LayerStates
from rnn_research.unroll.norms import norm


class Adjoint(Probe):
    """The L2 norm of dL/ds of every state s (h, c, ...), one row a (layer, sample, position), padding left out.

    L is the *sample's own* summed loss: the norms do not depend on the batch size, on what else is in the batch, on
    gradient accumulation, or on loss scaling. They are accumulated in float64. Columns: `layer`, `sample`, `distance`
    (see `LayerStates`), and for each state `<state>` (the total), `<state>_direct` and `<state>_recurrent`. Where a
    layer has two chains there is `direction` (0 forward, 1 backward); the distance is that to the chain's own end, and
    below the top layer there are other ways, by the chains above, that may be shorter. Where the loss reads more
    positions than the last one, `<state>_terminal` is the adjoint of the last one's loss alone: only there has a state
    one distance to the loss, so it is what a vanishing curve is drawn from. Where the data are tokens, `token` is the
    one read there (0: nothing is read). Where there are an encoder and a decoder, `part` is 0 and 1, and `distance`
    counts the one way through states: see `models.architectures.encoder_decoder`; with attention `<state>_attention` is
    the part of an encoder's adjoint that left the encoder through it, wherever it did (NaN of a decoder's).

    Where a strategy acts inside backpropagation these are the adjoints that flow, after it; and for each point at
    which one acts (see `unroll.intervention`: `recurrent`, `adjoint`, `preactivation`) there are `<point>_before` and
    `<point>_after`, the norm over all parts of the state (or all gates) before and after, NaN in layers and steps in
    which nothing acted there (sequences that are no longer than the window of `tbptt`).

    Which samples: those of the step's batch, or `samples` of them that are spread evenly over it. A batch may be sorted
    by length (`dataset.bucket`): its first samples would be its shortest; spread evenly, they are as long as the
    batch's. `sample` is a sample's number in the batch, counted from 0.

    Args:
        samples: how many samples of the batch are kept; null: all.

    Raises:
        ValueError: samples < 1 (and as `Probe`).
    """

    needs_adjoints = True
    needs_terminal = True

    def __init__(
        self, every_n_steps: int = 100, first: bool = True, last: bool = True, samples: int | None = 32
    ) -> None:
        super().__init__(every_n_steps, first, last)
        self.samples = None if samples is None else integer("samples", samples)

    def measure(self, observation: Observation) -> Columns:
        terminal = [state for states in observation.terminal.values() for state in states]
        parts = []
        for index, layer in enumerate(observation.layers):
            last = terminal[index] if terminal else None
            place = observation.rows(index)
            tokens = observation.inputs_of(index) if observation.tokens else None
            read = _turned(tokens, layer) if place.get("direction") else tokens
            rows = self._rows(place, layer, observation.scale, last, read)
            if observation.attended:
                rows |= self._attended(layer, observation.attended[index : index + 1])
            parts.append(rows)
        return stacked([{name: values.cpu().numpy() for name, values in part.items()} for part in parts])

    def _rows(
        self,
        place: dict[str, int],
        layer: LayerStates,
        per_sample: Tensor | float,
        terminal: State | None,
        tokens: Tensor | None,
    ) -> dict[str, Any]:
        kept = self._kept(layer)
        sample, distance = layer.structure.sample[kept].int(), layer.distance[kept].int()
        rows: dict[str, Any] = {name: torch.full_like(sample, number).short() for name, number in place.items()}
        rows |= {"sample": sample, "distance": distance}
        if tokens is not None:
            rows["token"] = tokens[kept].int()
        for suffix, which in {"": "adjoints", "_direct": "direct", "_recurrent": "recurrent"}.items():
            for name, norms in zip(layer.cell.state_names, layer.norms(which), strict=True):
                rows[name + suffix] = norms[kept] * per_sample
        for point, norms in layer.norms_by_point().items():
            for when, values in zip(("before", "after"), norms, strict=True):
                rows[f"{point}_{when}"] = values[kept] * per_sample
        if terminal is not None:  # of a sum over samples, so each sample's own already
            for name, values in zip(layer.cell.state_names, terminal, strict=True):
                rows[f"{name}_terminal"] = norm(values[kept], -1)
        return rows

    def _kept(self, layer: LayerStates) -> Tensor:
        """The positions of the samples that are kept."""
        kept = layer.mask
        if self.samples is not None and self.samples < len(layer.structure):
            kept = kept & evenly_spread(len(layer.structure), self.samples, kept.device)[layer.structure.sample]
        return kept

    def _attended(self, layer: LayerStates, found: Sequence[State]) -> dict[str, Tensor]:
        """The norms of what came through attention: of a sum over samples, so each sample's own. NaN in a decoder."""
        kept, rows = self._kept(layer), {}
        for number, name in enumerate(layer.cell.state_names):
            none = torch.full((int(kept.sum()),), torch.nan, dtype=torch.float64, device=kept.device)
            rows[f"{name}_attention"] = norm(found[0][number][kept], -1) if found else none
        return rows


def _turned(tokens: Tensor | None, layer: LayerStates) -> Tensor | None:
    """The tokens in the order in which a backward chain reads them."""
    chain = layer.structure
    return chain.reverse(tokens) if tokens is not None and isinstance(chain, Chain) else tokens
