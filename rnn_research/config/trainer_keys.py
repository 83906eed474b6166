"""What lightning's Trainer may be given here, key by key: lightning says less of a wrong value, later, or nothing.

Knows the config's values and the sizes of the data; makes no Trainer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rnn_research.checks import choice, flag, integer, number
from rnn_research.config.instantiate import NAME
from rnn_research.datasets.base import DataModule

PRECISIONS = ("32-true", "64-true", "16-true", "bf16-true", "16-mixed", "bf16-mixed")
SHORT = ("32", "64", "16", "bf16", "transformer-engine", "transformer-engine-float16")
"""Precisions by other names; the last two need a package that says so itself."""
PROFILERS = ("simple", "advanced", "pytorch")
LIVE = {
    *("schedule", "on_trace_ready", "activities"),
    *("experimental_config", "execution_trace_observer", "custom_trace_id_callback"),
}
"""Arguments of torch's profiler that are objects and functions."""
UNITS = ("weeks", "days", "hours", "minutes", "seconds", "milliseconds", "microseconds")

Check = Callable[[str, Any], object]


def _batches(name: str, value: Any, none: bool = False) -> None:
    """A number of batches, or a share of them: 1 is one batch, 1.0 all."""
    whole, few = isinstance(value, int) and not isinstance(value, bool), 0 if none else 1
    if not (whole and value >= few) and not (isinstance(value, float) and (0 < value <= 1 or (none and value == 0))):
        also = ", or 0 for none" if none else ""
        raise ValueError(
            f"{name}: given {value!r}, expected a number of batches >= 1, or a share of them > 0.0 and <= 1.0{also}"
        )
    if whole:
        integer(name, value, few)


def _no_training(name: str, value: Any) -> None:
    if value == 0 and not isinstance(value, bool):
        raise ValueError(f"{name}: given {value!r}, which trains nothing; expected batches >= 1, or a share > 0.0")
    _batches(name, value)


def _duration(name: str, value: Any) -> None:
    """As lightning reads it: DD:HH:MM:SS, or units by name."""
    text = isinstance(value, str) and re.fullmatch(r"\d+:\d+:\d+:\d+", value)
    if text and any(map(int, re.findall(r"\d+", value))):
        return
    if isinstance(value, Mapping) and value and set(map(str, value)) <= set(UNITS):
        for unit, count in value.items():
            number(f"{name}.{unit}", count, above=0)
        return
    raise ValueError(
        f"{name}: given {value!r}, expected a duration > 0, as 00:12:00:00 (days:hours:minutes:seconds) or {{hours:12}}"
    )


def _interval(name: str, value: Any) -> None:
    if isinstance(value, str | Mapping):
        _duration(name, value)
    else:
        _batches(name, value)


