"""The torch engine: any device, no compiler.

RNNs and tree cells have their forward and backward pass written out (`written`, `updates`); along chains, LSTM and
GRU run torch's fused kernels, and their adjoints are found by a recursion of their own (`kernels`).
"""

from rnn_research.unroll.torch_kernels.fold import FusedFold
from rnn_research.unroll.torch_kernels.form import Unsupported

__all__ = ["FusedFold", "Unsupported"]
