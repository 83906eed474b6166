"""From one node of a config to one object: the only caller of `hydra.utils.instantiate`.

What a user typed wrongly in the node becomes one `UsageError` that names the key.
"""

from __future__ import annotations

import functools
import inspect
import logging
import re
import sys
import traceback
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from rnn_research.checks import LARGEST, flag, nearest, number
from rnn_research.config.groups import CONF, LISTS
from rnn_research.config.short_keys import selected_options
from rnn_research.errors import Incompatible, UsageError

log = logging.getLogger(__name__)

TRUSTED = ("rnn_research", "torch", "lightning", "torchmetrics")
"""Packages that a `_target_` may name without the user's word; see `trust`."""
LATER = {
    "model": {
        "task",
        "optimizer",
        "scheduler",
        "clipping",
        "initialise",
        "max_children",
        "position_targets",
        "engine",
        "regularizers",
        "architecture",
    },
    "model.cell": {"input_size", "initialise", "max_children"},
    "structure": {"has_parse", "reads_children"},
    "architecture": {"blueprint"},
    "optimizer": {"params"},
    "init": {"cell"},
    "logger": {"save_dir"},
    "trainer": {
        "callbacks",
        "logger",
        "default_root_dir",
        "enable_progress_bar",
        "enable_checkpointing",
        "enable_model_summary",
        "num_sanity_val_steps",
        "barebones",
    },
}
"""Arguments that this project's own code gives later: a config can't. By node, or by the group that names it."""
NAME = re.compile(r"[\w-]+")
"""Of an option in a group: it becomes the name of a file and of a module."""
MANY = 16
"""More arguments than this are not listed."""


def instantiate_node(node: Any, path: str, kind: type = object, **live: Any) -> Any:
    """Instantiate one node.

    Args:
        path: the node's key in the config.
        kind: what it must be an instance of or, where the node says `_partial_: true`, make.
        live: objects that replace keys of the node.

    Raises:
        UsageError: the node is no mapping with a `_target_` or has a key that the target doesn't know; the
            target can't be imported, raises, or is of another kind.
    """
    if not isinstance(node, DictConfig) or "_target_" not in node:
        raise UsageError(f"{path}: given {node}, expected a mapping with a _target_ (an option of the group)")
    rest = OmegaConf.masked_copy(node, [str(key) for key in node if key not in live]) if live else node
    check_keys(rest, path)
    found = find(node._target_, path)
    _check_kind(isinstance(found, type) and not issubclass(found, kind), node._target_, path, kind)
    try:
        with _in_plain_values(rest):
            made = instantiate(rest, **live)
    except InstantiationException as error:
        # Private, as OmegaConf has no public way to ask a node for its place in the config.
        failed, own = re.search(r"full_key: (\S+)", str(error)), str(node._get_full_key(None))
        inner = failed[1].removeprefix(own) if failed and failed[1].startswith(f"{own}.") else ""
        raise UsageError(line(path + inner, error.__cause__ or error)) from error
    _check_kind(not isinstance(made, partial | kind), node._target_, path, kind)
    return made


@contextmanager
def _in_plain_values(node: DictConfig) -> Iterator[None]:
    """Meanwhile the node says that its target takes no OmegaConf: given beside it, Hydra would merge the two first."""
    with read_write(node), open_dict(node):
        before, node["_convert_"] = node.pop("_convert_", None), "all"
        try:
            yield
        finally:
            del node["_convert_"]
            node.update({"_convert_": before} if before else {})


def make_each(nodes: DictConfig | None, path: str, kind: type = object) -> dict[str, Any]:
    """Each named member of a group of which several can be taken."""
    return {name: instantiate_node(node, f"{path}.{name}", kind) for name, node in _taken(nodes or {}, path).items()}


def make_named(node: Any, path: str, kind: type = object) -> dict[str, Any]:
    """What a group gives of which one option or several can be taken: each under its own name; or one option alone,
    whose keys may also be the group's own (a user's yaml needs no name in it). None or an empty mapping: none.

    A lone option is told of by the group's name: that is how its keys are set.
    """
    if node is None or (OmegaConf.is_dict(node) and not node):
        return {}
    if not OmegaConf.is_dict(node):
        raise UsageError(f"{path}: given {node}, expected one of its options")
    if "_target_" in node:
        others = [str(key) for key, value in node.items() if OmegaConf.is_dict(value) and "_target_" in value]
        if others:
            raise UsageError(
                f"{path}: given {', '.join(others)} beside an option whose keys have no name; in its yaml, put them "
                "below a name of its own, as `mine:`"
            )
        return {path: instantiate_node(node, path, kind)}
    options = [str(name) for name, value in node.items() if OmegaConf.is_dict(value)]
    for key in (str(key) for key in node if str(key) not in options and options):
        known = [str(name) for name in node[options[0]] if not str(name).startswith("_")]
        raise UsageError(
            f"{path}.{key}: unknown, expected {path}.OPTION.KEY=VALUE, with a key of "
            f"{' or '.join(f'{path}={name}' for name in options)}{nearest(key, known)}"
        )
    found = _taken(node, path)
    return {
        name: instantiate_node(one, path if len(found) == 1 else f"{path}.{name}", kind) for name, one in found.items()
    }


def _taken(nodes: Any, path: str) -> dict[str, Any]:
    """The members by name, but for values of an option that is not taken: an experiment may set some for an option of
    which the command line took another."""
    found, there = {}, selected_options(nodes)
    for name, node in nodes.items():
        if not NAME.fullmatch(str(name)):
            raise UsageError(
                f"{path}: given an option named {str(name)!r}, expected letters, digits, - and _; rename it"
            )
        if OmegaConf.is_dict(node) and str(name) not in there and (CONF / path / f"{name}.yaml").is_file():
            log.warning("%s.%s: has values, but %s is not taken: they are left aside", path, name, name)
        else:
            found[str(name)] = node
    return found


