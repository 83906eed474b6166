"""From a composed config to live objects.

What a user typed wrongly is found here, before training starts: values out of range, and pairs of options that
can't work together. Each gives one `UsageError` that names the key.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from rnn_research.cells.base import Cell, Initialisation
from rnn_research.checks import choice, flag, integer, nearest, number, path_of
from rnn_research.clipping.base import Clipping, Composed
from rnn_research.config import estimate, notices, trainer_keys
from rnn_research.config.groups import REFUSED
from rnn_research.config.instantiate import (
    check_keys,
    check_types,
    in_floats,
    instantiate_node,
    line,
    make_each,
    make_named,
    usage_error_at,
)
from rnn_research.config.targets import check_targets, check_trust, resolved
from rnn_research.config.trainer_refused import check_meaning
from rnn_research.datasets.base import DataModule
from rnn_research.errors import UsageError
from rnn_research.models.architectures import Architecture
from rnn_research.models.model import Model
from rnn_research.probes.base import Probe
from rnn_research.records import runs
from rnn_research.records.identity import GROUPS, SCALARS
from rnn_research.regularizers.base import Regularizer
from rnn_research.structures import Layout
from rnn_research.training.one_process import alone
from rnn_research.unroll import ENGINES

__all__ = ["Parts", "UsageError", "build"]

log = logging.getLogger(__name__)

LARGEST_SEED = 2**32 - 1  # numpy's
QUIET = {"logger": False} | dict.fromkeys(
    ("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
)


@dataclass(frozen=True)
class Parts:
    """The live objects of one training. `layout` is resolved: never "auto"."""

    data: DataModule
    layout: Layout
    model: Model
    probes: dict[str, Probe]
    trainer: Callable[..., Any]
    loggers: dict[str, Callable[..., Any]]


@notices.kept_back()
def build(cfg: DictConfig, folders: tuple[Path, ...] = ()) -> Parts:
    """The objects that a config describes. Sets torch's threads; seeds torch just before the model is made.

    Args:
        cfg: the composed config.
        folders: the user's config folders; what is defined in files there may be a `_target_`.

    Raises:
        UsageError: see the module.
    """
    _check_names(cfg)
    check_trust(cfg)
    cfg = resolved(cfg)
    _check_scalars(cfg)
    check_targets(cfg, folders)
    torch.set_num_threads(cfg.threads)
    (trainer, precision), loggers = _trainer(cfg.trainer), _loggers(cfg.get("logger"))
    with usage_error_at(""):
        runs.check_tables(map(str, cfg.get("probe") or {}))
    probes = make_each(cfg.get("probe"), "probe", Probe)
    clipping, regularizers = _clipping(cfg.clipping), make_named(cfg.get("regularizer"), "regularizer", Regularizer)
    optimizer = _optimizer(cfg.optimizer)
    cell: partial[Cell] = instantiate_node(cfg.model.get("cell"), "model.cell", Cell)
    architecture = instantiate_node(cfg.architecture, "architecture", Architecture)
    initialise = make_each(cfg.get("init"), "init")
    data: DataModule = instantiate_node(cfg.dataset, "dataset", DataModule)
    data.checked = False  # making the first samples may take more memory than there is
    with usage_error_at("dataset"):
        task = data.task
    layout = _layout(cfg, task.has_parse, cell.func.reads_children)  # type: ignore[attr-defined]
    data.layout, data.order_seed = layout, cfg.seed
    with usage_error_at("structure"):
        children = layout.max_children(task.max_children)
    with usage_error_at(""):
        _check_room(cfg, data, cell, children, optimizer)
    with usage_error_at("dataset"):
        data.check()
        _check_apart(data)
        if layout.needs_parse:
            data.check_trees()
    _check_cell(cell, children, initialise)
    unmade: partial[Model] = instantiate_node(cfg.model, "model", Model, cell=cell)
    torch.manual_seed(cfg.seed)
    with usage_error_at("model"):
        model = unmade(
            task,
            optimizer=optimizer,
            clipping=clipping,
            initialise=tuple(initialise.values()),
            max_children=children,
            position_targets=layout.position_targets(task.step_targets, task.tree_targets),
            engine=cfg.engine,
            regularizers=regularizers,
            architecture=architecture,
        )
    with usage_error_at(""):
        model.attach(layout.trees)
        for probe in probes.values():
            probe.attach(list(model.cells))
    _check_engine(cfg, model, data)
    with usage_error_at(""):
        model.success(cfg.stop_when_solved)
        _check_precision(cfg.trainer.get("precision") or 32, precision, regularizers)
        trainer_keys.check_batches(_plain(cfg.trainer), data)
    for notice in notices.notices(cfg, data, model, probes, initialise):  # type: ignore[arg-type]
        notices.log.warning("%s", notice)
    return Parts(data, layout, model, probes, trainer, loggers)


def _check_names(cfg: DictConfig) -> None:
    """Every key is one that is read here, or that another one refers to; and none is missing."""
    text = OmegaConf.to_yaml(cfg, resolve=False)
    for key in map(str, cfg):
        if key not in (*GROUPS, *SCALARS) and f"${{{key}" not in text:
            known = [*GROUPS, *SCALARS]
            raise UsageError(f"{key}: unknown, expected one of {', '.join(known)}{nearest(key, known)}")
    for key in (*GROUPS, *SCALARS):
        if key not in cfg and key not in ("init", "probe", "logger", "regularizer"):
            if key == "clipping":
                raise UsageError(
                    "clipping: given no strategy, expected one or several; use clipping=none for the control"
                )
            raise UsageError(f"{key}: missing, expected {key}={'OPTION' if key in GROUPS else 'VALUE'}")
    for key in ("dataset", "model", "trainer", "optimizer", "clipping", "structure", "architecture"):
        if not OmegaConf.is_dict(cfg[key]):
            raise UsageError(f"{key}: given {cfg[key]!r}, expected one of its options")


def _check_scalars(cfg: DictConfig) -> None:
    with usage_error_at(""):
        integer("seed", cfg.seed, least=0, most=LARGEST_SEED)
        integer("threads", cfg.threads, most=1024)
        choice("engine", cfg.engine, ENGINES)
        flag("stop_when_solved", cfg.stop_when_solved)
        if cfg.resume is not None:
            path_of("resume", cfg.resume)
        trainer_keys.check(_plain(cfg.trainer))
    for key, what in REFUSED.items():
        if OmegaConf.select(cfg, key) is not None:
            raise UsageError(f"{key}: {what}")


def _plain(node: DictConfig) -> dict[str, Any]:
    """A part of the config in python's own types."""
    return OmegaConf.to_container(node, resolve=True)  # type: ignore[return-value]


