"""The torch engine: any device, no compiler.

RNNs and tree cells have a forward and a backward pass of our own (`vanilla_kernel`, `explicit_backward` with the cells'
updates). Along chains, LSTM and GRU run torch's fused kernels, and a recursion of our own finds their adjoints
(`fused_kernel`, `fused_lstm`, `fused_gru`).
"""

from rnn_research.unroll.torch_kernels.chain_kernel import Unsupported
from rnn_research.unroll.torch_kernels.unfolding import TorchUnfolding

__all__ = ["TorchUnfolding", "Unsupported"]
