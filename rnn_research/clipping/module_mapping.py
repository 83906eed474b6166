"""Modules under names of users' choice."""

from __future__ import annotations

from torch import nn


class ModuleMapping(nn.ModuleDict):
    """An `nn.ModuleDict` in which a module may be called as a method of torch's modules is: `half`, `float`, `type`.

    Only its items are of use: as attributes those names stay the methods.
    """

    def add_module(self, name: str, module: nn.Module | None) -> None:
        if module is not None and hasattr(nn.ModuleDict, name):
            self._modules[name] = module
        else:
            super().add_module(name, module)