def _check_room(
    cfg: DictConfig,
    data: DataModule,
    cell: partial[Cell],
    children: int,
    optimizer: Callable[..., torch.optim.Optimizer],
) -> None:
    """What is asked for has room here, and begins soon."""
    estimate.check_workers(data)
    estimate.check_data(data)
    device, there = cfg.trainer.get("accelerator", "auto"), None
    if device in ("gpu", "cuda") or (device == "auto" and _has_gpu()):
        there = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else None
    precision = str(cfg.trainer.get("precision") or 32)
    estimate.check_model(_plain(cfg.model), cell, children, data, optimizer, precision, there)
    estimate.check_sets(data, _plain(cfg.trainer))


def _clipping(node: DictConfig) -> Clipping:
    strategies: dict[str, Clipping] = make_named(node, "clipping", Clipping)
    if len(strategies) == 1:
        return next(iter(strategies.values()))
    if not strategies:
        raise UsageError("clipping: given nothing, expected a strategy; use clipping=none for the control")
    with usage_error_at(""):
        return Composed(strategies)


def _layout(cfg: DictConfig, has_parse: bool, reads_children: bool) -> Layout:
    made = instantiate_node(cfg.structure, "structure", Layout)
    layout: Layout = made if isinstance(made, Layout) else made(has_parse, reads_children)
    if layout.needs_parse and not has_parse:
        raise UsageError(
            f"structure={layout.name}: this dataset has no trees, expected one that has (dataset=sst, "
            "dataset=boolean_trees); use structure=chain, or structure=balanced for a tree over the sequence"
        )
    return layout


def _check_apart(data: DataModule) -> None:
    """No sample is in two splits; of data that were published so it is only said."""
    if not (shared := data.shared()):
        return
    if not data.overlaps:
        raise ValueError(f"{shared}; leave it out of one, or set overlaps = True in the DataModule if it is meant")
    log.info("dataset: %s, as the data were published", shared)


def _check_cell(cell: partial[Cell], children: int, initialise: dict[str, Initialisation]) -> None:
    """Make a small cell, so that an error says which key is wrong."""
    with usage_error_at("model.cell"), torch.random.fork_rng(devices=[]):
        trial = cell(input_size=1, max_children=children)
        for name, initialisation in initialise.items():
            with usage_error_at(f"init.{name}"), torch.no_grad():
                initialisation(trial)


