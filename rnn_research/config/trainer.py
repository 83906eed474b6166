"""What makes lightning's Trainer: made once on trial, since lightning tells most mistakes only then."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from rnn_research.checks import choice
from rnn_research.config import notices
from rnn_research.config.instantiate import check_keys, instantiate_node, line, usage_error_at
from rnn_research.config.trainer_refused import check_meaning
from rnn_research.errors import UsageError
from rnn_research.training.single_process import alone

QUIET = {"logger": False} | dict.fromkeys(
    ("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
)


@dataclass(frozen=True)
class TrainerMaker:
    """Makes the Trainer, given callbacks, loggers and a folder. `precision` is what lightning makes of the one that was
    asked for."""

    make: Callable[..., Any]
    precision: str


def check_trainer(node: DictConfig) -> None:
    """Every key is one of the Trainer's that does here what lightning says of it, and the device is there.

    Raises:
        UsageError: names the key.
    """
    check_keys(node, "trainer")
    with usage_error_at("trainer"):
        _check_device(node.get("accelerator", "auto"), node.get("devices", 1), node.get("num_nodes", 1))
        choice("strategy", node.get("strategy", "auto"), ("auto",))
        check_meaning({str(key): value for key, value in OmegaConf.to_container(node).items()})  # type: ignore[union-attr]


def trainer_maker(node: DictConfig) -> TrainerMaker:
    """What makes the Trainer that a checked config describes.

    Raises:
        UsageError: lightning refuses a value.
    """
    unmade = instantiate_node(node, "trainer")
    with _silence():
        try:
            trial = unmade(**QUIET, plugins=alone(unmade.keywords.get("plugins")))
        except Exception as error:
            key = next((key for key in unmade.keywords if _refuses(unmade, key)), "")
            raise UsageError(_trainer_line(key, unmade.keywords.get(key), error)) from error
    if notice := notices.of_precision(node.get("precision") or 32, trial.precision):
        notices.log.warning("%s", notice)
    return TrainerMaker(unmade, str(trial.precision))


def on_gpu(node: DictConfig) -> bool:
    """Whether the Trainer will compute on a GPU of CUDA's, or of any kind where it takes what there is."""
    device = node.get("accelerator", "auto")
    return device in ("gpu", "cuda") or (device == "auto" and has_gpu())


def has_gpu() -> bool:
    """Whether this machine has a GPU that torch can use."""
    return torch.cuda.is_available() or torch.backends.mps.is_available()


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
            f"devices: given {devices!r}, expected 1, or a list with the number of one GPU, as [0]: a run has one "
            "device"
        )
    if nodes != 1:
        raise ValueError(f"num_nodes: given {nodes!r}, expected 1: a run has one device")


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
