"""Comparing cells at equal size: the hidden size whose parameter count is nearest to a given number."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import nn

from rnn_research.checks import integer

LARGEST = 1 << 16


def hidden_size_for(target: int, make: Callable[[int], nn.Module], count: Callable[[nn.Module], int]) -> int:
    """The hidden size h for which `count(make(h))` is nearest to `target`; of two equally near, the smaller.

    The count must grow with h. Models are made on the meta device: no memory is used.

    Raises:
        ValueError: target < 1, or it is more than half below the smallest model's count, or beyond the largest's.
    """
    integer("match_parameters", target)

    @functools.cache
    def size(hidden: int) -> int:
        with torch.device("meta"):
            return count(make(hidden))

    smallest, high = size(1), 1
    while size(high) < target and high < LARGEST:
        high *= 2
    if target < smallest / 2 or target > size(high):
        raise ValueError(
            f"match_parameters: given {target}, expected {smallest} (hidden_size=1) or more, up to {size(LARGEST)} "
            f"(hidden_size={LARGEST})"
        )
    low = high // 2 + 1
    while low < high:  # the smallest h that reaches the target
        middle = (low + high) // 2
        low, high = (low, middle) if size(middle) >= target else (middle + 1, high)
    return low if low == 1 or size(low) - target < target - size(low - 1) else low - 1
