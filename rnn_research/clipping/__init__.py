"""Clipping: what is done to the gradient between backward and the optimiser's step. The config group `clipping=`.

One file a strategy; the contract is in `base`.
"""

from rnn_research.clipping.base import Clipped, Clipping, Composed, WithinBackward, clip, skip
from rnn_research.clipping.scaling import Scaling

__all__ = ["Clipped", "Clipping", "Composed", "Scaling", "WithinBackward", "clip", "skip"]
