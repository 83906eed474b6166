"""The reference engine: plain autograd. Any cell, any device, derivatives of any order.

`loop` calls the cell's `step` along the structure, `intervention` acts on gradients by functions of autograd, and
`unfolding` reads the adjoints off the gradients that autograd retained.
"""

from rnn_research.unroll.reference.unfolding import ReferenceUnfolding

__all__ = ["ReferenceUnfolding"]
