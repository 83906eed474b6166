"""The torch engine's result of one layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from rnn_research.cells import GRU, LSTM, RNN, Cell, State, TreeRNN
from rnn_research.structures import Chain, Forest
from rnn_research.unroll.backward import reachable, unrecorded_gradients
from rnn_research.unroll.intervention import NormsByPoint
from rnn_research.unroll.torch_kernels.chain_kernel import BackwardPass, ChainKernel, KernelRecord, Unsupported
from rnn_research.unroll.torch_kernels.explicit_backward import UPDATES, ExplicitBackward
from rnn_research.unroll.torch_kernels.fused_gru import GRUKernel
from rnn_research.unroll.torch_kernels.fused_lstm import LSTMKernel
from rnn_research.unroll.torch_kernels.row_order import row_order_of, take
from rnn_research.unroll.torch_kernels.vanilla_kernel import VanillaKernel
from rnn_research.unroll.unfolding import PastUpdate, Record, Unfolding
from rnn_research.unroll.versions import Versions

ALONG_CHAINS: dict[type[Cell], Callable[..., ChainKernel]] = {
    LSTM: LSTMKernel,
    GRU: GRUKernel,
    RNN: VanillaKernel,
    TreeRNN: VanillaKernel,
}
"""By the cell's own type: a subclass may have another `step`."""
PRECISIONS = (torch.float32, torch.float64)
HALVES = ("step", "project", "recur", "activations", "summed")


class TorchUnfolding(Unfolding):
    """The states by one of this engine's kernels and, after a backward pass, their adjoints.

    Along chains, an LSTM's and a GRU's are found by their own recursion from the gradients that reach the states from
    outside, with the weights as they were at the time; recording leaves the states and their gradients as they are,
    bit for bit. An LSTM's c is not among the fused kernel's results at every position: it is made, in the graph of
    autograd, for whoever reads `states`.

    Raises:
        Unsupported: there is no kernel for this cell, on this structure, in this precision.
    """

    def __init__(
        self, cell: Cell, structure: Chain | Forest, inputs: Tensor, initial: State | None, record: Record
    ) -> None:
        super().__init__(cell, structure, record)
        _check(cell, inputs)
        inputs = reachable(inputs, cell, record)
        self.row_order = row_order_of(structure, initial is not None, inputs.device)
        self.initial = first = () if initial is None else tuple(initial)
        if self.row_order.longest_first is not None:
            first = tuple(part.index_select(0, self.row_order.longest_first) for part in first)
        self.recorded = KernelRecord() if record else None
        self.inputs = inputs
        self.kernel = _kernel_for(cell, structure)(cell, structure, self.row_order, inputs, first, self.recorded)
        self._last: tuple[int, BackwardPass] | None = None
        self._read = Versions(self.read_again()) if record else None
        self._placed: dict[int, Tensor] = {}

    @property
    def how(self) -> str:
        """What computes it, in a few words."""
        return self.kernel.how

    @property
    def states(self) -> State:
        return self.cell.state_type(*map(self._part, range(len(self.cell.state_names))))

    @property
    def hidden(self) -> Tensor:
        return self._part(0)

    def ends(self) -> State:
        last = self.kernel.last
        return super().ends() if last is None else self.cell.state_type(*last)

    @property
    def passes(self) -> int:
        return 0 if self.recorded is None else self.recorded.passes

    def adjoints(self) -> State:
        return self._of(self._found().adjoints)

    def norms_by_point(self) -> NormsByPoint:
        return {}

    def direct(self) -> State:
        assert self.recorded is not None
        like, found = self.kernel.part(0), self.recorded.direct
        return self.carried_through_update(
            [
                self.row_order.place(found[part] if part in found else torch.zeros_like(like))
                for part in range(len(self.cell.state_names))
            ]
        )

    def recurrent(self) -> State:
        return self.carried_through_update([self.row_order.place(part) for part in self._found().recurrent()])

    def adjoints_of(self, loss: Tensor) -> State:
        handed = self.kernel.handed()
        grads = unrecorded_gradients(loss, list(handed.values()))
        direct = {part: grad for part, grad in zip(handed, grads, strict=True) if grad is not None}
        return self._of(self.kernel.back(direct).adjoints)

    def updates(self) -> Iterator[PastUpdate]:
        row_order, buffers = self.row_order, self.kernel.buffers()
        inputs = row_order.gather(self.inputs.detach())
        for group in row_order.by_arity:
            children = [take(part, group.children) for part in buffers]
            children = [
                part.view(-1, group.arity, part.shape[-1]).unbind(1) if group.arity else () for part in children
            ]
            with torch.no_grad():
                projected = self.cell.project(take(inputs, group.nodes))
            previous = tuple(self.cell.state_type(*child) for child in zip(*children, strict=True))
            state = self.cell.state_type(*(take(part[row_order.before :], group.nodes) for part in buffers))
            yield take(row_order.positions, group.nodes), projected.detach(), previous, state

    def read_again(self) -> dict[str, Sequence[Tensor]]:
        return {"inputs": [self.inputs], "initial states": self.initial, "states": [self.kernel.part(0)]}

    def _part(self, index: int) -> Tensor:
        if index not in self._placed:
            self._placed[index] = self.row_order.place(self.kernel.part(index))
        return self._placed[index]

    def _found(self) -> BackwardPass:
        assert self.recorded is not None
        if self.recorded.found is not None:
            return self.recorded.found
        if self._last is None or self._last[0] != self.recorded.passes:
            if self._read is not None:
                self._read.check()  # they are computed again
            self._last = self.recorded.passes, self.kernel.back(self.recorded.direct)
        return self._last[1]

    def _of(self, parts: list[Tensor]) -> State:
        """In memory of their own: what is found of them later must not depend on what becomes of these."""
        return self.cell.state_type(*(self.row_order.place(part.clone()) for part in parts))


def _check(cell: Cell, inputs: Tensor) -> None:
    """Raise `Unsupported` where no kernel does what `cell.step` does."""
    name = type(cell).__name__
    if type(cell) not in UPDATES:
        raise Unsupported(f"no backward pass is written out for {name}")
    for half in HALVES:
        if half in vars(cell):
            raise Unsupported(f"this {name} has a {half} of its own")
    if torch.is_autocast_enabled(inputs.device.type):
        raise Unsupported("autocast is on, it has one precision")
    if inputs.dtype not in PRECISIONS:
        raise Unsupported(f"it has float32 and float64, the inputs are {inputs.dtype}")
    given = f"the inputs are {inputs.dtype} on {inputs.device}"
    for key, parameter in cell.named_parameters():
        if parameter.dtype != inputs.dtype or parameter.device != inputs.device:
            raise Unsupported(f"{key} is {parameter.dtype} on {parameter.device}, {given}")


def _kernel_for(cell: Cell, structure: Chain | Forest) -> Callable[..., ChainKernel]:
    """A fused kernel where torch has one: along chains, and of the GRU that resets after the product."""
    if isinstance(structure, Forest) or (isinstance(cell, GRU) and not cell.reset_after):
        return ExplicitBackward
    return ALONG_CHAINS.get(type(cell), ExplicitBackward)
