"""Initialisations of a cell's parameters: the config group `init=`, applied in the order given.

Each is a function `(cell, ...) -> None` that overwrites parameters in place, one gate at a time: a fused matrix is
not a matrix of the right shape to be orthogonal, or to have a spectral radius. Where none is given, a cell has torch's
default, U(-1/sqrt(hidden), 1/sqrt(hidden)).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rnn_research.cells.base import Cell
from rnn_research.checks import integer, number


def default(cell: Cell) -> None:
    """torch's default, which every new cell has: U(-1/sqrt(hidden), 1/sqrt(hidden))."""


def gaussian(cell: Cell, gain: float = 1.0) -> None:
    """U ~ N(0, gain^2 / hidden): in the limit of a large hidden size, spectral radius `gain`.

    Raises:
        ValueError: gain < 0.
    """
    scale = number("gain", gain, least=0.0) * cell.hidden_size**-0.5
    for _, block in cell.recurrent_blocks():
        block.normal_(0.0, scale)


def orthogonal(cell: Cell, gain: float = 1.0) -> None:
    """Each gate's (and child's) U = gain * Q with Q orthogonal (Saxe et al. 2014; QR of a Gaussian, signs fixed).

    Raises:
        ValueError: gain < 0.
    """
    number("gain", gain, least=0.0)
    for _, block in cell.recurrent_blocks():
        block.copy_(gain * torch.nn.init.orthogonal_(torch.empty(block.shape, dtype=torch.float64)))


def scaled(cell: Cell, gain: float = 1.0) -> None:
    """U <- gain * U, of U as the initialisations listed before it left it; alone, it scales torch's default.

    Raises:
        ValueError: gain < 0.
    """
    number("gain", gain, least=0.0)
    for _, block in cell.recurrent_blocks():
        block.mul_(gain)


def identity(cell: Cell, scale: float = 1.0, input_scale: float = 0.001) -> None:
    """The IRNN (Le, Jaitly and Hinton 2015): U = scale * I, W ~ N(0, input_scale^2), biases 0. Meant for relu.

    Raises:
        ValueError: scale < 0 or input_scale < 0.
    """
    number("scale", scale, least=0.0)
    number("input_scale", input_scale, least=0.0)
    for _, block in cell.recurrent_blocks():
        block.copy_(torch.eye(cell.hidden_size)).mul_(scale)
    for _, block in cell.input_blocks():
        block.normal_(0.0, input_scale)
    _zero_biases(cell)


def basic_tanh(cell: Cell, scale: float = 0.1) -> None:
    """Pascanu et al. 2013, "basic tanh": W and U ~ N(0, 0.1^2), biases 0.

    Raises:
        ValueError: scale < 0.
    """
    number("scale", scale, least=0.0)
    for _, block in (*cell.recurrent_blocks(), *cell.input_blocks()):
        block.normal_(0.0, scale)
    _zero_biases(cell)


def sigmoid(cell: Cell, scale: float = 0.01) -> None:
    """Pascanu et al. 2013, "sigmoid": as `basic_tanh` with N(0, 0.01^2); meant for the sigmoid nonlinearity."""
    basic_tanh(cell, scale)


def smart_tanh(cell: Cell, nonzeros: int = 15, radius: float = 0.95, scale: float = 0.01) -> None:
    """Pascanu et al. 2013, "smart tanh": U sparse with `nonzeros` entries a row and spectral radius `radius`,
    W ~ N(0, scale^2), biases 0.

    Raises:
        ValueError: nonzeros < 1, or radius or scale < 0.
    """
    integer("nonzeros", nonzeros)
    number("radius", radius, least=0.0)
    number("scale", scale, least=0.0)
    for _, block in cell.recurrent_blocks():
        block.copy_(_sparse(cell.hidden_size, nonzeros, radius))
    for _, block in cell.input_blocks():
        block.normal_(0.0, scale)
    _zero_biases(cell)


def forget_bias(cell: Cell, value: float = 1.0) -> None:
    """b_f = value, the sum of both biases (Gers et al. 2000; Jozefowicz et al. 2015 recommend 1).

    Raises:
        ValueError: the cell has no forget gate with a bias.
    """
    number("value", value)
    ours, theirs = _bias_of(cell, "f", "forget_bias")
    ours.fill_(value)
    theirs.zero_()


def chrono(cell: Cell, longest: int = 100) -> None:
    """Tallec and Ollivier 2018: b_f ~ ln U[1, longest - 1] and b_i = -b_f, where b is the sum of both biases (drawing
    both at random, as some ports do, squares the time scale).

    Raises:
        ValueError: longest < 3, or the cell lacks an input or a forget gate with a bias.
    """
    integer("longest", longest, least=3)
    forget, other_forget = _bias_of(cell, "f", "chrono")
    enter, other_enter = _bias_of(cell, "i", "chrono")
    forget.uniform_(1.0, longest - 1.0).log_()
    enter.copy_(-forget)
    other_forget.zero_()
    other_enter.zero_()


def _zero_biases(cell: Cell) -> None:
    for _, ours, theirs in cell.bias_blocks():
        ours.zero_()
        theirs.zero_()


def _bias_of(cell: Cell, gate: str, name: str) -> tuple[Tensor, Tensor]:
    for found, ours, theirs in cell.bias_blocks():
        if found == gate:
            return ours, theirs
    raise ValueError(
        f"init={name}: {type(cell).__name__} has no gate {gate!r} with a bias; use it with an LSTM or a Tree-LSTM, "
        "and bias=true"
    )


def _sparse(size: int, nonzeros: int, radius: float) -> Tensor:
    """A random matrix with at most `nonzeros` Gaussian entries a row, scaled to the spectral radius."""
    block = torch.randn(size, size, dtype=torch.float64)
    if nonzeros < size:
        drop = torch.rand(size, size).argsort(1)[:, nonzeros:]
        block.scatter_(1, drop, 0.0)
    largest = float(torch.linalg.eigvals(block).abs().max())
    return block * (radius / largest) if largest > math.ulp(1.0) else block
