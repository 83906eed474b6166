"""Which classes a config may name: of this project and its libraries those of the kind that fits the place, of a user's
own files and of trusted packages all.

A config from a stranger is code: of the libraries, some class or function runs whatever it is given. So what counts is
the kind of what is found, not where its name begins; and nothing is imported to look at it, but from the user's own
files and from modules that hold nothing else than such kinds.
"""

from __future__ import annotations

import importlib.util
import pickle
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import Profiler
from omegaconf import DictConfig, ListConfig, OmegaConf
from torchmetrics import Metric

from rnn_research.cells import initialisation
from rnn_research.cells.base import Cell
from rnn_research.clipping.base import Clipping
from rnn_research.config.instantiate import TRUSTED, find
from rnn_research.datasets.base import DataModule
from rnn_research.errors import UsageError
from rnn_research.models.architectures import Architecture, automatic
from rnn_research.models.model import Model
from rnn_research.models.schedules import RateSchedule
from rnn_research.probes.base import Probe
from rnn_research.regularizers.base import Regularizer
from rnn_research.structures import layouts
from rnn_research.structures.layouts import Layout

KINDS: dict[str, type] = {
    "model": Model,
    "model.cell": Cell,
    "dataset": DataModule,
    "structure": Layout,
    "architecture": Architecture,
    "clipping": Clipping,
    "clipping.*": Clipping,
    "regularizer": Regularizer,
    "regularizer.*": Regularizer,
    "optimizer": torch.optim.Optimizer,
    "scheduler": RateSchedule,
    "probe.*": Probe,
    "trainer": Trainer,
    "trainer.profiler": Profiler,
    "logger.*": Logger,
}
"""What a group's option makes, by its key."""
INSIDE: dict[type, tuple[str, ...]] = {
    Clipping: ("rnn_research",),
    Cell: ("rnn_research",),
    DataModule: ("rnn_research",),
    Layout: ("rnn_research",),
    Architecture: ("rnn_research",),
    Probe: ("rnn_research",),
    Regularizer: ("rnn_research",),
    RateSchedule: ("rnn_research",),
    torch.nn.Module: ("torch.nn.modules",),
    torch.optim.Optimizer: ("torch.optim",),
    torch.optim.lr_scheduler.LRScheduler: ("torch.optim",),
    Metric: ("torchmetrics.classification", "torchmetrics.regression", "torchmetrics.aggregation"),
}
"""What may stand deeper in a config, as an argument of another, and the modules that define it."""
FUNCTIONS = {
    "init.*": (initialisation.__name__, None),
    "structure": (layouts.__name__, ("automatic_layout",)),
    "architecture": (automatic.__name__, ("automatic_architecture",)),
}
"""Of functions, only these: the module, and the names in it (None: all that do not begin with _)."""
IMPORTED = (
    *(f"rnn_research.{part}." for part in ("cells", "clipping", "datasets", "models", "probes", "regularizers")),
    "rnn_research.structures.",
    "torch.optim.",
    "torch.nn.modules.",
    "torchmetrics.classification.",
    "torchmetrics.regression.",
    "torchmetrics.aggregation.",
    "rnn_research.training.own_loggers.",
    "lightning.pytorch.loggers.",
    "lightning.pytorch.profilers.",
)
"""Modules that may be imported to look for a class."""
DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
SPECIAL = ("_target_", "_partial_", "_convert_", "_recursive_")


def resolved(cfg: DictConfig) -> DictConfig:
    """The config with every interpolation resolved, once and for all: what is checked is what is made.

    Raises:
        UsageError: text is an interpolation even then, which would be resolved when an object is made.
    """
    plain = OmegaConf.to_container(cfg, resolve=True)
    for key, value in _leaves(plain, ""):
        if isinstance(value, str) and "${" in value:
            raise UsageError(
                f"{key}: given {value!r}, which is an interpolation even when it is resolved; write it out"
            )
    made = pickle.loads(pickle.dumps(cfg))  # to create it from plain values takes five times as long
    OmegaConf.set_struct(made, None)  # type: ignore[arg-type]
    _put_in(made, plain, OmegaConf.to_container(cfg, resolve=False))
    return made


def _put_in(node: DictConfig | ListConfig, plain: Any, written: Any) -> None:
    """The plain values where `node` has interpolations, as `written`."""
    for key, value in _items(plain):
        if isinstance(value, dict | list) and isinstance(written[key], dict | list):
            _put_in(node._get_node(key), value, written[key])  # type: ignore[arg-type]
        elif isinstance(written[key], str) and OmegaConf.is_interpolation(node, key):
            node[key] = value


def check_targets(cfg: DictConfig, folders: Iterable[Path], word: str = "trust=[{}]") -> None:
    """Every `_target_` may be called where it stands: see the module.

    Args:
        cfg: a resolved config.
        folders: the user's own config folders.
        word: how the command line says that a package is trusted.

    Raises:
        UsageError: says which may not, and what to do.
    """
    trusted = _trust(cfg.get("trust"))
    ours = {*_own(folders), *trusted}
    for key, node in _nodes(OmegaConf.to_container(cfg), ""):
        _check(node["_target_"], key, ours, word)
        for name in [str(name) for name in node if str(name).startswith("_") and name not in SPECIAL]:
            raise UsageError(f"{key}.{name}: unknown, expected the arguments by their names, or {', '.join(SPECIAL)}")


