"""The parts of a run's model, made again from what its folder keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import nn

from rnn_research.cells.base import Cell
from rnn_research.clipping.none import NoClipping
from rnn_research.config.instantiate import instantiate_node, usage_error_at
from rnn_research.config.targets import check_targets, resolved
from rnn_research.datasets.base import Task
from rnn_research.errors import UsageError
from rnn_research.models.architectures import Architecture
from rnn_research.models.model import Model
from rnn_research.records import runs
from rnn_research.records.version1 import renamed
from rnn_research.structures.layouts import (
    BalancedTreeLayout,
    ChainLayout,
    Layout,
    LeftBranchingLayout,
    ParseTreeLayout,
    RightBranchingLayout,
)
from rnn_research.training.checkpoint_file import Unreadable, read_checkpoint

KNOWN = (ChainLayout, BalancedTreeLayout, LeftBranchingLayout, RightBranchingLayout, ParseTreeLayout)
LAYOUTS: dict[str, type[Layout]] = {one.name: one for one in KNOWN}
"""By the name that a run keeps."""
WEIGHTS = ("measured", "best", "last")


def task_of(plain: Any) -> Task:
    """The task that a run keeps.

    Raises:
        ValueError: it is damaged.
    """
    try:
        return Task.of(plain)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"its task is damaged ({error})") from None


def layout_of(name: Any) -> Layout:
    """The layout of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in LAYOUTS:
        raise ValueError(f"its structure is {name!r}, expected one of {', '.join(LAYOUTS)}")
    return LAYOUTS[name]()


def model_of(
    record: runs.RunRecord, task: Task, layout: Layout, trust: Sequence[str], weights: Mapping[str, torch.Tensor]
) -> Model:
    """A model as the run made it, with weights of its own.

    Args:
        weights: those that it will have: a model of more layers, or larger ones, is made of none.

    Raises:
        UsageError: the record describes none, or another than that of the weights, or names what is not trusted.
    """
    named = renamed({key: record.config.get(key) for key in ("model", "architecture")})
    for key, value in named.items():
        if not isinstance(value, Mapping) and (key == "model" or value is not None):
            raise UsageError(f"{record.name}: {runs.RECORD}: config.{key} is {str(value)[:80]!r}, expected a mapping")
    cfg = resolved(OmegaConf.create({**named, "trust": list(trust)}))
    check_targets(cfg, (), "--trust {}")
    sizes = record.actual.get("hidden_sizes")
    _check_sizes(record.name, cfg.model, sizes, task, weights)
    if sizes and OmegaConf.select(cfg, "model.cell") is not None:
        OmegaConf.update(cfg, "model.cell.hidden_size", sizes[0], force_add=True)
        OmegaConf.update(cfg, "model.match_parameters", None, force_add=True)
    cell: partial[Cell] = instantiate_node(cfg.model.get("cell"), "model.cell", Cell)
    architecture = instantiate_node(cfg.get("architecture"), "architecture", Architecture)
    unmade: partial[Model] = instantiate_node(cfg.model, "model", Model, cell=cell)
    with usage_error_at("model"), torch.random.fork_rng(devices=[]):
        return unmade(
            task,
            optimizer=torch.optim.SGD,
            clipping=NoClipping(),
            architecture=architecture,
            max_children=layout.max_children(task.max_children),
            position_targets=layout.position_targets(task.step_targets, task.tree_targets),
        )


def _check_sizes(name: str, model: Any, sizes: Any, task: Task, weights: Mapping[str, torch.Tensor]) -> None:
    """Sizes that the weights can have: of others a model might have no end."""
    tensors = [one for one in weights.values() if isinstance(one, torch.Tensor)]
    widest = max((size for one in tensors for size in one.shape), default=0)
    if sizes is not None and not (isinstance(sizes, list) and all(type(size) is int and size > 0 for size in sizes)):
        raise UsageError(
            f"{name}: {runs.RECORD}: actual.hidden_sizes is {str(sizes)[:80]!r}, expected a list of whole numbers"
        )
    hidden = sizes[0] if sizes else OmegaConf.select(model, "cell.hidden_size")
    found = {"num_layers": (model.get("num_layers"), len(tensors)), "hidden_size": (hidden, widest)}
    if task.tokens and task.vectors is None:
        found["embedding_size"] = model.get("embedding_size"), widest
    for key, (given, most) in found.items():
        if isinstance(given, int) and given > most:
            raise UsageError(
                f"{name}: {runs.RECORD}: {key} is {given}, but its weights have at most {most}; copy it again"
            )


def weights_of(folder: Path, record: runs.RunRecord, weights: str) -> Mapping[str, torch.Tensor]:
    """The weights of a run's folder, by name: one of `WEIGHTS`.

    Raises:
        UsageError: they are not there, or damaged.
    """
    name = {"last": runs.CHECKPOINT, "best": runs.BEST}.get(weights) or record.weights.get("measured", runs.CHECKPOINT)
    if name not in (runs.CHECKPOINT, runs.BEST):
        raise UsageError(
            f"{folder}: says that it was measured with {name!r}, expected {runs.CHECKPOINT} or {runs.BEST}"
        )
    path = folder / name
    if not path.is_file():
        raise UsageError(f"{path}: not there, expected the weights; give another folder, or other weights")
    try:
        return dict(read_checkpoint(path)["state_dict"])
    except (Unreadable, KeyError, TypeError, ValueError) as error:
        reason = str(error) if isinstance(error, Unreadable) else "it holds no weights"
        raise UsageError(f"{path}: can't be read ({reason}); train it again") from None


def fill(model: nn.Module, weights: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Give the model the weights of its parameters; what strategies remembered is left out."""
    for name, parameter in model.named_parameters():
        held = weights.get(name)
        if not isinstance(held, torch.Tensor) or held.shape != parameter.shape:
            found = "none" if held is None else f"{tuple(getattr(held, 'shape', ()))}"
            raise UsageError(
                f"{folder}: {name} has the shape {found}, expected {tuple(parameter.shape)}; train it again"
            )
        with torch.no_grad():
            parameter.copy_(held)
