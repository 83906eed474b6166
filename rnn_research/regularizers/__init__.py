"""Regularizers: what is added to the loss or its gradient, or done to the weights, besides the task. The config group
`regularizer=`.

One file a regularizer; the contract is in `base`.
"""

from rnn_research.regularizers.base import Regularizer, Step

__all__ = ["Regularizer", "Step"]
