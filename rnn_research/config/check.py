"""What a user asked for and can't have: every mistake that can be said before anything is built, and those that only
the live parts tell.

Each gives one `UsageError` that names the key.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from rnn_research.cells.base import Cell, Initialisation
from rnn_research.checks import choice, flag, integer, nearest, number, path_of
from rnn_research.config import estimate, trainer_keys
from rnn_research.config.extras import require_loggers
from rnn_research.config.groups import REFUSED, TABLE
from rnn_research.config.instantiate import check_keys, check_types, usage_error_at
from rnn_research.config.sizes import sizes_of
from rnn_research.config.targets import check_targets, check_trust, resolved
from rnn_research.config.trainer import check_trainer, has_gpu, on_gpu
from rnn_research.datasets.base import DataModule
from rnn_research.errors import UsageError
from rnn_research.models.model import Model
from rnn_research.records import runs
from rnn_research.records.identity import GROUPS, SCALARS
from rnn_research.regularizers.base import Regularizer
from rnn_research.training.resume import checkpoint_of
from rnn_research.training.spec import RunSpec, StopWhen
from rnn_research.training.watched import check_watched
from rnn_research.unroll import ENGINES

log = logging.getLogger(__name__)

LARGEST_SEED = 2**32 - 1  # numpy's


def check(cfg: DictConfig, folders: tuple[Path, ...] = ()) -> DictConfig:
    """Say every mistake that can be said before anything is built. Returns the config with every interpolation
    resolved: what is checked is what is made.

    Args:
        cfg: the composed config.
        folders: the user's config folders; what is defined in files there may be a `_target_`.

    Raises:
        UsageError: the first mistake.
    """
    _check_names(cfg)
    check_trust(cfg)
    cfg = resolved(cfg)
    _check_scalars(cfg)
    check_targets(cfg, folders)
    require_loggers(cfg.get("logger"))
    check_trainer(cfg.trainer)
    with usage_error_at(""):
        runs.check_tables(map(str, cfg.get("probe") or {}))
    _check_optimizer(cfg.optimizer)
    _check_keys(cfg)
    return cfg


def _check_names(cfg: DictConfig) -> None:
    """Every key is one that is read here, or that another one refers to; and none is missing."""
    known = [*GROUPS, *SCALARS]
    for key in [str(key) for key in cfg if str(key) not in known]:
        if f"${{{key}" not in OmegaConf.to_yaml(cfg, resolve=False):
            raise UsageError(f"{key}: unknown, expected one of {', '.join(known)}{nearest(key, known)}")
    for key in (*GROUPS, *SCALARS):
        if key not in cfg and (key in SCALARS or TABLE[key].required):
            if key == "clipping":
                raise UsageError(
                    "clipping: given no strategy, expected one or several; use clipping=none for the control"
                )
            raise UsageError(f"{key}: missing, expected {key}={'OPTION' if key in GROUPS else 'VALUE'}")
    for key in GROUPS:
        if (TABLE[key].required or cfg.get(key) is not None) and not OmegaConf.is_dict(cfg[key]):
            raise UsageError(f"{key}: given {cfg[key]!r}, expected one of its options")


def _check_scalars(cfg: DictConfig) -> None:
    with usage_error_at(""):
        integer("seed", cfg.seed, least=0, most=LARGEST_SEED)
        integer("threads", cfg.threads, most=1024)
        choice("engine", cfg.engine, ENGINES)
        early_ending(cfg)
        checkpoint_every(cfg)
        if cfg.resume is not None:
            checkpoint_of(path_of("resume", cfg.resume))  # else the notices of a config would be said before it
        trainer_keys.check(plain(cfg.trainer))
    for key, what in REFUSED.items():
        if OmegaConf.select(cfg, key) is not None:
            raise UsageError(f"{key}: {what}")


def checkpoint_every(cfg: DictConfig) -> float:
    """Seconds between checkpoints.

    Raises:
        ValueError: another key, or no number >= 0.
    """
    given = cfg.checkpoint
    if not OmegaConf.is_dict(given) or list(given) != ["every_seconds"]:
        raise ValueError(
            f"checkpoint: given {plain(given) if OmegaConf.is_config(given) else given}, expected "
            "checkpoint.every_seconds=N"
        )
    return number("checkpoint.every_seconds", given.every_seconds, least=0.0)


def early_ending(cfg: DictConfig) -> dict[str, Any]:
    """The arguments of `RunSpec` that say when training ends before its limits, and whose weights are measured.

    Raises:
        ValueError: a value of another kind, or out of range.
    """
    for key in ("stop_when", "keep_best"):
        if cfg[key] is not None and not (isinstance(cfg[key], str) and cfg[key]):
            raise ValueError(f"{key}: given {cfg[key]!r}, expected a metric of the validation set, or null")
    stop = StopWhen(str(cfg.stop_when), cfg.stop_when_patience, cfg.stop_when_min_delta)
    return {
        "stop_when_solved": flag("stop_when_solved", cfg.stop_when_solved),
        "stop_when": None if cfg.stop_when is None else stop,
        "keep_best": cfg.keep_best,
    }


def _check_optimizer(node: DictConfig) -> None:
    if "_target_" not in node:
        raise UsageError(f"optimizer: given {node}, expected a mapping with a _target_ (an option of the group)")
    check_types(node, "optimizer")
    with usage_error_at("optimizer"):
        number("lr", node.get("lr", 0.0), least=0)


def _check_keys(cfg: DictConfig) -> None:
    """Every key of an option that stands alone is an argument of what it makes."""
    for path in ("optimizer", "scheduler", "model.cell", "architecture", "dataset", "structure", "model"):
        node = OmegaConf.select(cfg, path)
        if isinstance(node, DictConfig) and "_target_" in node:
            check_keys(node, path)


def plain(node: DictConfig) -> dict[str, Any]:
    """A part of the config in python's own types."""
    return OmegaConf.to_container(node, resolve=True)  # type: ignore[return-value]


