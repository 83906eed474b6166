"""From a composed config to live objects: the only caller of `hydra.utils.instantiate`.

What a user typed wrongly is found here, before training starts: targets from packages nobody trusts, values out of
range, pairs of options that can't work together. Each gives one `UsageError` that names the key.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from rnn_research.cells.base import Cell, Initialisation
from rnn_research.checks import choice, integer, nearest, number
from rnn_research.clipping.base import Clipping
from rnn_research.datasets.base import DataModule
from rnn_research.models.model import Model
from rnn_research.probes.base import Probe
from rnn_research.structures import Layout

TRUSTED = ("rnn_research", "torch", "lightning", "torchmetrics")
"""Packages that a `_target_` may name without the user's word: a config from a stranger is code."""
REFUSED = {
    key: "rnn_research clips by strategy, and records what it did: use clipping=global_norm clipping.max_norm=1.0 "
    "(or clipping=value clipping.max_value=1.0)"
    for key in ("trainer.gradient_clip_val", "trainer.gradient_clip_algorithm")
}
"""Keys of Lightning's that would do something else than a user of this project expects, with the repair."""


class UsageError(Exception):
    """A mistake in what the user asked for: one line that says what was given, what was expected, and the repair."""


@dataclass(frozen=True)
class Parts:
    """The live objects of one training. `layout` is resolved: never "auto"."""

    data: DataModule
    layout: Layout
    model: Model
    probes: dict[str, Probe]
    trainer: Callable[..., Any]
    loggers: dict[str, Callable[..., Any]]


def build(cfg: DictConfig, folders: tuple[Path, ...] = ()) -> Parts:
    """The objects that a config describes. Seeds torch with `cfg.seed` just before the model is made.

    Args:
        cfg: the composed config.
        folders: the user's config folders; what is defined in files there may be a `_target_`.

    Raises:
        UsageError: see the module.
    """
    _check_scalars(cfg)
    _check_targets(cfg, folders)
    cell: partial[Cell] = _make(cfg.model.cell, "model.cell")
    data: DataModule = _make(cfg.dataset, "dataset")
    with _told("dataset"):
        task = data.task
    layout = _layout(cfg, task.has_parse, _class(cell).reads_children)
    data.layout, data.order_seed = layout, cfg.seed
    initialise = tuple(_made(cfg.init, "init").values())
    clipping: Clipping = _make(cfg.clipping, "clipping")
    optimizer = _optimizer(cfg)
    with _told("structure"):
        children = layout.max_children(task.max_children)
    _check_cell(cell, children, dict(zip(cfg.init, initialise, strict=True)))
    make: partial[Model] = _make(cfg.model, "model", cell=cell)
    torch.manual_seed(cfg.seed)
    with _told("model"):
        model = make(
            task,
            optimizer=optimizer,
            clipping=clipping,
            initialise=initialise,
            max_children=children,
            position_targets=layout.position_targets(task.step_targets, task.tree_targets),
        )
    probes = {name: probe for name, probe in _made(cfg.probe, "probe").items()}
    return Parts(data, layout, model, probes, _trainer(cfg), _made(cfg.logger, "logger"))


def _check_scalars(cfg: DictConfig) -> None:
    with _told(""):
        integer("seed", cfg.seed, least=0)
        integer("threads", cfg.threads)
        for key in ("max_epochs", "max_steps"):
            value = cfg.trainer.get(key)
            if value is not None:
                integer(f"trainer.{key}", value, least=-1)
        for key in ("accumulate_grad_batches", "check_val_every_n_epoch", "log_every_n_steps"):
            if cfg.trainer.get(key) is not None:
                integer(f"trainer.{key}", cfg.trainer[key])
        if cfg.trainer.get("max_epochs") in (None, -1) and cfg.trainer.get("max_steps") in (None, -1):
            raise ValueError("trainer: given no limit, expected trainer.max_steps=N or trainer.max_epochs=N")
    for key, repair in REFUSED.items():
        if OmegaConf.select(cfg, key) is not None:
            raise UsageError(f"{key}: not supported; {repair}")


