"""Torch's fused GRU, and the recursion that finds its adjoints."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rnn_research.unroll.torch_kernels.chain_kernel import BackwardPass
from rnn_research.unroll.torch_kernels.fused_kernel import FusedKernel
from rnn_research.unroll.torch_kernels.row_order import cut, take


class GRUKernel(FusedKernel):
    """dL/dh' has two ways round the gates: through U, where the gradient in n's pre-activation is scaled by r, and by
    z."""

    name = "GRU"
    call = torch._VF.gru  # pyright: ignore[reportAttributeAccessIssue]

    def begin(self, first: tuple[Tensor, ...]) -> Any:
        return first[0]

    @torch.no_grad()
    def replayed(self) -> list[Tensor]:
        return [self._hidden()]

    @torch.no_grad()
    def back(self, direct: dict[int, Tensor]) -> BackwardPass:
        size, before, counts = self.size, self.full.before, self.full.counts
        weight_ih, weight, bias_ih, bias_hh = self.weights
        inputs, hidden, recurrent = self.row_order.gather(self.inputs.detach()), self._hidden(), self._passed()
        adjoints = torch.empty_like(hidden[before:])
        steps_of = [self._direct(direct.get(0)), cut(adjoints, counts), *self._by_step(recurrent)]
        for steps, rows, children in reversed(self._blocks()):
            previous, count = take(hidden, children), counts[steps]
            given = nn.functional.linear(inputs[rows], weight_ih, bias_ih)
            spread = nn.functional.linear(previous, weight, bias_hh)
            r, z = (given[:, : 2 * size] + spread[:, : 2 * size]).sigmoid_().chunk(2, 1)
            from_hidden = spread[:, 2 * size :]
            n = torch.addcmul(given[:, 2 * size :], r, from_hidden).tanh_()
            grad_preactivations = torch.empty_like(spread)
            of_r, of_z, of_n = grad_preactivations.chunk(3, 1)
            torch.mul((1 - n * n).mul_(1 - z), r, out=of_n)
            torch.mul(of_n, from_hidden * (1 - r), out=of_r)
            torch.mul(previous - n, torch.addcmul(z, z, z, value=-1), out=of_z)
            local = cut(grad_preactivations, count), cut(grad_preactivations.view(-1, 3, size), count), cut(z, count)
            here = list(zip(*(part[steps] for part in steps_of), *local, strict=True))
            for g_h, dh, r_h, to_h, grad, of_gates, z_t in reversed(here):
                if g_h is None:
                    dh.copy_(r_h)
                else:
                    torch.add(r_h, g_h, out=dh)
                of_gates.mul_(dh[:, None])
                torch.mul(dh, z_t, out=to_h).addmm_(grad, weight)
        return BackwardPass([adjoints], lambda: [recurrent[before:]])
