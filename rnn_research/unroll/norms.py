"""L2 norms in float64, of gradients that may be out of the range of what is squared."""

from __future__ import annotations

import torch
from torch import Tensor


def norm(values: Tensor, dim: int | None = None) -> Tensor:
    """The L2 norm along `dim` (None: of all), in float64; of float64 values of 1e-200 or 1e200 too, whose squares are
    0 or infinite."""
    found = torch.linalg.vector_norm(values, dim=dim, dtype=torch.float64)
    if values.dtype != torch.float64 or values.numel() == 0 or ((found > 1e-140) & (found < 1e140)).all():
        return found
    largest = values.detach().abs().amax(dim=() if dim is None else dim, keepdim=True)
    unit = torch.where((largest > 0) & largest.isfinite(), largest, 1.0)
    scaled = torch.linalg.vector_norm(values / unit, dim=dim, dtype=torch.float64) * unit.view(found.shape)
    return torch.where((found > 1e-140) & (found < 1e140), found, scaled)