def _check_engine(cfg: DictConfig, model: Model, data: DataModule) -> None:
    """Whether the engine asked for can do this: one sample goes through the model."""
    if cfg.engine in ("auto", "reference"):
        return
    device, precision = cfg.trainer.get("accelerator", "auto"), str(cfg.trainer.get("precision") or 32)
    with usage_error_at("engine"):
        if cfg.engine == "native" and (device in ("gpu", "cuda", "mps") or (device == "auto" and _has_gpu())):
            raise ValueError(f"given native, which computes on the CPU, but trainer.accelerator={device}")
        if precision.removesuffix("-true") not in ("32", "64"):
            raise ValueError(f"given {cfg.engine}, but trainer.precision={precision}; use engine=auto")
    trial = copy.deepcopy(model).eval()  # what acts inside backpropagation counts the batches that it has seen
    with usage_error_at(""), torch.random.fork_rng(devices=[]), torch.no_grad():
        trial.fold(data.layout.collate([data.samples("train")[0]]), acting=True)


def _check_precision(asked: Any, precision: str, regularizers: dict[str, Regularizer]) -> None:
    """What reads adjoints replays updates, in one precision. `precision`: what lightning makes of the one asked for."""
    for name in [name for name, one in regularizers.items() if one.needs_adjoints]:
        if precision.endswith("-mixed"):
            made = "" if str(asked) == precision else f", here {precision}"
            raise ValueError(
                f"regularizer={name}: reads adjoints in one precision, but trainer.precision={asked}{made}; use "
                f"trainer.precision=32 or {precision.removesuffix('-mixed')}-true"
            )


def _has_gpu() -> bool:
    return torch.cuda.is_available() or torch.backends.mps.is_available()


def _optimizer(node: DictConfig) -> Callable[..., torch.optim.Optimizer]:
    check_types(node, "optimizer")
    with usage_error_at("optimizer"):
        number("lr", node.get("lr", 0.0), least=0)
    unmade = instantiate_node(in_floats(node, "optimizer"), "optimizer", torch.optim.Optimizer)
    with usage_error_at("optimizer"):
        parameter = torch.nn.Parameter(torch.zeros(1))
        parameter.grad = torch.zeros(1)
        unmade([parameter]).step()  # some tell a wrong value only then
    return unmade


def _loggers(nodes: DictConfig | None) -> dict[str, Callable[..., Any]]:
    """Each is made once on trial, elsewhere: a package may be missing."""
    from tempfile import TemporaryDirectory

    loggers = make_each(nodes, "logger")
    for name, unmade in loggers.items():
        with usage_error_at(f"logger.{name}"), TemporaryDirectory() as folder:
            unmade(save_dir=folder)
    return loggers


def _trainer(node: DictConfig) -> tuple[Callable[..., Any], str]:
    """What makes the Trainer, and its precision. It is made once on trial: lightning tells most mistakes only then."""
    check_keys(node, "trainer")
    with usage_error_at("trainer"):
        _check_device(node.get("accelerator", "auto"), node.get("devices", 1), node.get("num_nodes", 1))
        choice("strategy", node.get("strategy", "auto"), ("auto",))
        check_meaning({str(key): value for key, value in OmegaConf.to_container(node).items()})  # type: ignore[union-attr]
    unmade = instantiate_node(node, "trainer")
    with _silence():
        try:
            trial = unmade(**QUIET, plugins=alone(unmade.keywords.get("plugins")))
        except Exception as error:
            key = next((key for key in unmade.keywords if _refuses(unmade, key)), "")
            raise UsageError(_trainer_line(key, unmade.keywords.get(key), error)) from error
    if notice := notices.of_precision(node.get("precision") or 32, trial.precision):
        notices.log.warning("%s", notice)
    return unmade, str(trial.precision)


def _trainer_line(key: str, value: Any, error: Exception) -> str:
    path = f"trainer.{key}: given {value!r}, expected another value" if key else "trainer"
    return line(path, RuntimeError(error))


def _refuses(unmade: partial[Any], key: str) -> bool:
    """Whether the Trainer refuses this one key's value."""
    try:
        unmade.func(**{**QUIET, "plugins": alone(None), key: unmade.keywords[key]})
    except Exception:
        return True
    return False


def _check_device(accelerator: Any, devices: Any, nodes: Any) -> None:
    choice("accelerator", accelerator, ("auto", "cpu", "gpu", "cuda", "mps"))
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    present["gpu"] = any(present.values())
    if not present.get(accelerator, True):
        raise ValueError(
            f"accelerator: given {accelerator!r}, but this machine has none that torch can use; "
            "use trainer.accelerator=cpu or auto"
        )
    listed = OmegaConf.is_list(devices) and len(devices) == 1
    if isinstance(devices, bool) or (devices != 1 and not listed):
        raise ValueError(
            f"devices: given {devices}, expected 1, or a list with the number of one GPU, as [0]: a run has one device"
        )
    if nodes != 1:
        raise ValueError(f"num_nodes: given {nodes}, expected 1: a run has one device")


@contextmanager
def _silence() -> Iterator[None]:
    """What lightning says of a Trainer on trial, it says again of the real one."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