def _fast_dev_run(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        if not isinstance(value, int):
            raise ValueError(f"{name}: given {value!r}, expected true, false, or a number of batches")
        integer(name, value, least=0)


def _deterministic(name: str, value: Any) -> None:
    if value != "warn" and not isinstance(value, bool):
        raise ValueError(f"{name}: given {value!r}, expected true, false or warn")


def _precision(name: str, value: Any) -> None:
    if isinstance(value, bool) or str(value) not in SHORT:
        choice(name, str(value), PRECISIONS)


def _profiler(name: str, value: Any) -> None:
    """By name; or a profiler that writes into its run's folder, with keys that a yaml has values for."""
    if not (isinstance(value, Mapping) and "_target_" in value):
        choice(name, value, PROFILERS)
        return
    if value.get("dirpath") is not None:
        raise ValueError(
            f"{name}.dirpath: given {value['dirpath']!r}, but a profile lies in its run's folder; leave it out"
        )
    file = value.get("filename")
    if file is not None and not NAME.fullmatch(str(file)):
        raise ValueError(f"{name}.filename: given {file!r}, expected a name of letters, digits, _ and -")
    if "_partial_" in value:
        raise ValueError(f"{name}._partial_: given {value['_partial_']}, expected a whole profiler; leave it out")
    kind = str(value["_target_"]).rpartition(".")[2]
    if kind == "XLAProfiler":
        raise ValueError(f"{name}._target_: given {value['_target_']!r}, which is of TPUs; expected another")
    for key in {*map(str, value)} & LIVE if kind == "PyTorchProfiler" else ():
        raise ValueError(f"{name}.{key}: can't be set, as no text stands for what it takes; leave it out")


def _text(name: str, value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name}: given {value!r}, expected a name, or null")


FLAGS = (
    "benchmark",
    "detect_anomaly",
    "enable_autolog_hparams",
    "inference_mode",
    "sync_batchnorm",
    "use_distributed_sampler",
)
KEYS: dict[str, Check] = {
    "max_steps": partial(integer, least=-1),
    "max_epochs": partial(integer, least=-1),
    "min_steps": integer,
    "min_epochs": integer,
    "max_time": _duration,
    "fast_dev_run": _fast_dev_run,
    "limit_train_batches": _no_training,
    "limit_val_batches": partial(_batches, none=True),
    "limit_test_batches": partial(_batches, none=True),
    "limit_predict_batches": partial(_batches, none=True),
    "overfit_batches": partial(_batches, none=True),
    "val_check_interval": _interval,
    "check_val_every_n_epoch": integer,
    "log_every_n_steps": integer,
    "accumulate_grad_batches": integer,
    "reload_dataloaders_every_n_epochs": partial(integer, least=0),
    "precision": _precision,
    "deterministic": _deterministic,
    "profiler": _profiler,
    "model_registry": _text,
    **dict.fromkeys(FLAGS, flag),
}
"""By key, what checks a value that is not null."""
REQUIRED = (
    "accumulate_grad_batches",
    "detect_anomaly",
    "inference_mode",
    "log_every_n_steps",
    "overfit_batches",
    "reload_dataloaders_every_n_epochs",
    "sync_batchnorm",
    "use_distributed_sampler",
)
"""Keys that lightning has no other word for: null is no value of theirs."""


def check(trainer: Mapping[str, Any]) -> None:
    """Each value is one that the Trainer can be given, and the limits leave something to train.

    Raises:
        ValueError: says which is not.
    """
    for key, one in KEYS.items():
        value = trainer.get(key)
        if value is not None or (key in trainer and key in REQUIRED):
            one(f"trainer.{key}", value)
    steps, epochs = trainer.get("max_steps"), trainer.get("max_epochs")
    if steps == 0 or epochs == 0:
        raise ValueError("trainer: given a limit of 0, which trains nothing; expected a number >= 1")
    endless = all(limit in (None, -1) for limit in (steps, epochs)) and trainer.get("max_time") is None
    if endless and not trainer.get("fast_dev_run"):
        raise ValueError("trainer: given no limit, expected trainer.max_steps=N or trainer.max_epochs=N")
    interval, every = trainer.get("val_check_interval"), trainer.get("check_val_every_n_epoch", 1)
    if every is None and isinstance(interval, float):
        raise ValueError(
            f"trainer.val_check_interval: given {interval}, a share of an epoch, but trainer.check_val_every_n_epoch="
            "null counts batches across epochs; expected a number of batches, as 100"
        )
    for kind in ("steps", "epochs"):
        least, most = trainer.get(f"min_{kind}"), trainer.get(f"max_{kind}")
        if least is not None and most not in (None, -1) and least > most:
            raise ValueError(f"trainer.min_{kind}: given {least}, expected at most trainer.max_{kind}={most}")


def check_batches(trainer: Mapping[str, Any], data: DataModule) -> None:
    """Shares and numbers of batches fit what an epoch of the data has.

    Raises:
        ValueError: one is less than a batch, or validations would never come.
    """
    train = len(data.train_dataloader())
    limits = {"train": "limit_train_batches", "val": "limit_val_batches"}
    loaders: dict[str, Callable[[], Any]] = {"train": data.train_dataloader, "val": data.val_dataloader}
    for name in data.evaluation_sets:
        limits[name], loaders[name] = "limit_test_batches", partial(data.evaluation_dataloader, name)
    for name, key in limits.items():
        share = trainer.get(key)
        if isinstance(share, float) and share and int(share * (count := len(loaders[name]()))) < 1:
            raise ValueError(
                f"trainer.{key}: given {share}, which is less than one of the {count} batches of {name}; "
                f"expected {_up(1 / count)} or more, or a number of batches"
            )
    train = _used(train, trainer.get(limits["train"]))
    interval, every = trainer.get("val_check_interval"), trainer.get("check_val_every_n_epoch", 1)
    fast = trainer.get("fast_dev_run")
    if isinstance(interval, int) and every is not None and not fast and interval > train:
        raise ValueError(
            f"trainer.val_check_interval: given {interval}, but an epoch has {train} batches; add "
            "trainer.check_val_every_n_epoch=null to count them across epochs"
        )


def _used(count: int, limit: Any) -> int:
    """How many of so many batches a limit leaves."""
    if limit is None:
        return count
    return min(count, limit) if isinstance(limit, int) else int(count * limit)


def _up(share: float) -> float:
    """Rounded up to three digits: a share that is enough."""
    import math

    scale = 10.0 ** (3 - math.ceil(math.log10(share)))
    return math.ceil(share * scale) / scale
