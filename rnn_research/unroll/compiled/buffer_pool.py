"""The memory of tapes, used again: fresh memory costs a page fault every 4 KB, as much as a tenth of a step."""

from __future__ import annotations

import threading
import weakref

import torch
from torch import Tensor

SMALL = 1 << 20  # bytes: below, malloc has it at hand
KEPT = 256 << 20  # bytes that are kept for the next call, at most

_spare: list[Tensor] = []
_lock = threading.RLock()  # reentrant: collecting garbage, and so `_keep`, may come in the middle of `take`


def take(size: int, dtype: torch.dtype) -> Tensor:
    """An uninitialised vector of `size`. Its memory is used again once nothing refers to it."""
    if size * dtype.itemsize < SMALL:
        return torch.empty(size, dtype=dtype)
    with _lock:
        fitting = [one for one in _spare if one.dtype == dtype and size <= len(one) <= 2 * size]
        memory = min(fitting, key=len, default=None)
        _spare[:] = [one for one in _spare if one is not memory]
    if memory is None:
        memory = torch.empty(size, dtype=dtype)
    tape = memory[:size]
    weakref.finalize(tape, _keep, memory).atexit = False
    return tape


def _keep(memory: Tensor) -> None:
    with _lock:
        _spare.append(memory)
        while sum(one.nbytes for one in _spare) > KEPT:
            _spare.pop(0)