# What only the live parts tell.


def check_room(
    cfg: DictConfig,
    data: DataModule,
    cell: partial[Cell],
    children: int,
    optimizer: Callable[..., torch.optim.Optimizer],
) -> None:
    """What is asked for has room here, and begins soon. Nothing of generated data is made before this."""
    estimate.check_workers(data)
    estimate.check_data(data)
    there = torch.cuda.mem_get_info()[0] if on_gpu(cfg.trainer) and torch.cuda.is_available() else None
    precision = str(cfg.trainer.get("precision") or 32)
    model = plain(cfg.model)
    if found := sizes_of(model, cell, children, data, optimizer, precision):
        estimate.check_model(found, model, data, there)
    estimate.check_sets(data, plain(cfg.trainer))


def check_samples(data: DataModule) -> None:
    """The samples fit the task and the layout, and no split holds another's."""
    with usage_error_at("dataset"):
        data.check()
        data.check_labelled()
        _check_apart(data)
        if data.layout.needs_parse:
            data.check_trees()


def _check_apart(data: DataModule) -> None:
    """No sample is in two splits; of data that were published so it is only said."""
    if not (shared := data.shared()):
        return
    if not data.overlaps:
        raise ValueError(f"{shared}; leave it out of one, or set overlaps = True in the DataModule if it is meant")
    log.info("dataset: %s, as the data were published", shared)


def check_cell(cell: partial[Cell], children: int, initialise: Mapping[str, Initialisation]) -> None:
    """Make a small cell, so that an error says which key is wrong."""
    with usage_error_at("model.cell"), torch.random.fork_rng(devices=[]):
        trial = cell(input_size=1, max_children=children)
        for name, initialisation in initialise.items():
            with usage_error_at(f"init.{name}"), torch.no_grad():
                initialisation(trial)


