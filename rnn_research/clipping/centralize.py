"""Gradient centralization (Yong, Huang, Hua and Zhang 2020)."""

from __future__ import annotations

from torch import nn

from rnn_research.clipping.base import Clipping


class Centralize(Clipping):
    """G_i <- G_i - mean(G_i) for each row i of a weight matrix, over all axes but the first; biases stay.

    Yong et al. (2020, arXiv:2004.01461, eq. 1): the gradient is projected on the weights whose rows keep their mean. In
    a stacked gate matrix a row is what one hidden unit reads in one gate. It changes the direction; the coefficient is
    the ratio of the norms.
    """

    def forward(self, parameters: list[nn.Parameter]) -> None:
        for parameter in parameters:
            gradient = parameter.grad
            if gradient is not None and gradient.ndim > 1:
                exact = gradient.double()
                gradient.copy_(exact - exact.mean(tuple(range(1, gradient.ndim)), keepdim=True))
