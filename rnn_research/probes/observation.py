"""What a probe is given to measure: one step of training, whatever library trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from rnn_research.cells.base import Cell, State
from rnn_research.unroll import LayerStates, Unrolled


@dataclass(frozen=True, eq=False)
class Observation:
    """One step, after its backward pass, before clipping and before the weights change.

    Of accumulated batches, gradients are the whole step's; `unrolled`, `scale`, `terminal` and `inputs` are the last
    batch's. These four are there for a probe that `needs_adjoints`.

    Args:
        step: the updates before it: 0 is the initialisation.
        cells: the layers of cells, from the bottom up.
        readout: the last linear layer.
        parameters: all of the model's, by name, with their gradients.
        unrolled: what was unrolled, by name: states and their adjoints, layer by layer.
        scale: a gradient times this is the gradient of a sample's own summed loss.
        terminal: by the same names, for each layer the adjoints of the loss of the answers alone (the last step's or
            the root's), where the loss also reads other positions; empty where it reads those alone.
        inputs: the batch's, at the positions of the first that was unrolled.
        tokens: whether inputs are tokens.
        directions: by the same names, of a part that is one direction of a layer the layer's number and the direction:
            0 forward, 1 backward, where positions are in reverse order.
        parts: by the same names, 0 of an encoder and 1 of a decoder; empty where there is one part.
        attended: for each of the first `layers`, those of an encoder that a decoder attends to, the part of the
            adjoints of the summed loss that left the encoder through attention; empty where there is no attention.
        read: by the same names, the data's own inputs at the positions of what reads others than `inputs`.
    """

    step: int
    cells: Sequence[Cell]
    readout: nn.Module
    parameters: Mapping[str, nn.Parameter]
    unrolled: Mapping[str, Unrolled] = field(default_factory=dict)
    scale: Tensor | float = 1.0
    terminal: Mapping[str, Sequence[State]] = field(default_factory=dict)
    inputs: Tensor | None = None
    tokens: bool = False
    directions: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    parts: Mapping[str, int] = field(default_factory=dict)
    read: Mapping[str, Tensor] = field(default_factory=dict)
    attended: Sequence[State] = ()

    @property
    def layers(self) -> list[LayerStates]:
        """All layers, in the order in which they were unrolled, from the bottom up."""
        return [layer for one in self.unrolled.values() for layer in one.layers]

    def rows(self, index: int) -> dict[str, int]:
        """What the rows of `layers[index]` have in common: `layer`, and where a layer has two chains `direction`, 0
        forward and 1 backward.

        Where there are an encoder and a decoder, `part` is 0 and 1, and layers are counted in each: layer l of the
        decoder goes on from where layer l of the encoder ends.
        """
        name, layer = self._place(index)
        found = {"part": self.parts[name]} if self.parts else {}
        if self.directions:
            layer, direction = self.directions.get(name, (layer, 0))
            return {**found, "layer": layer, "direction": direction}
        return {**found, "layer": layer if self.parts else index}

    def inputs_of(self, index: int) -> Tensor | None:
        """The data's own inputs at the positions of `layers[index]`, in the order of the data."""
        return self.read.get(self._place(index)[0], self.inputs)

    def _place(self, index: int) -> tuple[str, int]:
        """The name under which `layers[index]` was unrolled, and its number there."""
        for name, one in self.unrolled.items():
            if index < len(one.layers):
                return name, index
            index -= len(one.layers)
        raise IndexError(index)