def _check_targets(cfg: DictConfig, folders: tuple[Path, ...]) -> None:
    """Every `_target_` lies in a trusted package, in a user's own config folder, or in `trust`."""
    own = {path.stem for folder in folders for path in folder.glob("*.py")}
    own |= {path.parent.name for folder in folders for path in folder.glob("*/__init__.py")}
    for key, target in _targets(OmegaConf.to_container(cfg, resolve=False), ""):
        package = str(target).partition(".")[0]
        if package not in {*TRUSTED, *own, *cfg.trust}:
            raise UsageError(
                f"{key}: given {target!r}, expected a target in {', '.join(TRUSTED)} or in a file of a --config-dir; "
                f"if you trust that package, add trust=[{package}]"
            )


def _targets(node: Any, path: str) -> Iterator[tuple[str, str]]:
    items = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        if key == "_target_":
            yield f"{path}._target_".lstrip("."), value
        else:
            yield from _targets(value, f"{path}.{key}".lstrip("."))


def _layout(cfg: DictConfig, has_parse: bool, reads_children: bool) -> Layout:
    made = _make(cfg.structure, "structure")
    layout: Layout = made if isinstance(made, Layout) else made(has_parse, reads_children)
    if layout.needs_parse and not has_parse:
        raise UsageError(
            f"structure={layout.name}: this dataset has no trees, expected one that has (dataset=sst, "
            "dataset=boolean_trees); use structure=chain, or structure=balanced for a tree over the sequence"
        )
    return layout


def _check_cell(cell: partial[Cell], children: int, initialise: dict[Any, Initialisation]) -> None:
    """Make a small cell, so that an error says which key is wrong."""
    with _told("model.cell"), torch.random.fork_rng(devices=[]):
        trial = cell(input_size=1, max_children=children)
        for name, initialisation in initialise.items():
            with _told(f"init.{name}"), torch.no_grad():
                initialisation(trial)


def _optimizer(cfg: DictConfig) -> Callable[..., torch.optim.Optimizer]:
    make = _make(cfg.optimizer, "optimizer")
    with _told("optimizer"):
        number("lr", cfg.optimizer.get("lr", 0.0), least=0)
        make([torch.nn.Parameter(torch.zeros(1))])
    return make


def _trainer(cfg: DictConfig) -> Callable[..., Any]:
    with _told("trainer"):
        accelerator = cfg.trainer.get("accelerator", "auto")
        choice("accelerator", accelerator, ("auto", "cpu", "gpu", "cuda", "mps"))
        present = {"gpu": torch.cuda.is_available() or torch.backends.mps.is_available()}
        present |= {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if not present.get(accelerator, True):
            raise ValueError(
                f"accelerator: given {accelerator!r}, but this machine has none that torch can use; "
                "use trainer.accelerator=cpu or auto"
            )
    return _make(cfg.trainer, "trainer")


def _made(node: DictConfig, path: str) -> dict[str, Any]:
    """Each named member of a list group."""
    return {str(name): _make(value, f"{path}.{name}") for name, value in (node or {}).items()}


def _make(node: DictConfig, path: str, **live: Any) -> Any:
    """Instantiate one node; `live` objects replace its keys."""
    rest = OmegaConf.masked_copy(node, [key for key in node if key not in live]) if live else node
    _check_keys(rest, path)
    try:
        return instantiate(rest, _convert_="all", **live)
    except InstantiationException as error:
        cause = error.__cause__ or error
        raise UsageError(_line(path, cause)) from error


def _check_keys(node: DictConfig, path: str) -> None:
    """Every key is an argument of the target: said before the target's own TypeError would say less."""
    from hydra.utils import get_object

    try:
        parameters = inspect.signature(get_object(node._target_)).parameters
    except (ValueError, TypeError):
        return
    except Exception as error:
        raise UsageError(_line(f"{path}._target_", error)) from error
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for key in node:
        if not str(key).startswith("_") and key not in parameters:
            raise UsageError(
                f"{path}.{key}: unknown, expected one of {', '.join(parameters)}{nearest(key, parameters)}"
            )


def _class(cell: partial[Cell]) -> type[Cell]:
    return cell.func  # type: ignore[return-value]


class _told:
    """Turn a constructor's ValueError or TypeError into a UsageError that names the key."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ValueError | TypeError | OSError):
            raise UsageError(_line(self.path, error)) from error


def _line(path: str, error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    key, colon, _ = text.partition(":")
    if colon and key.isidentifier():
        return f"{path}.{text}".lstrip(".")
    return f"{path}: {text}" if path and not text.startswith(path) else text