def check_together(cfg: DictConfig, data: DataModule, model: Model, precision: str) -> None:
    """The parts work together: the engine with the model, the limits and the precision with the data and regularizers.

    Args:
        precision: what lightning makes of the one asked for.
    """
    _check_engine(cfg, model, data)
    with usage_error_at("", together=True):
        model.success(cfg.stop_when_solved)
        _check_precision(cfg.trainer.get("precision") or 32, precision, model.regularizers.items())
        _check_accumulation(cfg.trainer.get("accumulate_grad_batches") or 1, model.regularizers.items())
        trainer_keys.check_batches(plain(cfg.trainer), data)
        run = RunSpec(Path(), **early_ending(cfg))
        check_watched(model, run)
        _check_validated(plain(cfg.trainer), model, run)
        _check_scheduler(plain(cfg.trainer), model)


def _check_validated(limits: Mapping[str, Any], model: Model, run: RunSpec) -> None:
    """What waits for a validation has some to wait for."""
    asked = {
        "scheduler": model.scheduler.metric,
        "stop_when": run.stop_when and run.stop_when.metric,
        "keep_best": run.keep_best if run.keep_best != "auto" else None,
        "stop_when_solved": "whether the task is solved" if run.stop_when_solved else None,
    }
    for key, metric in asked.items():
        if metric is not None and limits.get("limit_val_batches") == 0:
            raise ValueError(
                f"{key}: looks at {metric}, but trainer.limit_val_batches=0 leaves no validation; leave it out"
            )


def _check_scheduler(limits: Mapping[str, Any], model: Model) -> None:
    """The scheduler can be made for this optimiser, and where it goes over the run the limits tell how long that is."""
    endless = all(limits.get(key) in (None, -1) for key in ("max_steps", "max_epochs"))
    trial = model.optimizer([torch.nn.Parameter(torch.zeros(1))])
    model.scheduler.make(trial, lambda: float("inf") if endless and not limits.get("fast_dev_run") else 1.0)


def _check_engine(cfg: DictConfig, model: Model, data: DataModule) -> None:
    """Whether the engine asked for can do this: one sample goes through the model."""
    if cfg.engine in ("auto", "reference"):
        return
    device, precision = cfg.trainer.get("accelerator", "auto"), str(cfg.trainer.get("precision") or 32)
    with usage_error_at("engine", together=True):
        if cfg.engine == "native" and (device in ("gpu", "cuda", "mps") or (device == "auto" and has_gpu())):
            raise ValueError(f"given native, which computes on the CPU, but trainer.accelerator={device}")
        if precision.removesuffix("-true") not in ("32", "64"):
            raise ValueError(f"given {cfg.engine}, but trainer.precision={precision}; use engine=auto")
    trial = copy.deepcopy(model).eval()  # what acts inside backpropagation counts the batches that it has seen
    with usage_error_at("", together=True), torch.random.fork_rng(devices=[]), torch.no_grad():
        trial.fold(data.layout.collate([data.samples("train")[0]]), acting=True)


def _check_accumulation(batches: int, regularizers: Iterable[tuple[str, Regularizer]]) -> None:
    for name in [name for name, one in regularizers if not one.accumulates]:
        if batches > 1:
            raise ValueError(
                f"trainer.accumulate_grad_batches: given {batches}, but regularizer={name} looks at some samples of "
                "each batch, so that accumulated batches are not one large batch; give a larger dataset.batch_size"
            )


def _check_precision(asked: Any, precision: str, regularizers: Iterable[tuple[str, Regularizer]]) -> None:
    """What reads adjoints replays updates, in one precision. `precision`: what lightning makes of the one asked for."""
    for name in [name for name, one in regularizers if one.needs_adjoints]:
        if precision.endswith("-mixed"):
            made = "" if str(asked) == precision else f", here {precision}"
            raise ValueError(
                f"regularizer={name}: reads adjoints in one precision, but trainer.precision={asked}{made}; use "
                f"trainer.precision=32 or {precision.removesuffix('-mixed')}-true"
            )