def check_trust(cfg: DictConfig) -> None:
    """Raise a UsageError where `trust`, in a config that is not resolved yet, is no plain list of packages."""
    raw = OmegaConf.to_container(cfg, resolve=False)
    _trust(raw.get("trust") if isinstance(raw, dict) else None)


def _trust(given: Any) -> list[str]:
    listed = OmegaConf.is_list(given) or isinstance(given, list)
    if not listed or not all(isinstance(name, str) and re.fullmatch(r"[\w-]+", name) for name in given):
        raise UsageError(f"trust: given {given}, expected a list of packages, as trust=[mine]")
    return list(given)


def _check(target: Any, key: str, ours: set[str], word: str) -> None:
    path = f"{key}._target_"
    if not isinstance(target, str) or not DOTTED.fullmatch(target):
        raise UsageError(f"{path}: given {target!r}, expected the dotted name of a class, as module.Class")
    package = target.partition(".")[0]
    found = _found(target, key, ours) if package in {*TRUSTED, *ours} else None
    module = str(getattr(found, "__module__", None))
    home = module.partition(".")[0]
    if home in ours or (found is not None and _fits(found, key, module)):
        return
    kind = KINDS.get(_pattern(key))
    if kind is not None and isinstance(found, type) and home in TRUSTED:
        expected = f"a {kind.__name__} ({kind.__module__})"
    else:
        expected = f"a class of {', '.join(TRUSTED)} that fits there"
    raise UsageError(
        f"{path}: given {target!r}, expected {expected}, or what a file of a --config-dir defines; if you trust that "
        f"package, add {word.format(package if found is None else home)} on the command line"
    )


def _found(target: str, key: str, ours: set[str]) -> Any:
    """What the name stands for. Where it may not be imported, what is imported already has it, or it is not there."""
    if target.partition(".")[0] in ours or target.startswith(IMPORTED):
        return find(target, key)
    first, *rest = target.split(".")
    found: Any = sys.modules.get(first)
    for part in rest:
        found = vars(found).get(part) if isinstance(found, type(sys)) else getattr(found, part, None)
    if found is None:
        raise UsageError(
            f"{key}._target_: given {target!r}, which can't be imported, or is nothing that a config may "
            "name; mend the name"
        )
    return found


def _fits(found: Any, key: str, module: str) -> bool:
    pattern = _pattern(key)
    if not isinstance(found, type):
        home, names = FUNCTIONS.get(pattern, ("", ()))
        name = str(getattr(found, "__name__", "_"))
        return module == home and not name.startswith("_") and (names is None or name in names)
    if pattern == "trainer":
        return found is Trainer
    if kind := KINDS.get(pattern):
        return issubclass(found, kind)
    deeper = pattern not in FUNCTIONS
    return deeper and any(
        issubclass(found, one) and f"{module}.".startswith(tuple(f"{home}." for home in homes))
        for one, homes in INSIDE.items()
    )


def _pattern(key: str) -> str:
    """The key, with a * for an option's own name: as in KINDS and FUNCTIONS."""
    group, dot, rest = key.partition(".")
    return f"{group}.*" if dot and "." not in rest and f"{group}.*" in {*KINDS, *FUNCTIONS} else key


def _own(folders: Iterable[Path]) -> set[str]:
    """Modules that are files of the folders: not one of python's or of a library, which a file there is called as."""
    found = set()
    for folder in folders:
        files = [*folder.glob("*.py"), *folder.glob("*/__init__.py")]
        for path in files:
            name = path.parent.name if path.name == "__init__.py" else path.stem
            if _lies_at(name, path):
                found.add(name)
    return found


def _lies_at(name: str, path: Path) -> bool:
    loaded = sys.modules.get(name)
    try:
        spec = importlib.util.find_spec(name) if loaded is None else None
    except (ImportError, ValueError):
        return False
    origin = getattr(loaded, "__file__", None) if spec is None else spec.origin
    if origin is None or name in sys.stdlib_module_names:
        return False
    installed = {"site-packages", "dist-packages"} & {*Path(origin).parts} or name in TRUSTED
    return Path(origin).resolve() == path.resolve() or not installed  # or in another of the user's folders


def _nodes(node: Any, path: str) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Every node that has a `_target_`, by its key; the outer ones first."""
    if isinstance(node, Mapping) and "_target_" in node:
        yield path, node
    for key, value in _items(node):
        yield from _nodes(value, f"{path}.{key}" if path else str(key))


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping | list):
        for key, value in _items(node):
            yield from ((f"{path}.{key}".lstrip("."), str(key)), *_leaves(value, f"{path}.{key}".lstrip(".")))
    else:
        yield path, node


def _items(node: Any) -> Iterable[tuple[Any, Any]]:
    return node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
