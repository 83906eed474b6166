"""From a composed config to live objects: `check`, then `construct`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from rnn_research.cells.base import Cell
from rnn_research.clipping.base import Clipping, Composed
from rnn_research.config import notices
from rnn_research.config.check import check, check_cell, check_room, check_samples, check_together
from rnn_research.config.instantiate import NAME, in_floats, instantiate_node, make_each, make_named, usage_error_at
from rnn_research.config.trainer import trainer_maker
from rnn_research.datasets.base import DataModule
from rnn_research.errors import Incompatible, UsageError
from rnn_research.models.architectures import Architecture
from rnn_research.models.model import Model
from rnn_research.models.schedules import RateSchedule
from rnn_research.probes.base import Probe
from rnn_research.records.runs import METRICS, PROBES
from rnn_research.regularizers.base import Regularizer
from rnn_research.structures import Layout

__all__ = ["Parts", "UsageError", "build", "check", "construct"]
ELSEWHERE = ("dir", "root_dir", "artifact_location")
"""Arguments of loggers that would put their files into any other folder."""


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
    """The objects that a config describes.

    Args:
        cfg: the composed config.
        folders: the user's config folders; what is defined in files there may be a `_target_`.

    Raises:
        UsageError: names the key of what was typed wrongly: a value out of range, or options that can't work together.
    """
    return construct(check(cfg, folders))


@notices.kept_back()
def construct(cfg: DictConfig) -> Parts:
    """The objects that a checked config describes. Sets torch's threads; seeds torch just before the model is made.

    Raises:
        UsageError: a mistake that only shows when a part is made, or when two are put together.
    """
    torch.set_num_threads(cfg.threads)
    trainer, loggers = trainer_maker(cfg.trainer), _loggers(cfg.get("logger"))
    probes = make_each(cfg.get("probe"), "probe", Probe)
    clipping, regularizers = _clipping(cfg.clipping), make_named(cfg.get("regularizer"), "regularizer", Regularizer)
    optimizer, scheduler = _optimizer(cfg.optimizer), instantiate_node(cfg.scheduler, "scheduler", RateSchedule)
    cell: partial[Cell] = instantiate_node(cfg.model.get("cell"), "model.cell", Cell)
    architecture = instantiate_node(cfg.architecture, "architecture", Architecture)
    initialise = make_each(cfg.get("init"), "init")
    data = _data(cfg, cell)
    with usage_error_at("structure"):
        children = data.layout.max_children(data.task.max_children)
    with usage_error_at(""):
        check_room(cfg, data, cell, children, optimizer)
    check_samples(data)
    check_cell(cell, children, initialise)
    around = {"architecture": architecture, "max_children": children, "initialise": tuple(initialise.values())}
    acting = {"optimizer": optimizer, "scheduler": scheduler, "clipping": clipping, "regularizers": regularizers}
    model = _model(cfg, data, cell, **around, **acting)
    with usage_error_at("", together=True):
        model.attach(data.layout.trees)
        for probe in probes.values():
            probe.attach(list(model.cells))
    check_together(cfg, data, model, trainer.precision)
    for notice in notices.notices(cfg, data, model, probes, initialise):  # type: ignore[arg-type]
        notices.log.warning("%s", notice)
    return Parts(data, data.layout, model, probes, trainer.make, loggers)


def _data(cfg: DictConfig, cell: partial[Cell]) -> DataModule:
    """The data, laid out as the cell reads them. Their samples are not made yet, where that takes room."""
    data: DataModule = instantiate_node(cfg.dataset, "dataset", DataModule)
    data.checked = False  # making the first samples may take more memory than there is
    with usage_error_at("dataset"):
        task = data.task
        data.check_shape()
    data.layout = _layout(cfg, task.has_parse, cell.func.reads_children)  # type: ignore[attr-defined]
    data.order_seed = cfg.seed
    return data


def _layout(cfg: DictConfig, has_parse: bool, reads_children: bool) -> Layout:
    made = instantiate_node(cfg.structure, "structure", Layout)
    layout: Layout = made if isinstance(made, Layout) else made(has_parse, reads_children)
    if layout.needs_parse and not has_parse:
        raise Incompatible(
            f"structure={layout.name}: this dataset has no trees, expected one that has (dataset=sst, "
            "dataset=boolean_trees); use structure=chain, or structure=balanced for a tree over the sequence"
        )
    return layout


def _model(cfg: DictConfig, data: DataModule, cell: partial[Cell], **parts: Any) -> Model:
    """The model, with weights that follow from the seed."""
    unmade: partial[Model] = instantiate_node(cfg.model, "model", Model, cell=cell)
    labelled = data.layout.position_targets(data.task.step_targets, data.task.tree_targets)
    torch.manual_seed(cfg.seed)
    with usage_error_at("model"), usage_error_at("architecture", keys=list(cfg.architecture)):
        return unmade(data.task, position_targets=labelled, engine=cfg.engine, **parts)


def _clipping(node: DictConfig) -> Clipping:
    strategies: dict[str, Clipping] = make_named(node, "clipping", Clipping)
    if len(strategies) == 1:
        return next(iter(strategies.values()))
    if not strategies:
        raise UsageError("clipping: given nothing, expected a strategy; use clipping=none for the control")
    with usage_error_at(""):
        return Composed(strategies)


def _optimizer(node: DictConfig) -> Callable[..., torch.optim.Optimizer]:
    unmade = instantiate_node(in_floats(node, "optimizer"), "optimizer", torch.optim.Optimizer)
    with usage_error_at("optimizer"):
        parameter = torch.nn.Parameter(torch.zeros(1))
        parameter.grad = torch.zeros(1)
        try:
            unmade([parameter]).step()  # some tell a wrong value only then
        except RuntimeError as error:  # a number that no float32 holds
            given = {key: value for key, value in unmade.keywords.items() if isinstance(value, float)}
            key = max(given, key=lambda name: abs(given[name]), default="")
            raise ValueError(f"{key}: given {given.get(key)}, expected another value ({error})") from error
    return unmade


def _check_place(key: str, value: Any) -> None:
    """A logger's own folder is a name, and none that a run has: a path would lead into another run."""
    if value in (None, "") or isinstance(value, int):
        return
    if not NAME.fullmatch(str(value)):
        raise UsageError(f"{key}: given {value!r}, expected a name of letters, digits, _ and -")
    if str(value) in (PROBES, Path(METRICS).stem):
        raise UsageError(f"{key}: given {value!r}, which the run itself has; give another name")


def _loggers(nodes: DictConfig | None) -> dict[str, Callable[..., Any]]:
    """Each is made once on trial, elsewhere: a package may be missing."""
    from tempfile import TemporaryDirectory

    for name, node in (nodes or {}).items():
        for key in ELSEWHERE:
            if OmegaConf.is_dict(node) and node.get(key) is not None:
                raise UsageError(f"logger.{name}.{key}: can't be set: its files lie in the run's folder; leave it out")
    loggers = make_each(nodes, "logger")
    for name in loggers:
        for key in ("name", "version", "sub_dir", "prefix"):
            _check_place(f"logger.{name}.{key}", nodes[name].get(key))  # type: ignore[index]
        if not any(nodes[name].get(key, key) not in (None, "") for key in ("name", "version")):  # type: ignore[index]
            raise UsageError(f"logger.{name}: given no name and no version, so that it would write over metrics.csv")
    for name, unmade in loggers.items():
        with usage_error_at(f"logger.{name}"), TemporaryDirectory() as folder:
            unmade(save_dir=folder)
    return loggers