def check_keys(node: DictConfig, path: str) -> None:
    """Every key is an argument of the target: said before the target's own TypeError would say less."""
    for key in ("_partial_", "_recursive_"):
        if key in node:
            with usage_error_at(path):
                flag(key, node[key])
    parameters = _parameters(node._target_, path)
    later = LATER.get(path) or (LATER.get(path.partition(".")[0], set()) if path.partition(".")[0] in LISTS else set())
    for key in [str(key) for key in node if not str(key).startswith("_")]:
        if key in later:
            raise UsageError(f"{path}.{key}: can't be set, expected the one that rnn_research gives; leave it out")
        if parameters is not None and key not in parameters:
            known = [name for name in parameters if name not in later]
            expected = f"one of {', '.join(known)}" if len(known) <= MANY else f"an argument of {node._target_}"
            expected = expected if known else "no keys"
            raise UsageError(f"{path}.{key}: unknown, expected {expected}{nearest(key, known)}")


def check_types(node: DictConfig, path: str) -> None:
    """Values are of the same type as the target's defaults: for targets from elsewhere, which check less."""
    for key, parameter in (_parameters(node._target_, path) or {}).items():
        if key in node and isinstance(parameter.default, bool):
            with usage_error_at(path):
                flag(key, node[key])
        elif key in node and isinstance(parameter.default, int | float):
            with usage_error_at(path):
                number(key, node[key])
        elif key in node and isinstance(parameter.default, tuple):
            _check_numbers(f"{path}.{key}", node[key], len(parameter.default))


def in_floats(node: DictConfig, path: str) -> DictConfig:
    """The node, with floats where the target's defaults are: torch refuses 0 beside 0.9, and what no int64 holds."""
    node = node.copy()
    for key, parameter in (_parameters(node._target_, path) or {}).items():
        large = isinstance(node.get(key), int) and abs(node[key]) > LARGEST
        if key in node and (isinstance(parameter.default, float) or large):
            node[key] = float(node[key])
        elif key in node and isinstance(parameter.default, tuple) and isinstance(parameter.default[0], float):
            node[key] = [float(value) for value in node[key]]
    return node


def _check_numbers(path: str, values: Any, count: int) -> None:
    values = OmegaConf.to_container(values) if OmegaConf.is_config(values) else values
    if not isinstance(values, list) or len(values) != count:
        raise UsageError(f"{path}: given {values}, expected a list of {count} numbers")
    with usage_error_at(""):
        for value in values:
            number(path, value)


def find(target: str, path: str) -> Any:
    """The class or function that a `_target_` names, imported; `path` is the node's key, for the message."""
    try:
        return get_object(target)
    except (Exception, SystemExit) as error:
        cause = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise UsageError(
            f"{path}._target_: given {target!r}, which can't be imported: {type(cause).__name__}: "
            f"{_one_line(cause)}{_where(cause)}"
        ) from error


def _parameters(target: str, path: str) -> Mapping[str, inspect.Parameter] | None:
    """The target's arguments by name; None where it takes any, or doesn't tell."""
    found = find(target, path)
    try:
        parameters = _arguments(found)
    except (ValueError, TypeError):
        return None
    return None if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()) else parameters


@functools.cache
def _arguments(found: Any) -> Mapping[str, inspect.Parameter]:
    """By name; looked up once, as every run of a sweep asks."""
    return inspect.signature(found).parameters


def _check_kind(other: bool, target: str, path: str, kind: type) -> None:
    if other:
        raise UsageError(f"{path}._target_: given {target!r}, expected a {kind.__name__} ({kind.__module__})")


class usage_error_at:  # in small letters, since it reads as a word: `with usage_error_at("dataset")`
    """Turn an object's complaint about its arguments into a UsageError that names the key.

    Args:
        path: the key.
        together: it complains of options that can't work together.
        keys: complaints of these arguments alone; None: all.
    """

    def __init__(self, path: str, together: bool = False, keys: Collection[Any] | None = None) -> None:
        self.path, self.together, self.keys = path, together, keys

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if self.keys is not None and f"{error}".partition(":")[0] not in self.keys:
            return
        if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "alloc" in str(error)):
            raise UsageError(f"{self.path}: needs more memory than there is; choose smaller sizes") from error
        if isinstance(error, ValueError | TypeError | OSError | ImportError | OverflowError):
            text = line(self.path, error)
            together = self.together or text.startswith("architecture=")
            raise (Incompatible if together else UsageError)(text) from error


def line(path: str, error: BaseException) -> str:
    """`error` in one line that opens with the key it is about."""
    text = _one_line(error)
    key, colon, _ = text.partition(":")
    if found := re.search(r"unexpected keyword argument '(\w+)'", text):
        return f"{path}.{found[1]}: unknown{_where(error)}"
    if colon and key.isidentifier() and isinstance(error, ValueError):
        return f"{path}.{text}".lstrip(".")
    if path and not text.startswith((path, path.replace(".", "="), "architecture=")):
        text = f"{path}: {text}"
    return f"{text}{_where(error)}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _where(error: BaseException) -> str:
    """The file and line that raised `error`, where that is neither this project's, nor a library's."""
    frames = traceback.extract_tb(error.__traceback__)
    others = (str(Path(__file__).parents[1]), sys.prefix, sys.base_prefix, "<")
    if not frames or frames[-1].filename.startswith(others):
        return ""
    return f" ({frames[-1].filename}, line {frames[-1].lineno})"
