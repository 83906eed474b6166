"""Clipping: what is done to the gradient between backward and the optimiser's step. The config group `clipping=`.

One file a strategy; the contract is in `base`.
"""

from rnn_research.clipping.base import BackwardStrategy, Clipping, ClippingEffect, Composed, clip, skip
from rnn_research.clipping.norm_scaling import NormScaling

__all__ = ["BackwardStrategy", "Clipping", "ClippingEffect", "Composed", "NormScaling", "clip", "skip"]
