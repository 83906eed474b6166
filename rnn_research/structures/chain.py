"""A batch of sequences: each state feeds the next one in time."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Chain:
    """A padded batch of sequences with their lengths, in any order.

    A position is (sample, step); states have shape (batch, time, hidden) with `time = lengths.max()`.

    Raises:
        ValueError: `lengths` is not a non-empty vector of integers >= 1.
    """

    lengths: Int[Tensor, " batch"]
    time: int = field(init=False, repr=False)
    """The longest length."""

    def __post_init__(self) -> None:
        if self.lengths.ndim != 1 or self.lengths.numel() == 0 or self.lengths.is_floating_point():
            raise ValueError(f"lengths: given {self.lengths!r}, expected a non-empty vector of integers")
        object.__setattr__(self, "lengths", self.lengths.clone())  # what is changed in place is not this batch's
        shortest, longest = map(int, self.lengths.aminmax())
        object.__setattr__(self, "time", longest)
        if shortest < 1:
            where = int(self.lengths.argmin())
            raise ValueError(
                f"lengths: sample {where} has length {shortest}, expected at least 1: drop it or give it a token"
            )

    def __len__(self) -> int:
        return self.lengths.numel()

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the positions: (batch, time)."""
        return len(self), self.time

    @property
    def max_children(self) -> int:
        """Previous states of one update: always 1."""
        return 1

    @cached_property
    def distance(self) -> Int[Tensor, "batch time"]:
        """Cell applications from the state after each step to the last state of its sequence: `length - 1 - t`.
        Padding has a negative distance."""
        return self.lengths[:, None] - 1 - torch.arange(self.time, device=self.lengths.device)

    @cached_property
    def mask(self) -> Bool[Tensor, "batch time"]:
        """True at real steps, False at padding."""
        return self.distance >= 0

    @cached_property
    def sample(self) -> Int[Tensor, "batch time"]:
        """The sample that each position belongs to."""
        return torch.arange(len(self), device=self.lengths.device)[:, None].expand(-1, self.time)

    def terminal(self, values: Float[Tensor, "batch time features"]) -> Float[Tensor, "batch features"]:
        """The value at each sequence's last step."""
        index = (self.lengths - 1)[:, None, None].expand(-1, 1, values.shape[-1])
        return values.gather(1, index).squeeze(1)

    def reverse(self, values: Shaped[Tensor, "batch time *features"]) -> Shaped[Tensor, "batch time *features"]:
        """The values with each sequence's own steps in reverse order, and zero at padding, which is not read. Twice
        gives the values again."""
        if bool(self.mask.all()):
            return values.flip(1)
        steps = torch.arange(self.time, device=self.lengths.device)
        place = torch.where(self.mask, self.distance, steps)
        shape = (*place.shape, *(1,) * (values.ndim - 2))
        turned = values.gather(1, place.view(shape).expand(values.shape))
        return torch.where(self.mask.view(shape), turned, torch.zeros((), dtype=values.dtype, device=values.device))

    def to(self, *args: Any, **kwargs: Any) -> Chain:
        """The same chain on another device; itself where it is there."""
        lengths = self.lengths.to(*args, **kwargs)
        return self if lengths is self.lengths else Chain(lengths)
